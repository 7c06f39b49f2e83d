"""``type = "file"``: follows one log file, or all that a pattern names, through rotations, restarts and truncations.

A path is one endless log, whatever files it is written to. Events only say that it is time to look; what happened is
found out by looking. A file that was renamed away is kept open for a while, for its writer goes on in it until it is
told of the new one, and is read to its end before the new one is begun.
"""

import errno
import os
import time
from collections.abc import Callable
from datetime import datetime, tzinfo
from functools import partial
from pathlib import Path

from popbeforesmtp.errors import NotPermittedError
from popbeforesmtp.header import CONTAINER
from popbeforesmtp.lines import UNREADABLE, find_long_line
from popbeforesmtp.model import Block
from popbeforesmtp.sources import Source, SourceReport
from popbeforesmtp.sources._checkpoint import read_checkpoint, read_finished, write_checkpoint
from popbeforesmtp.sources._history import History, close_all, identity, pass_by_copied, require_few_writers
from popbeforesmtp.sources._openlog import OpenLog
from popbeforesmtp.sources._several import SeveralSource, is_pattern
from popbeforesmtp.sources._watch import Watch

_LINGER = 60.0
"""Seconds for which a file that was renamed away is still looked at, after that and after it last grew."""

_GONE = 60.0
"""Seconds after which it is worth a warning that the path names nothing."""

_FOLDERS = 10.0
"""Seconds after which it is found out anew where the folders lie that are watched."""


def open_source(
    *,
    path: Path,
    checkpoint: str | None = None,
    since: datetime | None = None,
    zone: tzinfo | None = None,
    owners: tuple[str, ...] = (),
    insecure: bool = False,
    marks: tuple[bytes, ...] = (),
) -> Source:
    """Follow the log file at ``path``, or all that match it where it is a pattern, from the checkpoint on.

    Without one, from the first line at or after ``since`` on (aware), else from the beginning; ``zone`` is that of
    stamps that name none, None for this machine's. No file need be there yet. ``owners`` may write it besides root and
    the syslog daemon; ``insecure`` lets everybody. Where one of ``marks`` stands not far before ``since``, what is
    there may tell how to read on, and is read too. Raises NotPermittedError where the file is there and cannot be read,
    or may be written by others.
    """
    allowed = None if insecure else owners
    if is_pattern(path):
        return SeveralSource(path, partial(FileSource, owners=allowed, marks=marks), checkpoint, since=since, zone=zone)
    source = FileSource(path, checkpoint, since=since, zone=zone, owners=allowed, marks=marks)
    try:
        require_few_writers(path, allowed)
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
    except PermissionError:
        raise NotPermittedError(
            f"{path}: may not be read by this user; on Debian, `usermod -aG adm USER` lets it read the logs"
        ) from None
    except OSError:
        pass  # it may come; the pipeline says that it is waited for
    return source


