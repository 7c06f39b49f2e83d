"""``type = "stdin"``: lines on standard input, as a syslog daemon's pipe writes them."""

import asyncio
import os
import sys
from collections.abc import Callable

from popbeforesmtp.lines import LineCutter
from popbeforesmtp.model import Block
from popbeforesmtp.sources import SourceReport

_PIECE = 65536


def open_source(*, checkpoint: str | None = None) -> "StdinSource":
    """Read the log from standard input, until it ends. A pipe cannot be gone back in: there is no checkpoint."""
    del checkpoint
    return StdinSource(sys.stdin.fileno())


class StdinSource:
    """A pipe that lines come through."""

    name = "stdin"
    format = None
    journal = False

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._cutter = LineCutter()
        self._blocks: list[Block] = []
        self._ended = False
        self._loop: asyncio.AbstractEventLoop | None = None
        os.set_blocking(descriptor, False)

    def watch(self, ring: Callable[[], None]) -> None:
        """Ring when the pipe has something; must be called inside the event loop."""
        try:
            loop = asyncio.get_running_loop()
            loop.add_reader(self._descriptor, ring)
            self._loop = loop
        except PermissionError:  # epoll(7) takes no regular files, and they never keep one waiting
            ring()

    def read(self) -> Block | None:
        """Return the lines that have come."""
        if self._blocks:
            return self._blocks.pop(0)
        try:
            piece = os.read(self._descriptor, _PIECE)
        except BlockingIOError:
            return None
        if not piece:
            self._ended = True
            self.close()
            return None
        self._blocks += [Block(lines, offset, checkpoint="") for lines, offset, _ in self._cutter.cut(piece)]
        return self._blocks.pop(0) if self._blocks else Block(b"", self._cutter.offset, checkpoint="")

    def notices(self) -> list[str]:
        """Return nothing: a pipe only ends."""
        return []

    def ended(self) -> bool:
        """Say whether the writer has closed the pipe."""
        return self._ended

    def report(self) -> SourceReport:
        """Say how it is doing."""
        state = "ended" if self._ended else "reading"
        return SourceReport(self.name, state, offset=self._cutter.offset, too_long=self._cutter.too_long)

    def close(self) -> None:
        """Stop listening to the pipe, and leave it as it was: others may share it."""
        os.set_blocking(self._descriptor, True)
        if self._loop is not None:
            self._loop.remove_reader(self._descriptor)
            self._loop = None
