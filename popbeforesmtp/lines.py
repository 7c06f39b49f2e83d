"""Whole lines out of bytes: LF ends a line, nothing else does, and no line is longer than we can bear."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO

UNPACK: dict[str, Callable[[Path | IO[bytes]], IO[bytes]]] = {
    ".gz": gzip.open,  # type: ignore[dict-item]
    ".bz2": bz2.open,  # type: ignore[dict-item]
    ".xz": lzma.open,
}
"""How rotated logs are compressed, by their suffix."""

UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError)
"""What is raised by a file that cannot be read, or not be unpacked."""

LONGEST_LINE = 65536
"""Bytes of the longest line that is handed over, its LF not counted; a longer one is passed by up to its LF."""


def find_long_line(data: bytes, start: int = 0) -> int:
    """Return where the first line begins that is too long, whether or not its LF has come; -1 where none is.

    The first line begins at ``start``.
    """
    # A line that is too long covers one of these windows whole; else there is no need to look at every line.
    window = LONGEST_LINE // 2
    if all(data.find(b"\n", at, at + window) >= 0 for at in range(start, len(data) - window + 1, window)):
        return -1
    while len(data) - start > LONGEST_LINE:
        end = data.find(b"\n", start, start + LONGEST_LINE + 1)
        if end < 0:
            return start
        start = end + 1
    return -1


class LineCutter:
    """Collects pieces of a stream as they come and gives back whole lines; a line without its LF waits for it."""

    def __init__(self) -> None:
        self.offset = 0  # bytes of the stream before the next line
        self.line = 1  # number of the next line
        self.too_long = 0
        self._rest = b""
        self._skipping = False

    @property
    def pending(self) -> bool:
        """Whether a line has begun that has no LF yet."""
        return bool(self._rest) or self._skipping

    def cut(self, piece: bytes) -> list[tuple[bytes, int, int]]:
        """Add a piece; return runs of whole lines, each with its offset and the number of its first line."""
        end = piece.rfind(b"\n") + 1
        if end and not self._skipping and len(piece) - end <= LONGEST_LINE:  # as nearly always: copied once
            lines = b"".join((self._rest, memoryview(piece)[:end]))
            if find_long_line(lines) < 0:
                run = lines, self.offset, self.line
                self.offset += len(lines)
                self.line += lines.count(b"\n")
                self._rest = piece[end:]
                return [run]
        self._rest += piece
        runs: list[tuple[bytes, int, int]] = []
        while True:
            if self._skipping and not self._skip():
                return runs
            long = find_long_line(self._rest)
            end = self._rest.rfind(b"\n", 0, long if long >= 0 else len(self._rest)) + 1
            if end:
                runs.append((self._rest[:end], self.offset, self.line))
                self.line += runs[-1][0].count(b"\n")
                self._drop(end)
            if long < 0:
                return runs
            self._skipping = True
            self.too_long += 1

    def _skip(self) -> bool:
        """Pass by what belongs to a line that is too long; say whether its end has come."""
        end = self._rest.find(b"\n") + 1
        self._drop(end or len(self._rest))
        self.line += bool(end)
        self._skipping = not end
        return bool(end)

    def _drop(self, count: int) -> None:
        self._rest = self._rest[count:]
        self.offset += count
