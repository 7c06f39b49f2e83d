"""One log file, open, and how far it was read."""

import errno
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path

from popbeforesmtp.lines import UNPACK, UNREADABLE
from popbeforesmtp.sources._checkpoint import TAIL, Place, take_place

_PIECE = 262_144
"""Bytes read at once; perf: between 64 KiB and 16 MiB it makes no difference."""


class OpenLog:
    """A file that lines are read from. Raises OSError where it cannot be opened, or is no regular file."""

    def __init__(self, path: Path) -> None:
        status = path.stat()
        self.identity = (status.st_dev, status.st_ino)  # of what the path named, packed or not
        self._packed = status.st_mtime_ns if path.suffix in UNPACK else None
        self.descriptor = _opened(path) if self._packed is None else _unpacked(path)
        self.offset = 0
        self.skipping = False  # inside a line that is too long
        self.grown_at = time.monotonic()
        self.place: Place | None = None  # as it was last taken
        self._whole = 0  # the last offset that stood just behind an LF
        self._tail = b""  # what was read last: if that changes, the file was written over

    @classmethod
    def at(cls, path: Path, place: Place) -> "OpenLog | None":
        """Open a file at a place; None where it is not the file that the place is in, or cannot be read."""
        try:
            log = cls(path)
        except UNREADABLE:
            return None
        try:
            if place.fits(log.descriptor):
                log.offset = log._whole = place.offset
                log.place = place
                log._tail = os.pread(log.descriptor, min(TAIL, place.offset), place.offset - min(TAIL, place.offset))
                return log
        except OSError:
            pass
        log.close()
        return None

    def piece(self) -> bytes | None:
        """Return what stands behind the offset; None where the file no longer holds what was read before it."""
        known = len(self._tail)
        data = os.pread(self.descriptor, _PIECE + known, self.offset - known)
        return data[known:] if data[:known] == self._tail else None

    def advance(self, read: bytes, *, inside_line: bool = False) -> None:
        """Go on behind what was read, which ends with an LF unless a line that is too long goes on."""
        self.offset += len(read)
        self._tail = (self._tail + read[-TAIL:])[-TAIL:]
        self.skipping = inside_line
        self.grown_at = time.monotonic()
        if not inside_line:
            self._whole = self.offset

    def restart(self) -> None:
        """Go back to the beginning."""
        self.offset = self._whole = 0
        self._tail = b""
        self.skipping = False

    def take_place(self) -> Place:
        """Describe how far it was read: never to the middle of a line."""
        self.place = take_place(self.descriptor, self._whole)
        return self.place

    def size(self) -> int:
        """Return how many bytes it has."""
        return os.fstat(self.descriptor).st_size

    def modified(self) -> int:
        """Return when it was last written to, in nanoseconds since 1970."""
        return os.fstat(self.descriptor).st_mtime_ns if self._packed is None else self._packed

    def close(self) -> None:
        """Let go of the file."""
        os.close(self.descriptor)


def _opened(path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is no regular file", str(path))
    return descriptor


def _unpacked(path: Path) -> int:
    """Unpack a compressed log into a file without a name."""
    with UNPACK[path.suffix](path) as packed, tempfile.TemporaryFile() as plain:
        shutil.copyfileobj(packed, plain, _PIECE)
        plain.flush()
        return os.dup(plain.fileno())
