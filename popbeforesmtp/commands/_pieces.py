"""Counts a long log in pieces, each in a process of its own where there are processors for them, for ``scan``.

Most lines tell by themselves what they mean, wherever they are counted. The others are handed to the process that
counts the first piece, which goes on with them in their order: they mean what they would mean in one process.
"""

import marshal
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from popbeforesmtp import reading
from popbeforesmtp.commands._counting import Counting
from popbeforesmtp.commands._read import whole_lines
from popbeforesmtp.commands._summary import Counts, Summary
from popbeforesmtp.errors import DataError, PopBeforeSmtpError, UnavailableError
from popbeforesmtp.formats import Formats
from popbeforesmtp.lines import LONGEST_LINE, UNPACK

_WORTHWHILE = 16 * 1024 * 1024
"""Bytes of a piece, at least: fewer are counted sooner than a process is made."""

_SIZE = 8
"""Bytes of the number in front of what one process tells another."""


def count(name: str, summary: Summary, formats: Formats) -> None:
    """Count the events of one log. Raises what `whole_lines` does, and UnavailableError for want of processes."""
    now = datetime.now(UTC)
    (_, end), *rest = _pieces(name)
    try:
        others = [_begin(name, piece, formats, now) for piece in rest]
    except OSError as error:
        raise UnavailableError(
            f"{name}: no process can be made to count a part of it: {error.strerror}; `taskset -c 0` needs none"
        ) from None
    counting = Counting(summary, reading.line_reader(journal=False), formats, now)
    for lines, number in whole_lines(name, 0, end):
        counting.block(lines, number)
    counting.end()
    for process, pipe in others:
        with pipe:
            for told in _told(name, pipe):
                if isinstance(told, Counts):
                    summary.add(told)
                else:
                    counting.count(told)
        os.waitpid(process, 0)


def _pieces(name: str) -> list[tuple[int, int | None]]:
    """Return where each piece of a log begins and ends, just behind an LF; the last one has no end."""
    begins = [0]
    if name != "-" and Path(name).suffix not in UNPACK and Path(name).is_file():  # a FIFO can be opened only once
        try:
            with Path(name).open("rb", buffering=0) as file:
                begins += _begins(file.fileno())
        except OSError:
            pass  # whoever reads it says what is wrong
    return list(zip(begins, [*begins[1:], None], strict=True))


def _begins(descriptor: int) -> Iterator[int]:
    """Give where all pieces but the first begin. Raises OSError."""
    size = os.fstat(descriptor).st_size
    count = min(len(os.sched_getaffinity(0)), size // _WORTHWHILE)
    for number in range(1, count):
        middle = size * number // count
        end = os.pread(descriptor, LONGEST_LINE, middle).find(b"\n") + 1
        if end:
            yield middle + end


def _begin(name: str, piece: tuple[int, int | None], formats: Formats, now: datetime) -> tuple[int, IO[bytes]]:
    """Let a process count a piece; return its number, and what it tells."""
    reading_end, writing_end = os.pipe()
    sys.stdout.flush()
    process = os.fork()
    if process:
        os.close(writing_end)
        return process, os.fdopen(reading_end, "rb")
    try:
        os.close(reading_end)
        with os.fdopen(writing_end, "wb") as pipe:
            _count_piece(name, piece, formats, now, pipe)
        sys.stderr.flush()
    finally:  # nothing that the first process left open is written twice; it hears that we have gone
        os._exit(os.EX_OK)


def _count_piece(name: str, piece: tuple[int, int | None], formats: Formats, now: datetime, pipe: IO[bytes]) -> None:
    """Count a piece, and tell what is counted and what is not. Raises OSError where nobody listens any more."""
    summary = Summary()
    later: list[bytes] = []
    counting = Counting(summary, reading.line_reader(journal=False), formats, now, later.append)
    try:
        for lines, number in whole_lines(name, *piece):
            counting.block(lines, number)
            if later:
                _tell(pipe, later)
                later.clear()
        counting.end()
    except PopBeforeSmtpError as error:
        _tell(pipe, str(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, the first process says it
        _tell(pipe, f"{name}: internal error: {error!r}; please report it")
    else:
        _tell(pipe, tuple(summary.counts()))


def _tell(pipe: IO[bytes], what: list[bytes] | tuple[object, ...] | str) -> None:
    data = marshal.dumps(what)  # type: ignore[arg-type]  # a tuple of what marshal can write
    pipe.write(len(data).to_bytes(_SIZE, "big") + data)


def _told(name: str, pipe: IO[bytes]) -> Iterator[bytes | Counts]:
    """Give the lines of a piece that are not counted yet, then the counts of the others. Raises DataError."""
    while True:
        size = int.from_bytes(pipe.read(_SIZE), "big")
        data = pipe.read(size)
        if not data or len(data) < size:
            raise DataError(f"{name}: the process that counted a part of it has died")
        told = marshal.loads(data)  # noqa: S302 - what our own process wrote
        if isinstance(told, str):
            raise DataError(told)
        if isinstance(told, tuple):
            yield Counts(*told)
            return
        yield from told
