"""The files of the log that is followed: what its path names now, and the rotated ones."""

import os
import time
from pathlib import Path

from tests.faults.home import Home
from tests.faults.world import World

_KEEP = 8  # rotated files
_OLD = 4.0  # seconds since it was written to, before a rotated file is removed


class Files:
    """Names, renames and removes them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.rng
        self.dated = world.rng.random() < 0.4  # mail.log-20261122, else mail.log.1
        self.linked = world.log.is_symlink()  # to the file of the day, which keeps its name
        self._rotated: list[tuple[Path, Home]] = []  # newest first
        self._day = 20261122
        self._files = 0

    @property
    def path(self) -> Path:
        """The file that the path names."""
        return Path(os.path.realpath(self._world.log))

    def say_some(self, *, sure: bool = True) -> None:
        """Write a few lines, or none."""
        if self._rng.random() < 0.7:
            self._world.say(self._rng.randrange(1, 4), sure=sure)

    def rename(self) -> None:
        """Rename the file away, as logrotate does; the writer goes on in it. A file of the day keeps its name."""
        old = self.path
        self._remove_oldest()
        if self.linked:
            self._world.log.unlink()
            self._rotated.insert(0, (old, self._world.home))
            return
        new = self._make_room(old)
        old.rename(new)
        self._rotated.insert(0, (new, self._world.home))

    def create(self) -> None:
        """Make a new file at the path."""
        if self.linked:
            self._link_next()
        os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))

    def _link_next(self) -> None:
        self._day += 1
        self._world.log.symlink_to(self._world.log.with_name(f"mail-{self._day}.log"))

    def _make_room(self, path: Path) -> Path:
        """Move the older ones on, remove the oldest, and return what the newest will be called."""
        if self.dated:
            self._day += 1
            return path.with_name(f"{path.name}-{self._day}")
        return self._shifted(path)

    def _shifted(self, path: Path) -> Path:
        numbered = []
        for index in range(len(self._rotated) - 1, -1, -1):
            old, home = self._rotated[index]
            packed = ".gz" if old.suffix == ".gz" else ""
            name = f"{path.name}.{index + 2}{packed}"
            numbered.append((old.rename(old.with_name(name)), home))
        self._rotated = numbered[::-1]
        return path.with_name(f"{path.name}.1")

    def _remove_oldest(self) -> None:
        world = self._world
        while len(self._rotated) > _KEEP:
            path, home = self._rotated[-1]
            busy = set(world.model.waiting) | set(world.model.uncommitted(time.monotonic()))
            if time.monotonic() - home.written_at < _OLD or any(login in busy for login in home.logins):
                return
            path.unlink()
            self._rotated.pop()
