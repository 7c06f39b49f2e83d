"""No line that a stranger can write takes any packaged pattern longer than a millisecond."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from popbeforesmtp.formats import _dovecot_template, _engine
from popbeforesmtp.formats._format import Format, Pattern, parse
from tests.formats.anatomy import FORMATS, PATTERNS, nodes, op, pieces, tree_of
from tests.hostile import EVENTS, FIELDS
from tests.samples import lines, message

LIMIT = 0.001
"""Seconds that no pattern may take on any line that can be a login."""


def hostile_lines(known: Format, pattern: Pattern) -> Iterator[bytes]:
    """Give lines of 2 kB that match a pattern nearly, again and again: runs of all that it is made of."""
    tree = list(tree_of(pattern))
    flat = tree[0][1][1] if len(tree) == 1 and tree[0][0] is op.BRANCH else [tree]
    literals = {bytes([value]) for kind, value, _ in nodes(tree) if kind is op.LITERAL}
    for branch in flat:
        parts = pieces(branch)
        fillings = {b"a", b"1", b".", b":", b" ", b"\xff", *literals, *parts}
        fillings |= {b"".join(parts[at : at + size]) for at in range(len(parts)) for size in (2, 4, 8)}
        for end in range(len(parts) + 1):
            before, behind = b"".join(parts[:end]), b"".join(parts[end:])
            for filling in fillings - {b""}:
                run = filling * ((_engine.LONGEST_LOGIN - len(before) - len(behind)) // len(filling) + 1)
                yield (before + run)[: _engine.LONGEST_LOGIN - 1] + b"!"
                yield (before + run)[: _engine.LONGEST_LOGIN - len(behind)] + behind


def least(pattern: Pattern, line: bytes, tries: int) -> float:
    """Return the least time that a match took, in seconds."""
    best = float("inf")
    for _ in range(tries):
        started = time.perf_counter()
        pattern.match.fullmatch(line)
        best = min(best, time.perf_counter() - started)
        if best < LIMIT:
            break
    return best


@pytest.mark.parametrize(("known", "pattern"), PATTERNS)
def test_no_line_costs_more_than_a_millisecond(known: Format, pattern: Pattern) -> None:
    """Made to nearly match at every place, with runs of each delimiter and of each part of the pattern."""
    seen = {line for line in hostile_lines(known, pattern) if len(line) <= _engine.LONGEST_LOGIN}
    slow = [line for line in seen if least(pattern, line, 1) >= LIMIT]
    assert [
        (least(pattern, line, 20), line[:80], line[-40:]) for line in slow if least(pattern, line, 20) >= LIMIT
    ] == []


OWN_SETTINGS = parse(
    "dovecot",
    _dovecot_template.pattern(
        "%s (%$)", "%r %u method=%m session=<%{session}>", "service=%s, user=%u, ip=[%r]<%{session}>. "
    ),
)
"""What a template makes."""


@pytest.mark.parametrize("made", OWN_SETTINGS.patterns, ids=lambda made: made.event)
def test_nor_does_it_by_an_administrators_own_settings(made: Pattern) -> None:
    """Their patterns have no time limit, for we make them."""
    seen = {line for line in hostile_lines(OWN_SETTINGS, made) if len(line) <= _engine.LONGEST_LOGIN}
    slow = [line for line in seen if least(made, line, 1) >= LIMIT]
    assert [line for line in slow if least(made, line, 20) >= LIMIT] == []


def test_the_search_finds_a_pattern_that_costs_too_much() -> None:
    """Else it would promise nothing."""
    bad = replace(FORMATS[0].patterns[0], text=b"a[^b]{0,2000}c[^b]{0,2000}d")
    assert any(least(bad, line, 1) >= LIMIT for line in hostile_lines(FORMATS[0], bad))


@pytest.mark.parametrize("sample", EVENTS, ids=lambda path: path.stem)
def test_no_line_that_begins_like_a_real_one_costs_more_than_a_millisecond(sample: Path) -> None:
    """The lines of servers, cut at each captured field, with runs of what follows it."""
    texts = lines(sample)
    tried: set[tuple[str, str, str, int]] = set()
    for field in FIELDS[sample]:
        key = (field.format, field.event, field.name, 0)
        if key in tried:
            continue
        tried.add(key)
        line, whole_line = texts[field.line], message(texts[field.line])
        assert whole_line is not None
        before = len(line) - len(whole_line.text)
        for filling in {line[field.end :][:size] for size in (1, 2, 5, 20, 60)} | {line[field.start : field.end]}:
            for cut in (field.start, field.end):
                text = (line[before:cut] + filling * 2048)[:2047] + b"!"
                for known in FORMATS:
                    for pattern in known.patterns if known.name == field.format else ():
                        assert least(pattern, text, 20) < LIMIT, (known.name, pattern.event, text[:100])
