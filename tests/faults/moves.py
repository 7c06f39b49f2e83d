"""The ways in which a log moves. Each can happen under a daemon that runs, is stalled, or is down."""

import gzip
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.faults.files import Files
from tests.faults.home import Home


class Log(Files):
    """A log that can be moved in all of them."""

    # How a log is rotated

    def rename_and_create(self) -> None:
        """Rename, create, and tell the writer: each followed by lines or not."""
        self.say_some()
        self.rename()
        self.say_some()
        self.create()
        self.say_some()
        self._world.reopen()
        self.say_some()

    def create_late(self) -> None:
        """Rename, and let the writer make the new file when it is told."""
        self.say_some()
        self.rename()
        self.say_some()
        self._reopen_new()
        self.say_some()

    def gone_for_a_while(self) -> None:
        """Rename; all is read while there is no file at the path, and then there is one."""
        self._know()
        self.rename()
        self.say_some()
        self._world.settle()
        self._reopen_new()
        self.say_some()

    def moved_away_and_back(self) -> None:
        """The same file comes back."""
        self._know()
        away = self._world.log.parent / "elsewhere"
        path = self._world.log
        path.rename(away)
        self.say_some()
        if self._rng.random() < 0.5:
            self._world.settle()
        away.rename(path)
        self.say_some()

    def several_rotations(self) -> None:
        """Several of them, faster than anybody looks."""
        for _ in range(self._rng.randrange(2, 4)):
            self._rng.choice((self.rename_and_create, self.create_late))()

    def copytruncate(self) -> None:
        """Copy and truncate; what comes in between is lost to everybody."""
        world = self._world
        self.say_some()
        if self.linked:
            self.symlink_switched()
            return
        path = self.path
        self._remove_oldest()
        copy = self._make_room(path)
        shutil.copyfile(path, copy)
        kept = Home()
        kept.logins, kept.written_at = [login for login in world.home.logins if login.sure], world.home.written_at
        world.home.logins = []
        self._rotated.insert(0, (copy, kept))
        if self._rng.random() < 0.5:
            self.say_some(sure=False)
        os.truncate(path, 0)
        world.drop_half()  # its beginning lies in the copy, without an end
        for login in world.home.logins:
            login.destroyed = True
        world.home.logins = []
        self._world.writer.write(b"\n")
        self.say_some()

    def compressed(self) -> None:
        """Rotate, and compress what was rotated, or what was rotated before that."""
        self.rename_and_create()
        at = min(self._rng.randrange(2), len(self._rotated) - 1)
        path, home = self._rotated[at]
        if path.suffix == ".gz":
            return
        packed = path.with_name(f"{path.name}.gz")
        status = path.stat()
        with gzip.open(packed, "wb", compresslevel=1) as file:
            file.write(path.read_bytes())
        os.utime(packed, ns=(status.st_atime_ns, status.st_mtime_ns))  # as gzip(1) and logrotate(8) do
        path.unlink()
        self._rotated[at] = packed, home

    # How a file comes to an end

    def truncated(self) -> None:
        """Truncate to nothing, without a copy."""
        if not self._read_all():
            self.rename_and_create()
            return
        self._world.finish_line()
        self._world.settle()
        os.truncate(self.path, 0)
        self._world.home.destroy()
        self.say_some()

    def replaced(self) -> None:
        """Another file is renamed over it; the writer goes on in the old one, which has no name any more."""
        world = self._world
        if not self._read_all():
            self.rename_and_create()
            return
        self._begin_elsewhere()
        (world.log.parent / "new").rename(self.path)
        self._leave()

    def removed(self) -> None:
        """The file is removed, and made anew."""
        if not self._read_all():
            self.rename_and_create()
            return
        self.path.unlink()
        self._leave()

    def inode_reused(self) -> None:
        """While the daemon is down, another file of the same inode takes its place."""
        if self._world.daemon is not None or not self._read_all():
            self.rename_and_create()
            return
        path, inode = self.path, self.path.stat().st_ino
        old_home = self._world.home
        self._world.drop_half()
        self._world.writer.open(Path(os.devnull))
        path.unlink()
        spare = []
        for number in range(64):
            path.touch(0o644)
            if path.stat().st_ino == inode:
                break
            spare.append(path.rename(path.with_name(f"spare{number}")))
        else:
            self._world.figures.gaps["inode numbers that were not used again"] += 1
        for other in spare:
            other.unlink()
        old_home.destroy()
        self._world.reopen()
        self.say_some()

    def symlink_switched(self) -> None:
        """The path is a symbolic link, and names the next day's file now; there is no moment without one."""
        world = self._world
        if not self.linked:
            self.rename_and_create()
            return
        self._remove_oldest()
        self._rotated.insert(0, (self.path, world.home))
        self._day += 1
        target = world.log.with_name(f"mail-{self._day}.log")
        target.touch(0o644)
        link = world.log.parent / "link"
        link.symlink_to(target)
        self.say_some()
        link.rename(world.log)
        self.say_some()
        world.reopen()
        self.say_some()

    def directory_later(self) -> None:
        """The whole folder goes away; another of its name comes."""
        world = self._world
        if not self._read_all():
            self.rename_and_create()
            return
        world.settle()
        folder = world.log.parent
        away = folder.with_name(f"away{self._files}")
        self._files += 1
        folder.rename(away)
        if world.daemon is not None:
            self.say_some()
        folder.mkdir(mode=0o755)
        if self.linked:
            self._link_next()
        for _, home in self._rotated:
            home.destroy()
        self._rotated = []
        self._leave()
        shutil.rmtree(away)

    def unreadable(self) -> None:
        """The new file may not be read until somebody sets that right."""
        world = self._world
        if world.daemon is None or world.stalled:
            self.rename_and_create()
            return
        self.rename()
        self.create()
        self.path.chmod(0)
        world.reopen()
        world.say(self._rng.randrange(1, 4))
        world.until(lambda: False, self._rng.random() * 0.05)
        self.path.chmod(0o644)

    # Helpers

    def _know(self) -> None:
        """Without events, let the daemon have the file before its name goes: it looks for others when there is one."""
        if not self._world.events:
            self._world.settle()

    def _reopen_new(self) -> None:
        """Let the writer make the new file."""
        if self.linked:
            self._link_next()
        self._world.reopen()

    def _read_all(self) -> bool:
        """See to it that the daemon has read all; say whether that is so."""
        self._world.settle()
        waiting = self._world.model.waiting
        again = {
            login
            for client in self._world.model.clients.values()
            for branch in client.branches
            for login in branch.logins
        }
        if self._world.daemon is None:
            return not any(login in waiting or login in again for login in self._world.home.logins)
        return not waiting

    def _begin_elsewhere(self) -> None:
        new = self._world.log.parent / "new"
        new.write_bytes(self._world.author.noise(self._world.clock.now().wall))
        new.chmod(0o644)

    def _leave(self) -> None:
        """The writer's file has no name any more: what it still writes there, a daemon that has it open can read."""
        world = self._world
        old = world.home
        if world.daemon is not None:
            self.say_some()
            world.settle()
        world.reopen(drop=world.daemon is None)
        old.destroy()
        self.say_some()


MOVES: dict[str, tuple[int, Callable[[Log], None]]] = {
    "rename and create": (6, Log.rename_and_create),
    "create late": (5, Log.create_late),
    "gone for a while": (4, Log.gone_for_a_while),
    "moved away and back": (3, Log.moved_away_and_back),
    "several rotations": (4, Log.several_rotations),
    "copytruncate": (5, Log.copytruncate),
    "compressed away": (5, Log.compressed),
    "truncated to nothing": (3, Log.truncated),
    "replaced by another file": (4, Log.replaced),
    "removed and made anew": (3, Log.removed),
    "inode reused": (3, Log.inode_reused),
    "symlink switched": (4, Log.symlink_switched),
    "folder replaced by another": (1, Log.directory_later),
    "unreadable for a while": (3, Log.unreadable),
}
"""Each way by its name, with how often it is chosen."""
