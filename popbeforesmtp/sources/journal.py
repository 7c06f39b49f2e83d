"""``type = "journal"``: follows the systemd journal through a ``journalctl -o json`` of our own.

Each distribution's own journalctl reads its own journal's format, nothing needs to be compiled, and what it dies of is
not ours. The place is the cursor of the last entry that was handed over. Reading begins at that very entry, so that a
cursor that leads elsewhere is noticed: then some entries are read twice, which is harmless, and none is missed.
"""

import asyncio
import errno
import os
import shutil
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from popbeforesmtp.errors import NotPermittedError, UnavailableError
from popbeforesmtp.lines import LineCutter
from popbeforesmtp.model import Block
from popbeforesmtp.sources import SourceReport
from popbeforesmtp.sources._cursor import Place, find_place, read_checkpoint, write_checkpoint
from popbeforesmtp.sources._journalctl import Journalctl

FOLDERS = (Path("/var/log/journal"), Path("/run/log/journal"))
FIELDS = (
    "MESSAGE",
    "SYSLOG_IDENTIFIER",
    "_COMM",
    "_EXE",
    "_HOSTNAME",
    "_LINE_BREAK",
    "_PID",
    "_SOURCE_REALTIME_TIMESTAMP",
    "_STREAM_ID",
    "_SYSTEMD_UNIT",
    "_TRANSPORT",
    "_UID",
)
"""What is asked for of an entry; journalctl adds cursor, time and boot by itself."""

_SLACK = 60  # seconds read again before a place that is gone: the journal's order is nearly that of its times
_FIND = 10.0  # seconds in which journalctl finds the entry of a cursor that is still there
_DELAYS = (1.0, 30.0)  # seconds before journalctl is started again: the first time, and at most
_HEALTHY = 60.0  # seconds after which one that runs counts as well


def open_source(
    *,
    units: tuple[str, ...] = (),
    programs: tuple[str, ...] = (),
    checkpoint: str | None = None,
    since: datetime | None = None,
) -> "JournalSource":
    """Follow the journal from the checkpoint on, else from ``since`` on, else from its beginning.

    Only entries with one of the syslog tags ``programs`` are read, of these ``units``, where any are given. Raises
    UnavailableError where there is no journalctl, and NotPermittedError where this user may not read the journal.
    """
    program = shutil.which("journalctl")
    if program is None:
        raise UnavailableError("journalctl: not found; this host has no systemd journal, name a log file as source")
    unreadable = _unreadable()
    if unreadable is not None:
        raise NotPermittedError(
            f"{unreadable}: may not be read by this user; `usermod -aG systemd-journal USER` lets it read the journal"
        )
    matches = [f"SYSLOG_IDENTIFIER={name}" for name in programs] + [f"_SYSTEMD_UNIT={name}" for name in units]
    if units:  # and what journald itself says: it may have dropped messages
        matches += ["+", "SYSLOG_IDENTIFIER=systemd-journald", "_TRANSPORT=driver"]
    command = [program, "--no-pager", "--follow", "--no-tail", "--output=json", f"--output-fields={','.join(FIELDS)}"]
    return JournalSource(command, matches, read_checkpoint(checkpoint), since)