class FileSource:
    """One path, read as one log."""

    format = None
    journal = False

    def __init__(
        self,
        path: Path,
        checkpoint: str | None = None,
        *,
        since: datetime | None = None,
        zone: tzinfo | None = None,
        ring: Callable[[], None] | None = None,
        owners: tuple[str, ...] | None = None,
        marks: tuple[bytes, ...] = (),
    ) -> None:
        self.name = str(path)
        self._path = path
        self._history = History(path, since, zone, owners, read_finished(checkpoint), marks)
        self._places = read_checkpoint(checkpoint)
        self._files: list[OpenLog] = []  # oldest first; the last one is what the path named when last looked at
        self._replaced_at = 0.0  # when the last but one was replaced
        self._notices = self._history.notices
        self._ring = ring or _nobody
        self._watch: Watch | None = None
        self._there: tuple[tuple[int, int], tuple[int, int] | None] | None = (
            None  # the file and its folder, when watched
        )
        self._looked_at = 0.0  # when it was last found out which folders to watch
        self._missing_since: float | None = None
        self._said_missing = False
        self._left_at: int | None = None  # when a log that was deleted had been written to last
        self._too_long = 0

    def watch(self, ring: Callable[[], None]) -> None:
        """Ring when something happens to the log or its rotated forms; what events miss is found by looking."""
        self._ring = ring
        self._watch = Watch(self._heard)
        self._notices += self._watch.look(self._folders())

    def read(self) -> Block | None:
        """Return the next lines of the oldest file that has any."""
        if self._places:
            self._files = self._history.resume(self._places)
            self._places, self._replaced_at = [], time.monotonic()
        block = self._read_files()
        if block is None and not self._places and self._look():
            # Even of an empty file the place is kept: what is written there while we are away is found by it.
            block = self._read_files() or (self._nothing() if self._files else None)
        return block

    def notices(self) -> list[str]:
        """Return, once, what happened to the file."""
        notices = self._notices[:]
        self._notices.clear()
        return notices

    def ended(self) -> bool:
        """Say no: a log has no end."""
        return False

    def report(self) -> SourceReport:
        """Say how it is doing."""
        if not self._files:
            return SourceReport(self.name, "waiting for the file", too_long=self._too_long, waiting=True)
        current = self._files[-1]
        size = current.size()
        for log in self._files:
            if log.unpacking():
                return SourceReport(self.name, f"unpacking {log.path}", current.offset, size, self._too_long)
        if self._missing_since is not None:
            waiting = time.monotonic() - self._missing_since > _GONE
            state = "gone, waiting for it to come back"
            return SourceReport(self.name, state, current.offset, size, self._too_long, waiting)
        return SourceReport(self.name, "following", current.offset, size, self._too_long)

    def close(self) -> None:
        """Stop watching and close all files."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        close_all(self._files)
        self._files.clear()

    def _folders(self) -> list[str]:
        """Return where it happens: where the path leads to, and where a symbolic link lies that leads there."""
        path = os.path.abspath(self._path)  # noqa: PTH100 - once a second
        return [os.path.dirname(path), os.path.dirname(_real(self._path))]  # noqa: PTH120

    def _heard(self, path: str) -> None:
        """Ring for files that are called like the log, or like what it leads to."""
        names = (self._path.name, os.path.basename(_real(self._path)))  # noqa: PTH119
        if os.path.basename(path).startswith(names):  # noqa: PTH119
            self._ring()

    def _read_files(self) -> Block | None:
        for log in list(self._files):
            if log not in self._files:  # it was let go with another
                continue
            try:
                if not log.ready(self._ring):
                    return None  # lines come in their order, so those behind must wait
                if log.since is not None:
                    self._history.start(log)
                block = self._read_one(log)
            except UNREADABLE as error:
                self._broken(log, error)
                continue
            if block is not None:
                return block
            if log.packed and log is not self._files[-1]:  # nothing comes to it any more, and it needs much room
                self._files.remove(log)
                self._history.let_go(log)
        return None

    def _broken(self, log: OpenLog, error: Exception) -> None:
        """Pass by an old file that cannot be read; the path's own is read when it can be again. Raises what it is."""
        if log is not self._files[-1] or log.packed:
            self._history.give_up(log, error)
            self._files.remove(log)
            log.close()
            return
        # Where the path leads to another file now, or its server has forgotten the one that we hold, it is opened anew.
        if getattr(error, "errno", None) != errno.ESTALE and identity(self._path) in (log.identity, None):
            raise error
        self._places = [other.place() for other in self._files]
        close_all(self._files)
        self._files.clear()

    def _read_one(self, log: OpenLog) -> Block | None:
        """Read whole lines of one file; the offset never passes a line that has no LF yet."""
        data = log.read()  # first: where it was truncated before, its copy is there by now
        if log.may_have_been_emptied() and self._insert(log, self._history.find_copies(log, self._files)):
            return self._read_files()
        if data is None:
            return self._written_over(log)
        if log.skipping:
            return self._pass_by(log, data[log.known :])
        if data.startswith(b"\0", log.known) and not data[: log.known].strip(b"\0"):
            log.pass_hole(data[log.known :])
            return self._nothing()
        long = find_long_line(data, log.known)
        if long == log.known:
            self._too_long += 1
            return self._pass_by(log, data[log.known :])
        end = data.rfind(b"\n", log.known, long if long > 0 else len(data)) + 1
        if end <= log.known:
            return None
        lines = data[log.known : end]
        offset, gap, log.gap = log.offset, log.gap, False
        log.advance(lines)
        return Block(lines, offset, self._checkpoint(), self.name, gap)

    def _pass_by(self, log: OpenLog, piece: bytes) -> Block | None:
        """Pass by what belongs to a line that is too long."""
        if not piece:
            return None
        end = piece.find(b"\n") + 1
        begins = not log.skipping and piece.startswith(CONTAINER)
        log.advance(piece[: end or len(piece)], inside_line=not end)
        nothing = self._nothing()
        # Of a container's line so much is handed over that its reader knows that one was there.
        return nothing._replace(data=CONTAINER + b"\n") if begins else nothing

    def _written_over(self, log: OpenLog) -> Block | None:
        """Begin a file anew that was truncated or written over, behind what a copy of its old self still holds."""
        copies = self._history.find_copies(log, self._files)
        log.go_to(0)
        self._insert(log, copies)
        held = ", and the copy of what it held is read to its end" if copies else ""
        self._notices.append(f"{self._path} was truncated or written over; reading it from its beginning{held}")
        return self._read_files()

    def _insert(self, log: OpenLog, copies: list[OpenLog]) -> bool:
        """Read copies of a log before the log, and what both hold once; say whether there are any."""
        if not copies:
            return False
        here = self._files.index(log)
        self._files[here:here] = copies
        self._replaced_at = time.monotonic()
        pass_by_copied(log, copies[-1])
        return True

    def _nothing(self) -> Block:
        """Hand over no lines, but the place that was reached."""
        return Block(b"", self._files[-1].offset, self._checkpoint(), self.name)

    def _checkpoint(self) -> str:
        return write_checkpoint((log.place() for log in self._files), self._history.finished)

    def _look(self) -> bool:
        """See whether the path names another file now; say whether there is something new to read."""
        now = time.monotonic()
        # A file whose successor is still empty has not been left by its writer yet.
        while (
            len(self._files) > 1
            and now - max(self._files[0].grown_at, self._replaced_at) > _LINGER
            and self._files[1].offset > 0
        ):
            self._history.let_go(self._files.pop(0))
        found = identity(self._path)
        self._look_for_folders(found, now)
        if found is None:
            return self._missing(now)
        self._missing_since = None
        if not self._files:
            self._files = self._begin()
            return bool(self._files)
        last = self._files[-1]
        if last.identity == found:
            return False
        self._files = self._history.newer(last.modified(), self._files)
        self._replaced_at = now
        self._notices.append(f"{self._path} was rotated; the old file was read to its end")
        return True

    def _look_for_folders(self, found: tuple[int, int] | None, now: float) -> None:
        """Watch the folders where it happens now: where they lie is found out anew only if something is another there.

        And every few seconds, for a link on the way may lead to the same file in another folder.
        """
        if self._watch is None:
            return
        there = None if found is None else (found, identity(self._path.parent))
        if there is None or there != self._there or now - self._looked_at > _FOLDERS:
            self._there, self._looked_at = there, now
            self._notices += self._watch.look(self._folders())

    def _missing(self, now: float) -> bool:
        """Wait for the file; what was rotated away before we came is read meanwhile."""
        if self._missing_since is None:
            self._missing_since = now
        if self._files:
            last = self._files[-1]
            if now - max(last.grown_at, self._missing_since) > _LINGER and last.deleted():
                self._left_at = last.modified()  # only we keep it, and its room on the disk
                for log in self._files:
                    self._history.let_go(log)
                self._files.clear()
            return False
        self._files = self._begin()
        if not self._files and not self._said_missing:
            self._said_missing = True
            self._notices.append(f"{self._path} is not there yet; it is read from its beginning when it comes")
        return bool(self._files)

    def _begin(self) -> list[OpenLog]:
        """Open the log as a new one, or what was written since it was deleted."""
        return self._history.begin() if self._left_at is None else self._history.newer(self._left_at, [])


def _real(path: Path) -> str:
    """Return what a path leads to; the path itself where a link of it is switched while we look (readlink(2))."""
    try:
        return os.path.realpath(path)
    except OSError:
        return os.path.abspath(path)  # noqa: PTH100


def _nobody() -> None:
    """Ring where nobody listens yet."""
