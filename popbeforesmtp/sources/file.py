"""``type = "file"``: follows one log file through rotations, restarts and truncations.

The path is one endless log, whatever files it is written to. Events only say that it is time to look; what happened is
found out by looking. A file that was renamed away is kept open for a while, for its writer goes on in it until it is
told of the new one, and is read to its end before the new one is begun.
"""

import glob
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from watchdog.events import EVENT_TYPE_CLOSED_NO_WRITE, EVENT_TYPE_OPENED, FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from popbeforesmtp.errors import NotPermittedError
from popbeforesmtp.lines import UNPACK, UNREADABLE, find_long_line
from popbeforesmtp.model import Block
from popbeforesmtp.sources import SourceReport
from popbeforesmtp.sources._checkpoint import Place, read_checkpoint, write_checkpoint
from popbeforesmtp.sources._openlog import OpenLog

_UNPACK_AT_MOST = 3
"""How many compressed logs, the newest, are unpacked in search of a place."""

_LINGER = 60.0
"""Seconds for which a file that was renamed away is still looked at, after that and after it last grew."""


def open_source(*, path: Path, checkpoint: str | None = None) -> "FileSource":
    """Follow the log file at ``path``, from the checkpoint on where there is one.

    The file need not be there yet. Raises NotPermittedError where it is and cannot be read.
    """
    source = FileSource(path, checkpoint)
    try:
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

    journal = False

    def __init__(self, path: Path, checkpoint: str | None = None) -> None:
        self.name = str(path)
        self._path = path
        self._places = read_checkpoint(checkpoint)
        self._files: list[OpenLog] = []  # oldest first; the last one is what the path named when last looked at
        self._replaced_at = 0.0  # when the last but one was replaced
        self._notices: list[str] = []
        self._observer: BaseObserver | None = None
        self._waiting = False
        self._line = 1
        self._too_long = 0

    def watch(self, ring: Callable[[], None]) -> None:
        """Ring when something happens in the log's folder; without the folder the look every second must do."""
        observer = Observer()
        try:
            observer.schedule(_Bell(self._path, ring), str(self._path.parent))
            observer.start()
        except OSError as error:
            self._notices.append(f"no file events for {self._path.parent} ({error.strerror}): looking every second")
            return
        self._observer = observer

    def read(self) -> Block | None:
        """Return the next lines of the oldest file that has any."""
        if self._places:
            self._resume()
        block = self._read_files()
        if block is None and self._look():
            # Even of an empty file the place is kept: what is written there while we are away is found by it.
            block = self._read_files() or self._nothing()
        return block

    def notices(self) -> list[str]:
        """Return, once, what happened to the file."""
        notices, self._notices = self._notices, []
        return notices

    def ended(self) -> bool:
        """Say no: a log has no end."""
        return False

    def report(self) -> SourceReport:
        """Say how it is doing."""
        if not self._files:
            return SourceReport(self.name, "waiting for the file", too_long=self._too_long, waiting=True)
        current = self._files[-1]
        return SourceReport(self.name, "following", current.offset, current.size(), self._too_long)

    def close(self) -> None:
        """Stop watching and close all files."""
        if self._observer is not None:
            self._observer.stop()
            self._observer.join(1.0)
            self._observer = None
        for log in self._files:
            log.close()
        self._files.clear()

    def _read_files(self) -> Block | None:
        for log in list(self._files):
            block = self._read_one(log)
            if block is not None:
                return block
        return None

    def _read_one(self, log: OpenLog) -> Block | None:
        """Read whole lines of one file; the offset never passes a line that has no LF yet."""
        piece = log.piece()
        if piece is None:
            return self._written_over(log)
        if log.skipping:
            return self._pass_by(log, piece)
        long = find_long_line(piece)
        if long == 0:
            self._too_long += 1
            return self._pass_by(log, piece)
        lines = piece[: piece.rfind(b"\n", 0, long if long > 0 else len(piece)) + 1]
        if not lines:
            return None
        offset, line = log.offset, self._line
        log.advance(lines)
        self._line += lines.count(b"\n")
        return Block(lines, offset, line, self._checkpoint())

    def _pass_by(self, log: OpenLog, piece: bytes) -> Block | None:
        """Pass by what belongs to a line that is too long."""
        if not piece:
            return None
        end = piece.find(b"\n") + 1
        log.advance(piece[: end or len(piece)], inside_line=not end)
        self._line += bool(end)
        return self._nothing()

    def _written_over(self, log: OpenLog) -> Block | None:
        """Begin a file anew that was truncated or written over, behind what a copy of its old self still holds."""
        copy = None if log.place is None else self._find(log.place, self._rotated())
        if copy is not None:
            self._files.insert(self._files.index(log), copy)
            self._replaced_at = time.monotonic()
        log.restart()
        held = ", and the copy of what it held is read to its end" if copy is not None else ""
        self._notices.append(f"{self._path} was truncated or written over; reading it from its beginning{held}")
        return self._read_files()

    def _nothing(self) -> Block:
        """Hand over no lines, but the place that was reached."""
        return Block(b"", self._files[-1].offset, self._line, self._checkpoint())

    def _checkpoint(self) -> str:
        return write_checkpoint(log.take_place() for log in self._files)

    def _look(self) -> bool:
        """See whether the path names another file now; say whether there is something new to read."""
        now = time.monotonic()
        # A file whose successor is still empty has not been left by its writer yet.
        while (
            len(self._files) > 1
            and now - max(self._files[0].grown_at, self._replaced_at) > _LINGER
            and self._files[1].offset > 0
        ):
            self._files.pop(0).close()
        try:
            status = self._path.stat()
        except FileNotFoundError:
            if not self._files and not self._waiting:
                self._waiting = True
                self._notices.append(f"{self._path} is not there yet; it is read from its beginning when it comes")
            return False
        if not self._files:
            self._files.append(OpenLog(self._path))
            return True
        last = self._files[-1]
        if last.identity == (status.st_dev, status.st_ino):
            return False
        self._files += _opened(self._newer(last.modified()))
        self._replaced_at = now
        self._notices.append(f"{self._path} was rotated; the old file was read to its end")
        return True

    def _resume(self) -> None:
        """Open the files that the checkpoint speaks of, and those that were begun since, oldest first."""
        places = self._places
        logs = (self._find(place, [*self._rotated(), self._path]) for place in places)
        for log in self._files:  # of an attempt that failed
            log.close()
        self._files = [log for log in logs if log is not None]
        if not self._files and self._path.exists():
            self._notices.append(f"the place in {self._path} was not found again; reading what was written since")
        if _identity(self._path) not in self._known():
            last = self._files[-1].modified() if self._files else places[-1].modified
            self._files += _opened(self._newer(min(last, places[-1].modified)))
            self._replaced_at = time.monotonic()
        self._places = []

    def _find(self, place: Place, paths: Iterable[Path]) -> OpenLog | None:
        """Open the file that a place is in: rather the very file than a copy, rather a plain one than a packed one."""

        def unlikely(path: Path) -> tuple[bool, bool, int]:
            return (_identity(path) != (place.device, place.inode), path.suffix in UNPACK, -_modified(path))

        likely = sorted(paths, key=unlikely)
        packed = [path for path in likely if path.suffix in UNPACK]
        for path in likely:
            log = None if path in packed[_UNPACK_AT_MOST:] else OpenLog.at(path, place)
            if log is not None:
                return log
        return None

    def _newer(self, modified: int) -> list[Path]:
        """Return what the log was written to since a moment, oldest first, the path itself last."""
        known = self._known()
        rotated = (path for path in self._rotated() if _modified(path) >= modified and _identity(path) not in known)
        return [*rotated, self._path]

    def _known(self) -> set[tuple[int, int]]:
        return {log.identity for log in self._files}

    def _rotated(self) -> list[Path]:
        """Return the log's rotated forms, oldest first: ``mail.log.1``, ``mail.log-20261122``, ``mail.log.2.gz``."""
        real = self._path.resolve()  # behind a symbolic link, rotation happens where it leads to
        paths = real.parent.glob(f"{glob.escape(real.name)}[.-]*")
        return sorted((path for path in paths if path.is_file()), key=_modified)


def _opened(paths: Iterable[Path]) -> list[OpenLog]:
    """Open files from their beginnings; one that cannot be read does not keep the others back, but the last must be."""
    *rotated, last = paths
    logs = []
    for path in rotated:
        try:
            logs.append(OpenLog(path))
        except UNREADABLE:
            continue
    try:
        return [*logs, OpenLog(last)]
    except FileNotFoundError:
        return logs
    except OSError:
        for log in logs:
            log.close()
        raise


def _identity(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return status.st_dev, status.st_ino


def _modified(path: Path) -> int:
    """Return when a file was last written to, in nanoseconds since 1970."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


class _Bell(FileSystemEventHandler):
    """Rings for everything that happens to the log or its rotated forms, but not for our own reading."""

    def __init__(self, path: Path, ring: Callable[[], None]) -> None:
        self._path = str(path)
        self._ring = ring

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Say that it is time to look."""
        if event.event_type in (EVENT_TYPE_OPENED, EVENT_TYPE_CLOSED_NO_WRITE):
            return
        if os.fsdecode(event.src_path).startswith(self._path) or os.fsdecode(event.dest_path).startswith(self._path):
            self._ring()
