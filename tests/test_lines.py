"""LineCutter: LF ends a line, nothing else does, and how a stream is cut into pieces changes nothing."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popbeforesmtp.lines import LONGEST_LINE, LineCutter

Line = tuple[bytes, int, int]
"""A line without its LF, its offset and its number."""

STREAMS = st.lists(st.sampled_from([b"\n", b"\r", b"\x00", b"\x0b\x0c", b"a", b"word", b"\xe2\x80\xa8", b"\xff"])).map(
    b"".join
)


def pieces_of(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """Cut data at some places."""
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


def lines_of(pieces: Iterable[bytes], cutter: LineCutter | None = None) -> list[Line]:
    """Feed pieces to a cutter and list what it gives back, line by line."""
    cutter = cutter or LineCutter()
    found = []
    for piece in pieces:
        for lines, start, first in cutter.cut(piece):
            assert lines.endswith(b"\n")
            offset, number = start, first
            for line in lines.split(b"\n")[:-1]:
                found.append((line, offset, number))
                offset, number = offset + len(line) + 1, number + 1
    return found


def plain_lines_of(data: bytes, longest: int) -> list[Line]:
    """Say what lines there are, in the simplest way."""
    found, offset = [], 0
    for number, line in enumerate(data.split(b"\n")[:-1], start=1):
        if len(line) <= longest:
            found.append((line, offset, number))
        offset += len(line) + 1
    return found


@given(STREAMS, st.lists(st.integers(0, 200), max_size=20))
def test_any_cutting_gives_the_same_lines_offsets_and_numbers(data: bytes, cuts: list[int]) -> None:
    """Pieces are what the kernel happened to give us."""
    cutter = LineCutter()
    assert lines_of(pieces_of(data, cuts), cutter) == plain_lines_of(data, LONGEST_LINE)
    assert cutter.pending == (data != b"" and not data.endswith(b"\n"))
    assert cutter.offset == data.rfind(b"\n") + 1
    assert cutter.line == data.count(b"\n") + 1


@given(STREAMS, st.lists(st.integers(0, 200), max_size=20))
def test_any_cutting_passes_the_same_long_lines_by(data: bytes, cuts: list[int]) -> None:
    """Whether a line is too long must not hang on how it came."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("popbeforesmtp.lines.LONGEST_LINE", 5)
        cutter = LineCutter()
        assert lines_of(pieces_of(data, cuts), cutter) == plain_lines_of(data, 5)
        assert cutter.too_long == sum(len(line) > 5 for line in data.split(b"\n"))


def test_a_line_without_an_end_does_not_fill_the_memory() -> None:
    """It is let go when it is too long, and counted once."""
    cutter = LineCutter()
    for _ in range(10):
        assert cutter.cut(b"x" * LONGEST_LINE) == []
        assert len(cutter._rest) <= LONGEST_LINE
    assert (cutter.too_long, cutter.pending) == (1, True)
    assert cutter.cut(b"tail\nnext\n") == [(b"next\n", 10 * LONGEST_LINE + 5, 2)]


def test_a_line_of_the_greatest_length_is_given_back() -> None:
    """The limit itself is still a line."""
    cutter = LineCutter()
    assert cutter.cut(b"x" * LONGEST_LINE) == []
    assert cutter.cut(b"\n") == [(b"x" * LONGEST_LINE + b"\n", 0, 1)]
    assert cutter.too_long == 0
