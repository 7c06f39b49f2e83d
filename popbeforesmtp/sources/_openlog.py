"""One log file, open, and how far it was read."""

import errno
import hashlib
import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from popbeforesmtp.lines import LONGEST_LINE, UNPACK
from popbeforesmtp.sources._checkpoint import HEAD, TAIL, Place, make_place, read_tail
from popbeforesmtp.sources._unpacking import Unpacking, beginning

_PIECE = 262_144
"""Bytes read at once; perf: between 64 KiB and 16 MiB it makes no difference."""

_TICK = 2_000_000_000
"""Nanoseconds within which a file that was written to again may keep its time: FAT counts by two seconds."""

_BEGINNING = 65_536
"""Bytes of a beginning by which a file and its compressed form are told to be the same."""

_RECENT = 16_384
"""Bytes of what was read last that are kept: more than is written between a copy and the truncation behind it."""


class OpenLog:
    """A file that lines are read from, once it is ready. Raises OSError where it cannot be opened, or is irregular."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._unpacking: Unpacking | None = None
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        status = os.fstat(self.descriptor)
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise OSError(errno.EINVAL, "is no regular file", str(path))
        self.identity = (status.st_dev, status.st_ino)
        self.packed = path.suffix in UNPACK
        self.since: datetime | None = None  # what was written before is to be passed by
        self.gap = False  # lines in front of the offset were passed by
        self.offset = 0
        self.known = 0  # bytes before the offset that come with what stands behind it
        self.lost = False  # it is not the file that its place was in, after all
        self.skipping = False  # inside a line that is too long
        self.grown_at = time.monotonic()
        self.empty_at = status.st_mtime_ns  # nothing was read of it since; copies made since are no older than this
        self._fresh = _is_fresh(self.empty_at)
        self._emptied_at = status.st_mtime_ns
        self._modified = status.st_mtime_ns  # of a packed file: of that, not of what it holds
        self._place: Place | None = None  # of a packed file: not proven yet
        self._whole = 0  # the last offset that stood just behind an LF
        self._whole_tail = b""  # what stands before that
        self._recent = b""  # what was read last: a copy that ends in it holds nothing new
        self._tail = b""  # the end of that: if that changes, the file was written over
        # The first of what was read, or is there to be read: it may be truncated before it is.
        self._read_head = b"" if self.packed else os.pread(self.descriptor, HEAD, 0)
        self._packed_head = self._packed_beginning = b""
        if self.packed:
            begins = beginning(self.descriptor, path.suffix, _BEGINNING)
            self._packed_head, self._packed_beginning = begins[:HEAD], _hash(begins)
            self._unpacking = Unpacking(os.dup(self.descriptor), path.suffix)

    @classmethod
    def at(cls, path: Path, place: Place) -> "OpenLog | None":
        """Open a file at a place; None where it is not the file that the place is in, or cannot be read."""
        try:
            log = cls(path)
        except OSError:
            return None
        try:
            if log.take_up(place):
                return log
        except OSError:
            pass
        log.close()
        return None

    def take_up(self, place: Place) -> bool:
        """Go to a place if it is in this file, which for a packed one is proven when it is unpacked. Raises OSError."""
        if self.packed and place.may_begin(self._packed_head, self.identity):
            self._place = place
            return True
        if not self.packed and place.fits(self.descriptor):
            self.go_to(place.offset)
            return True
        return False

    def has_read(self, other: "OpenLog") -> bool:
        """Say whether another file holds nothing but what was read of this one: a copy that was made a little before.

        It must end in what was read last, and as that goes on from there; else it is rather read twice.
        """
        size = 0 if other.packed else other.size()
        begin = self.offset - len(self._recent)
        if not begin + TAIL <= size <= self.offset or other.head() != self._read_head[:size]:
            return False
        return os.pread(other.descriptor, size - begin, begin) == self._recent[: size - begin]

    def go_to_end(self) -> None:
        """Go behind its last whole line."""
        size = self.size()
        begin = max(0, size - LONGEST_LINE)
        self.go_to(begin + os.pread(self.descriptor, size - begin, begin).rfind(b"\n") + 1)

    def ready(self, ring: Callable[[], None]) -> bool:
        """Say whether it can be read: a packed log is unpacked first, and ``ring`` called then. Raises UNREADABLE."""
        if self._unpacking is None:
            return True
        if not self._unpacking.ready(ring) or self._unpacking.plain is None:
            return False
        os.close(self.descriptor)
        self.descriptor, self._unpacking = self._unpacking.plain, None
        place, self._place = self._place, None
        if place is not None and place.offset > 0:
            self.lost = not place.fits(self.descriptor)  # read from its beginning then: a line twice, rather than never
            self.go_to(0 if self.lost else place.offset)
        return True

    def head(self) -> bytes:
        """Return the HEAD bytes that it begins with, less while it is shorter."""
        return self._packed_head if self.packed else os.pread(self.descriptor, HEAD, 0)

    def begins_like(self, other: "OpenLog") -> bool:
        """Say whether two files hold the same, as far as their beginnings tell: one may be compressed."""
        return self._beginning() == other._beginning()

    def _beginning(self) -> bytes:
        return self._packed_beginning if self.packed else _hash(os.pread(self.descriptor, _BEGINNING, 0))

    def go_to(self, offset: int) -> None:
        """Go on from an offset that stands just behind an LF."""
        self._read_head = os.pread(self.descriptor, min(offset, HEAD), 0)
        self._tail = self._whole_tail = read_tail(self.descriptor, offset)
        self._recent = b""
        self.offset = self._whole = offset
        self.known = len(self._tail)
        self.skipping = False
        self.empty_at = self.modified()
        self._fresh = _is_fresh(self.empty_at)

    def skip_to(self, offset: int) -> None:
        """Pass by what stands before an offset. What was seen when it was opened counts on: it may be another by now.

        Where it was truncated since, that is found when it is read.
        """
        head, empty_at, fresh = self._read_head, self.empty_at, self._fresh
        self.go_to(offset)
        begins = os.pread(self.descriptor, HEAD, 0)
        self._read_head = begins if begins.startswith(head) else head
        self.empty_at, self._fresh = empty_at, fresh

    def read(self) -> bytes | None:
        """Return ``known`` bytes and what stands behind the offset; None where the file no longer holds the former."""
        data = os.pread(self.descriptor, _PIECE, self.offset - self.known)
        # Lines may end alike, but as they begin with a stamp, not begin alike too.
        begins = os.pread(self.descriptor, len(self._read_head), 0) == self._read_head
        return data if begins and data.startswith(self._tail) else None

    def is_blank(self) -> bool:
        """Say whether nothing was read that it could be told by: empty lines are alike."""
        return not self._read_head[: self.offset].strip(b"\n")

    def may_have_been_emptied(self) -> bool:
        """Say, once, whether a file was written to of which nothing much was read: it may also have been truncated.

        A time that was fresh when it was seen tells nothing: it may be that of what came right behind it, too.
        """
        if self.packed or not self.is_blank() or (self.modified() == self.empty_at and not self._fresh):
            return False
        self._emptied_at, self.empty_at = self.empty_at, self.modified()
        self._fresh = _is_fresh(self.empty_at)
        return True

    def last_empty(self) -> int:
        """Say when it was last known that nothing was missed of it, in nanoseconds since 1970."""
        return self._emptied_at

    def advance(self, read: bytes, *, inside_line: bool = False) -> None:
        """Go on behind what was read, which ends with an LF unless a line that is too long goes on."""
        if self.offset < HEAD:
            self._read_head = (self._read_head[: self.offset] + read[:HEAD])[:HEAD]
        self.offset += len(read)
        self._recent = read[-_RECENT:] if len(read) >= _RECENT else (self._recent + read)[-_RECENT:]
        self._tail = (self._tail + read[-TAIL:])[-TAIL:]
        self.known = len(self._tail)
        self.skipping = inside_line
        self.grown_at = time.monotonic()
        if not inside_line:
            self._whole, self._whole_tail = self.offset, self._tail

    def last_grown(self) -> int:
        """Say when something new was last read of it, in nanoseconds since 1970 as files have them."""
        return time.time_ns() - int((time.monotonic() - self.grown_at) * 1e9)

    def place(self) -> Place:
        """Describe how far it was read: never to the middle of a line."""
        if self._place is not None:
            return self._place
        head = self._read_head if self._whole > 0 else self.head()
        return make_place(self.identity, self.modified(), self._whole, head, self._whole_tail)

    def unpacking(self) -> bool:
        """Say whether it must be waited for."""
        return self._unpacking is not None

    def pass_hole(self, seen: bytes) -> None:
        """Go on behind NULs at the beginning, some of which were seen: a writer without O_APPEND leaves them there."""
        end = self.offset + len(seen) - len(seen.lstrip(b"\0"))
        with suppress(OSError):  # nothing but a hole up to the end
            end = max(end, os.lseek(self.descriptor, self.offset, os.SEEK_DATA))
        self.go_to(end)
        self.grown_at = time.monotonic()

    def size(self) -> int:
        """Return how many bytes it has."""
        return os.fstat(self.descriptor).st_size

    def modified(self) -> int:
        """Return when it was last written to, in nanoseconds since 1970."""
        if not self.packed:
            with suppress(OSError):  # a network file system may have forgotten it
                self._modified = os.fstat(self.descriptor).st_mtime_ns
        return self._modified

    def deleted(self) -> bool:
        """Say whether it has no name any more, and lives only as long as it is open."""
        return os.fstat(self.descriptor).st_nlink == 0

    def close(self) -> None:
        """Let go of the file."""
        os.close(self.descriptor)
        if self._unpacking is not None:
            self._unpacking.give_up()
            self._unpacking = None


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _is_fresh(modified: int) -> bool:
    """Say whether a file was written to so short a time ago that it could be again, and nobody see it by its time."""
    return time.time_ns() - modified < _TICK
