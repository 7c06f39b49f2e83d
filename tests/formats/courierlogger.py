"""What Courier's logger makes of what its servers write, line by line of its source (courier-libs, liblog/logger.c).

``fgets`` takes 511 bytes of a line from one stream, ``getchar`` reads over the rest of it on another, and both streams
read the same pipe into buffers of their own. So pieces of lines become records, and lines are lost.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

PIECE = 511
BUFFER = 4096
"""Bytes that a stream of glibc reads from a pipe at once."""
PREFIX = "INFO: "
PERFECT = b"LOGIN, user=alice, ip=[::ffff:9.9.9.9], port=[4242]"
"""A login as the server writes it, from an address that never is a client."""
SHORT = b"INFO: Disconnected, ip=[203.0.113.5], port=[40005]\n"
LATE = [
    line
    for _ in range(16)
    for line in (
        b"INFO: LOGIN FAILED, user="
        + (b"A" * 230 + b" " * (PIECE - len(PERFECT)) + PERFECT).ljust(849, b"A")
        + b", ip=[203.0.113.5], port=[40005]\n",
        *[SHORT] * 14,
    )
]
"""Lines that bring a record of a stranger's choice, where they all wait; found by trying lengths. It does not stand
right behind the record that was cut."""


def failed(name: bytes) -> bytes:
    """Write the line of a failed login, as courier_safe_printf does."""
    return (b"INFO: LOGIN FAILED, user=" + name + b", ip=[203.0.113.5], port=[40005]")[:1024] + b"\n"


class Record(NamedTuple):
    """What the logger hands to the syslogd."""

    text: bytes
    whole: bool  # it is a line, and nothing but one
    first: bool  # it is how a line begins


@dataclass
class Pipe:
    """What was written and not yet read."""

    data: bytes = b""
    taken: int = 0
    starts: set[int] = field(default_factory=lambda: {0})
    ends: list[int] = field(default_factory=list)

    def write(self, line: bytes) -> None:
        """Take a line, with its LF."""
        self.data += line
        self.starts.add(len(self.data))
        self.ends.append(len(self.data))


class _Stream:
    def __init__(self, pipe: Pipe, wait: Callable[[], bool]) -> None:
        self.pipe, self.wait = pipe, wait
        self.at = self.end = 0

    def take(self, most: int) -> tuple[int, int] | None:
        """Return from where to where in the pipe's data some bytes stand, up to an LF; None where all has ended."""
        if self.at == self.end:
            while self.pipe.taken == len(self.pipe.data):
                if not self.wait():
                    return None
            self.at = self.pipe.taken
            self.end = self.pipe.taken = min(len(self.pipe.data), self.at + BUFFER)
        start = self.at
        self.at = min(self.end, self.pipe.ends[bisect_right(self.pipe.ends, start)], start + most)
        return start, self.at


def records(pipe: Pipe, wait: Callable[[], bool]) -> Iterator[Record]:
    """Give the records that the logger makes of a pipe; ``wait`` writes more when it is empty, or says it is over."""
    lines, over = _Stream(pipe, wait), _Stream(pipe, wait)
    while True:
        spans: list[tuple[int, int]] = []
        while (size := sum(end - start for start, end in spans)) < PIECE and not _ended(pipe, spans):
            span = lines.take(PIECE - size)
            if span is None:
                return
            spans.append(span)
        whole = _ended(pipe, spans)
        while not whole:
            span = over.take(BUFFER)
            if span is None:
                return
            if _ended(pipe, [span]):
                break
        text = b"".join(pipe.data[start:end] for start, end in spans).removesuffix(b"\n")
        torn = any(one[1] != other[0] for one, other in pairwise(spans))
        first = spans[0][0] in pipe.starts
        yield Record(text.removeprefix(PREFIX.strip().encode()).lstrip(b" "), whole and first and not torn, first)


def _ended(pipe: Pipe, spans: list[tuple[int, int]]) -> bool:
    return bool(spans) and spans[-1][1] in pipe.starts and spans[-1][1] > spans[-1][0]
