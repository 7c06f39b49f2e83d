"""``type = "file"``: follows one log file through rotations, restarts and truncations.

The path is one endless log, whatever files it is written to. Events only say that it is time to look; what happened is
found out by looking. A file that was renamed away is kept open for a while, for its writer goes on in it until it is
told of the new one, and is read to its end before the new one is begun.
"""

import errno
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

from watchdog.events import EVENT_TYPE_CLOSED_NO_WRITE, EVENT_TYPE_OPENED, FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from popbeforesmtp.errors import NotPermittedError
from popbeforesmtp.model import Block
from popbeforesmtp.sources import LONGEST_LINE, SourceReport
from popbeforesmtp.sources._checkpoint import Place, read_checkpoint, take_place, write_checkpoint

_PIECE = 262_144
"""Bytes read at once; perf: between 64 KiB and 16 MiB it makes no difference."""

_LINGER = 60.0
"""Seconds for which a file that was renamed away is still looked at after it last grew."""

_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")


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

    def __init__(self, path: Path, checkpoint: str | None = None) -> None:
        self.name = str(path)
        self._path = path
        self._places = read_checkpoint(checkpoint)
        self._resumed = not self._places
        self._files: list[
            _OpenLog
        ] = []  # oldest first; the last one is the one that the path named when last looked at
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
        if not self._resumed:
            self._resume()
        block = self._read_files()
        if block is None and self._look():
            block = self._read_files()
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
        size = os.fstat(current.descriptor).st_size
        return SourceReport(self.name, "following", current.offset, size, self._too_long)

    def close(self) -> None:
        """Stop watching and close all files."""
        if self._observer is not None:
            self._observer.stop()
            self._observer = None
        for log in self._files:
            log.close()
        self._files.clear()

    def _read_files(self) -> Block | None:
        for log in self._files:
            block = self._read_one(log)
            if block is not None:
                return block
        return None

    def _read_one(self, log: "_OpenLog") -> Block | None:
        """Read whole lines of one file; the offset never passes a line that has no LF yet."""
        piece = log.piece()
        if piece is None:
            self._notices.append(f"{self._path} was truncated or written over; reading it from its beginning")
            log.restart()
            piece = log.piece()
        if not piece:
            return None
        if log.skipping:
            end = piece.find(b"\n") + 1
            log.advance(end or len(piece), inside_line=not end)
            self._line += bool(end)
            return Block(b"", log.offset, self._line, self._checkpoint())
        end = piece.rfind(b"\n") + 1
        if not end:
            if len(piece) <= LONGEST_LINE:
                return None
            self._too_long += 1
            log.advance(len(piece), inside_line=True)
            return Block(b"", log.offset, self._line, self._checkpoint())
        offset, line = log.offset, self._line
        lines = piece[:end]
        log.advance(end)
        self._line += lines.count(b"\n")
        return Block(lines, offset, line, self._checkpoint())

    def _checkpoint(self) -> str:
        return write_checkpoint(log.place() for log in self._files)

    def _look(self) -> bool:
        """See whether the path names another file now; say whether there is something new to read."""
        now = time.monotonic()
        while len(self._files) > 1 and now - self._files[0].grown_at > _LINGER:
            self._files.pop(0).close()
        try:
            status = self._path.stat()
        except FileNotFoundError:
            if not self._files and not self._waiting:
                self._waiting = True
                self._notices.append(f"{self._path} is not there yet; it is read from its beginning when it comes")
            return False
        if self._files and self._files[-1].is_file(status):
            return False
        log = _OpenLog(self._path)
        if self._files:
            self._notices.append(f"{self._path} was rotated; the old file was read to its end")
        self._files.append(log)
        return True

    def _resume(self) -> None:
        """Open the files that the checkpoint speaks of, and those that were begun since, oldest first."""
        found: list[_OpenLog] = []
        candidates = self._candidates()
        for place in self._places:
            for path in sorted(candidates, key=lambda path: path.stat().st_ino != place.inode):
                log = _OpenLog.at(path, place)
                if log is not None:
                    found.append(log)
                    candidates.remove(path)
                    break
        if found:
            oldest = os.fstat(found[-1].descriptor).st_mtime_ns
            newer = [path for path in candidates if path.stat().st_mtime_ns > oldest or path == self._path]
            found.extend(_OpenLog(path) for path in newer)
        elif self._path.exists():
            self._notices.append(f"the place in {self._path} was not found again; reading it from its beginning")
        self._files = found
        self._resumed = True

    def _candidates(self) -> list[Path]:
        """Return the log and its rotated forms, oldest first, the log itself last."""
        rotated = [
            path
            for path in self._path.parent.glob(f"{self._path.name}[.-]*")
            if path.suffix not in _COMPRESSED and path.is_file()
        ]
        rotated.sort(key=lambda path: path.stat().st_mtime_ns)
        return [*rotated, self._path] if self._path.exists() else rotated


class _OpenLog:
    """One file, open, and how far it was read."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(self.descriptor).st_mode):
            self.close()
            raise OSError(errno.EINVAL, "is no regular file", str(path))
        self.offset = 0
        self.whole = 0  # the last offset that stood just behind an LF
        self.skipping = False  # inside a line that is too long
        self.grown_at = time.monotonic()

    @classmethod
    def at(cls, path: Path, place: Place) -> "_OpenLog | None":
        """Open a file at a place; None where it is not the file that the place is in."""
        log = cls(path)
        if not place.fits(log.descriptor):
            log.close()
            return None
        log.offset = log.whole = place.offset
        return log

    def piece(self) -> bytes | None:
        """Return what stands behind the offset; None where the file no longer holds what was read before it."""
        if os.fstat(self.descriptor).st_size < self.offset:
            return None
        if self.offset == 0:
            return os.pread(self.descriptor, _PIECE, 0)
        piece = os.pread(self.descriptor, _PIECE + 1, self.offset - 1)
        if not self.skipping and piece[:1] != b"\n":  # the offset always stands just behind an LF
            return None
        return piece[1:]

    def advance(self, count: int, *, inside_line: bool = False) -> None:
        """Go on by some bytes, which end with an LF unless a line that is too long goes on."""
        self.offset += count
        self.skipping = inside_line
        if not inside_line:
            self.whole = self.offset
        self.grown_at = time.monotonic()

    def restart(self) -> None:
        """Go back to the beginning."""
        self.offset = self.whole = 0
        self.skipping = False

    def place(self) -> Place:
        """Describe how far it was read: never to the middle of a line."""
        return take_place(self.descriptor, self.whole)

    def is_file(self, status: os.stat_result) -> bool:
        """Say whether it is the file of that status."""
        own = os.fstat(self.descriptor)
        return (own.st_dev, own.st_ino) == (status.st_dev, status.st_ino)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self.descriptor)


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
