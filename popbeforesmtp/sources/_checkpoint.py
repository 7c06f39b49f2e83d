"""Where reading stands in a log file, in a form that finds the file again under another name.

A place is known by what the file holds: the bytes it begins with and the bytes just before the place. So a file is
found again after a rename, a copy, compression, or a reboot that numbers devices anew, and a file that was written over
is not taken for the old one.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass

_VERSION = 1
HEAD = 256  # bytes of the beginning that make a fingerprint
TAIL = 64  # bytes before the place that make one


@dataclass(frozen=True, slots=True)
class Place:
    """A place in one file, just behind an LF or at the beginning."""

    device: int
    inode: int
    modified: int  # nanoseconds since 1970: what was written to the log since lies in files no older than this
    offset: int
    head: str  # of the bytes before the place; at the beginning, of those behind it, if there were enough
    tail: str

    def blind(self) -> bool:
        """Say whether nothing stood in the file that it could be known by: empty lines are alike."""
        return self.head == _hash(b"\n" * min(self.offset, HEAD))

    def may_begin(self, head: bytes, identity: tuple[int, int]) -> bool:
        """Say whether a file that begins so may be the one that this place is in."""
        if self.blind():
            return identity == (self.device, self.inode)
        return _hash(head[: min(self.offset or HEAD, HEAD)]) == self.head

    def fits(self, descriptor: int) -> bool:
        """Say whether an open file is the one that this place is in."""
        status = os.fstat(descriptor)
        if not self.may_begin(os.pread(descriptor, HEAD, 0), (status.st_dev, status.st_ino)):
            return False
        return status.st_size >= self.offset and _hash(read_tail(descriptor, self.offset)) == self.tail


def make_place(identity: tuple[int, int], modified: int, offset: int, head: bytes, tail: bytes) -> Place:
    """Describe a place by what its file begins with, HEAD bytes if there are so many, and the TAIL bytes before it."""
    known = head[: min(offset, HEAD)] or (head if len(head) == HEAD else b"")
    return Place(*identity, modified, offset, _hash(known), _hash(tail))


def take_place(descriptor: int, offset: int) -> Place:
    """Describe a place in an open file."""
    status = os.fstat(descriptor)
    head, tail = os.pread(descriptor, HEAD, 0), read_tail(descriptor, offset)
    return make_place((status.st_dev, status.st_ino), status.st_mtime_ns, offset, head, tail)


def read_tail(descriptor: int, offset: int) -> bytes:
    """Return what stands just before a place."""
    return os.pread(descriptor, min(TAIL, offset), offset - min(TAIL, offset))


def write_checkpoint(places: Iterable[Place], finished: Iterable[Place] = ()) -> str:
    """Put places, the oldest file's first, and those of files that were let go, into one line of text."""
    files, over = ",".join(map(_text, places)), ",".join(map(_text, finished))
    return f'{{"version":{_VERSION},"files":[{files}]' + (f',"finished":[{over}]}}' if over else "}")


def read_checkpoint(text: str | None) -> list[Place]:
    """Read places back; an empty list where the text is none of ours, for then the log is read as a new one."""
    return _read(text, "files")


def read_finished(text: str | None) -> list[Place]:
    """Read back the places of files that were let go; an empty list where there are none."""
    return _read(text, "finished")


def _read(text: str | None, which: str) -> list[Place]:
    try:
        data = json.loads(text or "{}")
        if data.get("version") != _VERSION:
            return []
        return [_place(**place) for place in data[which]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


def _text(place: Place) -> str:
    """Write one place; by hand, as it is done for every block that is read, and takes a tenth of the time so."""
    return (
        f'{{"device":{place.device},"inode":{place.inode},"modified":{place.modified},"offset":{place.offset},'
        f'"head":{json.dumps(place.head)},"tail":{json.dumps(place.tail)}}}'
    )


def _place(*, device: int, inode: int, modified: int, offset: int, head: str, tail: str) -> Place:
    """Make a place of what a file held. Raises ValueError where that is none."""
    if any(type(number) is not int or number < 0 for number in (device, inode, modified, offset)):
        raise ValueError("no place")
    return Place(device, inode, modified, offset, str(head), str(tail))


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=12).hexdigest()