class JournalSource:
    """The entries of this host's journal, each a line of JSON."""

    name = "journal"
    format = None
    journal = True

    def __init__(self, command: list[str], matches: list[str], place: Place | None, since: datetime | None) -> None:
        self._command = command
        self._matches = matches
        self._place = place
        self._since = None if since is None else int(since.timestamp())
        self._lost = False  # the place is not in the journal any more
        self._seek: Place | None = None  # what the next entry must be, if the place is still there
        self._child: Journalctl | None = None
        self._cutter = LineCutter()
        self._blocks: deque[Block] = deque()
        self._notices: list[str] = []
        self._ring: Callable[[], None] | None = None
        self._folders: set[tuple[int, int]] = set()
        self._started_at = 0.0
        self._start_at = 0.0
        self._delay = _DELAYS[0]
        self._said = ""

    def watch(self, ring: Callable[[], None]) -> None:
        """Ring when journalctl says something; must be called inside the event loop."""
        asyncio.get_running_loop()
        self._ring = ring
        if self._child is not None:
            self._child.watch(ring)

    def read(self) -> Block | None:
        """Return the entries that have come; start journalctl where none runs. Raises OSError where it cannot be."""
        if self._blocks:
            return self._blocks.popleft()
        now = time.monotonic()
        if self._child is None and now < self._start_at:
            return None
        child = self._child or self._start(now)
        piece = child.read()
        if piece:
            self._take(piece)
        elif piece is not None:
            self._died(child.end(), now)
        elif self._seek is not None and now - self._started_at > _FIND:
            self._lose("not found")
        elif not self._folders >= _folders():  # journalctl sees no folder that was not there when it began
            self.close()
        return self._blocks.popleft() if self._blocks else None

    def notices(self) -> list[str]:
        """Return, once, what happened to the place or to journalctl."""
        notices, self._notices = self._notices, []
        return notices

    def ended(self) -> bool:
        """Say no: a journal has no end."""
        return False

    def report(self) -> SourceReport:
        """Say how it is doing."""
        if self._child is None and self._said:
            state = "waiting to start journalctl again"
        elif not _folders():
            state = "waiting for the journal"
        else:
            return SourceReport(self.name, "following", self._cutter.offset, None, self._cutter.too_long)
        return SourceReport(self.name, state, self._cutter.offset, None, self._cutter.too_long, waiting=True)

    def close(self) -> None:
        """End journalctl; reading again would start another, at the place."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def _start(self, now: float) -> Journalctl:
        """Start journalctl at the place, at the time before it where the place is lost. Raises OSError."""
        self._start_at = now + self._delay  # so long is waited also where it cannot be started
        unreadable = _unreadable()
        if unreadable is not None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), unreadable)
        self._folders = _folders()
        self._seek = None if self._lost else self._place
        begin = [] if self._seek is None else [f"--cursor={self._seek.cursor}"]
        if self._seek is None:
            times = [] if self._place is None else [self._place.time // 1_000_000 - _SLACK]
            times += [] if self._since is None else [self._since]
            begin = [f"--since=@{max(min(times), 0)}"] if times else []
        child = Journalctl([*self._command, *begin, *self._matches])
        if self._ring is not None:
            child.watch(self._ring)
        old, self._cutter = self._cutter, LineCutter()  # half a line of the one before is written again
        self._cutter.offset, self._cutter.too_long = old.offset, old.too_long
        self._child, self._started_at = child, now
        return child

    def _take(self, piece: bytes) -> None:
        """Make blocks of the entries that a piece of output completes."""
        for lines, offset, _ in self._cutter.cut(piece):
            skip = 0
            if self._seek is not None:
                skip = lines.find(b"\n") + 1
                first = lines[:skip]
                if not self._seek.is_of(first):
                    self._lose("the journal goes on elsewhere")
                    return
                self._seek = None
                if b'"_LINE_BREAK"' in first:  # whoever reads on must know that the line behind it is its rest
                    skip = 0
            self._place = find_place(lines[lines.rfind(b"\n", 0, -1) + 1 :]) or self._place
            self._lost, self._since = False, None
            checkpoint = "" if self._place is None else write_checkpoint(self._place)
            self._blocks.append(Block(lines[skip:], offset + skip, checkpoint))

    def _lose(self, why: str) -> None:
        """Begin anew at the time before the place."""
        self._lost = True
        self._notices.append(f"the place in the journal was lost ({why}); reading again what was written around it")
        self.close()

    def _died(self, why: str, now: float) -> None:
        """Start journalctl anew after a while, and say it once."""
        self._child = None
        if self._seek is not None:  # of a place that is none it dies at once
            self._lost = True
        if now - self._started_at > _HEALTHY:
            self._delay, self._said = _DELAYS[0], ""
        self._start_at = now + self._delay
        self._delay = min(2 * self._delay, _DELAYS[1])
        if why != self._said:
            self._notices.append(f"journalctl ended with {why}; it is started again")
        self._said = why


def _folders() -> set[tuple[int, int]]:
    """Return which folders of journal files there are."""
    found = set()
    for folder in FOLDERS:
        with suppress(OSError):
            found |= {(status.st_dev, status.st_ino) for status in map(Path.stat, (folder, *folder.glob("*/")))}
    return found


def _unreadable() -> str | None:
    """Return a journal that may not be read, where none may."""
    journals = [path for folder in FOLDERS for path in folder.glob("*/system.journal")]
    return str(journals[0]) if journals and not any(os.access(path, os.R_OK) for path in journals) else None
