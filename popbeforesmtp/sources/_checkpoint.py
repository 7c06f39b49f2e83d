"""Where reading stands in a log file, in a form that finds the file again under another name.

A place is known by what the file holds: the bytes it begins with and the bytes just before the place. So a file is
found again after a rename, a copy, compression, or a reboot that numbers devices anew, and a file that was written over
is not taken for the old one.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass

_VERSION = 1
_HEAD = 256  # bytes of the beginning that make a fingerprint
TAIL = 64  # bytes before the place that make one


@dataclass(frozen=True, slots=True)
class Place:
    """A place in one file, just behind an LF or at the beginning."""

    device: int
    inode: int
    modified: int  # nanoseconds since 1970: what was written to the log since lies in files no older than this
    offset: int
    head: str
    tail: str

    def fits(self, descriptor: int) -> bool:
        """Say whether an open file is the one that this place is in."""
        status = os.fstat(descriptor)
        if self.offset == 0:  # nothing was read of it that it could be known by
            return (status.st_dev, status.st_ino) == (self.device, self.inode)
        return status.st_size >= self.offset and fingerprint(descriptor, self.offset) == (self.head, self.tail)


def take_place(descriptor: int, offset: int) -> Place:
    """Describe a place in an open file."""
    status = os.fstat(descriptor)
    head, tail = fingerprint(descriptor, offset)
    return Place(status.st_dev, status.st_ino, status.st_mtime_ns, offset, head, tail)


def fingerprint(descriptor: int, offset: int) -> tuple[str, str]:
    """Return what the file holds at its beginning and before the offset, as short hashes."""
    head = os.pread(descriptor, min(_HEAD, offset), 0)
    tail = os.pread(descriptor, min(TAIL, offset), offset - min(TAIL, offset))
    return hashlib.blake2b(head, digest_size=12).hexdigest(), hashlib.blake2b(tail, digest_size=12).hexdigest()


def write_checkpoint(places: Iterable[Place]) -> str:
    """Put places, the oldest file's first, into one line of text."""
    return json.dumps({"version": _VERSION, "files": [asdict(place) for place in places]}, separators=(",", ":"))


def read_checkpoint(text: str | None) -> list[Place]:
    """Read places back; an empty list where the text is none of ours, for then the log is read from its beginning."""
    try:
        data = json.loads(text or "{}")
        if data.get("version") != _VERSION:
            return []
        return [_place(**place) for place in data["files"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


def _place(*, device: int, inode: int, modified: int, offset: int, head: str, tail: str) -> Place:
    """Make a place of what a file held. Raises ValueError where that is none."""
    if any(type(number) is not int or number < 0 for number in (device, inode, modified, offset)):
        raise ValueError("no place")
    return Place(device, inode, modified, offset, str(head), str(tail))
