"""A daemon that is told to read its configuration again."""

import signal
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from tests.site import Site, permitted, wait_for

THIRD = "192.0.2.12"
KEPT = "the configuration was not read again, and everything stays as it was: "


class Running:
    """A daemon that can be told to read its configuration again."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.process = site.start()
        site.ready()

    def reload(self, expected: str = "reloaded", **changes: str) -> str:
        """Write another configuration and send SIGHUP; return what is said up to the expected word."""
        if changes:
            self.site.configure(**changes)
        before = self.said()
        self.process.send_signal(signal.SIGHUP)
        wait_for(expected, lambda: expected in self.said()[len(before) :] or self.process.poll() is not None)
        assert self.process.poll() is None, self.said()[len(before) :] + (self.site.folder / "stderr").read_text()
        return self.said()[len(before) :]

    def said(self) -> str:
        """Return all that it has logged, wherever its log was then."""
        return "".join(path.read_text() for path in sorted(self.site.folder.glob("daemon.log*"), reverse=True))

    def granted(self, client: str, log: Path | None = None) -> None:
        """Log a client in, and wait until it may relay."""
        self.site.login(client, log)
        wait_for(f"{client} may relay", lambda: client in self.site.windows())

    def kept(self, sentence: str, **changes: str) -> None:
        """Write a configuration that cannot be used: one line says why, and all is as it was."""
        windows = self.site.windows()
        assert windows
        said = [line for line in self.reload(KEPT, **changes).splitlines() if KEPT in line]
        assert len(said) == 1
        assert sentence in said[0]
        kept = self.site.windows()
        assert kept.keys() == windows.keys()
        for client, end in kept.items():  # on the wall clock, which may be moved meanwhile: the window has not
            assert abs(datetime.fromisoformat(end) - datetime.fromisoformat(windows[client])) < timedelta(seconds=0.1)
        assert permitted(self.site.socketmap, next(iter(windows))) is True


def open_files(pid: int) -> set[str]:
    """Return what a process has open."""
    found = set()
    for descriptor in (Path("/proc") / str(pid) / "fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found.add(str(descriptor.readlink()))
    return found
