"""StdinSource: lines that come through a pipe, until its writer closes it."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from popbeforesmtp.lines import LONGEST_LINE
from popbeforesmtp.model import Block
from popbeforesmtp.sources.stdin import StdinSource

_LIMIT = 5.0  # seconds


class Pipe:
    """Both ends of a pipe; a test writes, the source reads."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self.source = StdinSource(self.reader)

    def write(self, data: bytes) -> None:
        """Write all of it; not more than a pipe takes."""
        assert os.write(self.writer, data) == len(data)

    def hang_up(self) -> None:
        """Close the writer's end."""
        os.close(self.writer)

    def drain(self) -> list[Block]:
        """Read until there is nothing more at present."""
        blocks = []
        while (block := self.source.read()) is not None:
            blocks.append(block)
        return blocks

    def text(self) -> bytes:
        """Read, and put together what was handed over."""
        return b"".join(block.data for block in self.drain())


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """Make a pipe."""
    pipe = Pipe()
    yield pipe
    os.close(pipe.reader)
    with suppress(OSError):
        os.close(pipe.writer)


def test_lines_come_whole_with_their_offsets(pipe: Pipe) -> None:
    """A half line waits for the rest of it."""
    pipe.write(b"one\ntw")
    (block,) = pipe.drain()
    assert (block.data, block.offset) == (b"one\n", 0)
    pipe.write(b"o\n\nfour\n")
    (block,) = pipe.drain()
    assert (block.data, block.offset) == (b"two\n\nfour\n", 4)


def test_reading_an_empty_pipe_does_not_wait(pipe: Pipe) -> None:
    """The loop has other things to do."""
    assert pipe.source.read() is None
    assert not pipe.source.ended()


def test_lines_written_before_the_end_are_read_before_it_is_said(pipe: Pipe) -> None:
    """The writer of a short log is gone before we look."""
    pipe.write(b"one\n")
    pipe.hang_up()
    assert pipe.text() == b"one\n"
    assert pipe.source.ended()
    assert pipe.source.report().state == "ended"


def test_a_half_line_at_the_end_is_never_handed_over(pipe: Pipe) -> None:
    """Nobody knows how it would have gone on."""
    pipe.write(b"one\nhalf")
    pipe.hang_up()
    assert pipe.text() == b"one\n"


def test_the_end_may_be_read_again(pipe: Pipe) -> None:
    """It stays the end."""
    pipe.hang_up()
    assert pipe.source.read() is None
    assert pipe.source.read() is None
    assert pipe.source.ended()


def test_a_line_that_is_too_long_is_passed_by_and_counted(pipe: Pipe) -> None:
    """And the next one is read."""
    seen = b""
    for piece in (b"one\n", b"x" * LONGEST_LINE, b"y" * LONGEST_LINE, b"z\nthree\n"):
        pipe.write(piece)
        seen += pipe.text()
    assert seen == b"one\nthree\n"
    assert pipe.source.report().too_long == 1


def test_a_pipe_has_no_checkpoint(pipe: Pipe) -> None:
    """It cannot be gone back in, so nothing is kept of it."""
    pipe.write(b"one\n")
    assert [block.checkpoint for block in pipe.drain()] == [""]


def test_the_bell_rings_when_something_comes_and_when_the_pipe_ends(pipe: Pipe) -> None:
    """Nobody looks at it without need."""

    async def scene() -> None:
        rung = asyncio.Event()
        pipe.source.watch(rung.set)
        pipe.write(b"one\n")
        await asyncio.wait_for(rung.wait(), _LIMIT)
        assert pipe.text() == b"one\n"
        rung.clear()
        pipe.hang_up()
        await asyncio.wait_for(rung.wait(), _LIMIT)
        assert pipe.drain() == []
        assert pipe.source.ended()

    asyncio.run(scene())


def test_a_file_instead_of_a_pipe_rings_at_once(tmp_path: Path) -> None:
    """The event loop cannot wait for a regular file, and need not."""
    log = tmp_path / "mail.log"
    log.write_bytes(b"one\n")

    async def scene(source: StdinSource) -> bool:
        rung = asyncio.Event()
        source.watch(rung.set)
        return rung.is_set()

    with log.open("rb") as stream:
        source = StdinSource(stream.fileno())
        assert asyncio.run(scene(source))
        block = source.read()
        assert block is not None
        assert block.data == b"one\n"
        assert source.read() is None
        assert source.ended()
