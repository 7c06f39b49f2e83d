"""Takes patterns apart, and makes texts that they match, or nearly."""

import re
from collections.abc import Iterator
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import pytest

from popbeforesmtp.formats._format import Pattern, load, packaged

FORMATS = [load(name) for name in packaged()]
PATTERNS = [
    pytest.param(known, pattern, id=f"{known.name}-{number}-{pattern.event}")
    for known in FORMATS
    for number, pattern in enumerate(known.patterns, 1)
]


def nodes(tree: Any, repeat: bool = False) -> Iterator[tuple[Any, Any, bool]]:
    """Give each node of a parsed pattern, and whether it stands inside a repeat of more than one."""
    for kind, value in tree:
        yield kind, value, repeat
        if kind in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
            yield from nodes(value[2], repeat or value[1] > 1)
        elif kind is op.SUBPATTERN:
            yield from nodes(value[3], repeat)
        elif kind is op.BRANCH:
            for branch in value[1]:
                yield from nodes(branch, repeat)
        elif kind is op.ATOMIC_GROUP:
            yield from nodes(value, repeat)
        elif kind in (op.ASSERT, op.ASSERT_NOT):
            yield from nodes(value[1], repeat)


def tree_of(pattern: Pattern) -> Any:
    """Parse a pattern anew."""
    return parser.parse(pattern.match.pattern, re.VERBOSE)


def lets_through(kind: Any, value: Any, byte: int) -> bool:
    """Say whether one node that stands for a byte stands for this one."""
    if kind is op.LITERAL:
        return value == byte
    if kind is op.NOT_LITERAL:
        return value != byte
    if kind is not op.IN:
        return kind is op.ANY
    negated = value[0][0] is op.NEGATE
    hit = any(
        (inner is op.LITERAL and what == byte) or (inner is op.RANGE and what[0] <= byte <= what[1])
        for inner, what in value
    )
    return hit != negated


def beginnings(tree: Any) -> tuple[set[int], bool]:
    """Return with which bytes a pattern's texts begin, and whether one may be empty."""
    firsts: set[int] = set()
    for kind, value in tree:
        if kind is op.BRANCH:
            branches = [beginnings(branch) for branch in value[1]]
            more, empty = set().union(*(each for each, _ in branches)), any(empty for _, empty in branches)
        elif kind in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
            more, empty = beginnings(value[2])
            empty = empty or value[0] == 0
        elif kind in (op.SUBPATTERN, op.ATOMIC_GROUP):
            more, empty = beginnings(value[3] if kind is op.SUBPATTERN else value)
        elif kind in (op.ASSERT, op.ASSERT_NOT):
            continue
        else:
            more, empty = {byte for byte in range(256) if lets_through(kind, value, byte)}, False
        firsts |= more
        if not empty:
            return firsts, False
    return firsts, True


def exemplar(tree: Any) -> list[bytes]:
    """Make a short text that a pattern matches, or nearly, in the pieces that its nodes stand for."""
    return [piece(kind, value) for kind, value in tree]


def piece(kind: Any, value: Any) -> bytes:
    """Make a text for one node."""
    if kind is op.LITERAL:
        return bytes([value])
    if kind in (op.IN, op.NOT_LITERAL, op.ANY):
        return bytes([next(byte for byte in b"a1.:/AZ-+_ x" + bytes(range(256)) if lets_through(kind, value, byte))])
    if kind in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
        return b"".join(exemplar(value[2])) * max(1, value[0])
    if kind is op.SUBPATTERN:
        return b"".join(exemplar(value[3]))
    if kind is op.BRANCH:
        return b"".join(exemplar(value[1][0]))
    if kind is op.ATOMIC_GROUP:
        return b"".join(exemplar(value))
    return b""


def pieces(tree: Any) -> list[bytes]:
    """Return the parts of a pattern's exemplar: runs of literals in one, else node by node."""
    parts: list[bytes] = []
    joined = False
    for kind, value in tree:
        literal = kind is op.LITERAL
        if literal and joined:
            parts[-1] += bytes([value])
        else:
            parts.append(piece(kind, value))
        joined = literal
    return parts
