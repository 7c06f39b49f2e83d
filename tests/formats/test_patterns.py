"""How all packaged patterns are made: bounded, anchored, and free of control bytes."""

import re

import pytest
import regex

from popbeforesmtp.formats import _engine, _format
from popbeforesmtp.formats._format import Format, Pattern
from popbeforesmtp.model import EventKind
from tests.formats.anatomy import PATTERNS, beginnings, lets_through, nodes, op, tree_of

CONTROL = [*range(0x20), 0x7F]


@pytest.mark.parametrize(("known", "pattern"), PATTERNS)
def test_every_pattern_is_bounded(known: Format, pattern: Pattern) -> None:
    """It has no dot, no repeat without end, no repeat that could go back inside a repeat, and no class by locale."""
    assert not pattern.match.flags & (re.DOTALL | re.IGNORECASE | re.LOCALE | re.MULTILINE)
    for kind, value, repeated in nodes(tree_of(pattern)):
        assert kind not in (op.ANY, op.CATEGORY)
        if kind is op.IN:
            assert op.CATEGORY not in [inner for inner, _ in value]
        if kind in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
            least, most, _ = value
            assert most is not op.MAXREPEAT
            assert most <= _engine.LONGEST_LINE
            assert not repeated or least == most or most == 1 or kind is op.POSSESSIVE_REPEAT


@pytest.mark.parametrize(("known", "pattern"), PATTERNS)
def test_no_name_of_a_login_holds_control_bytes(known: Format, pattern: Pattern) -> None:
    """Nor does that of a logout: servers do not write them, but forgers do."""
    if pattern.event is EventKind.FAILURE:
        return
    for group, value, _ in nodes(tree_of(pattern)):
        if group is op.SUBPATTERN and value[0] is not None:
            for kind, inner, _ in nodes(value[3]):
                if kind in (op.IN, op.NOT_LITERAL, op.LITERAL):
                    assert not [byte for byte in CONTROL if lets_through(kind, inner, byte)]


@pytest.mark.parametrize(("known", "pattern"), PATTERNS)
def test_every_pattern_begins_with_the_servers_own_words(known: Format, pattern: Pattern) -> None:
    """No line that begins with what a stranger sent is a login, wherever its other words stand."""
    if pattern.event not in (EventKind.LOGIN, EventKind.CONNECT):
        return
    firsts, empty = beginnings(tree_of(pattern))
    assert not empty
    assert len(firsts) <= 32


@pytest.mark.parametrize(("known", "pattern"), PATTERNS)
def test_nothing_but_a_logout_begins_like_one(known: Format, pattern: Pattern) -> None:
    """Where logouts mean nothing, lines are passed by that begin so: no longer text of another kind may."""
    expression = regex.compile(pattern.text, regex.VERBOSE)
    for begin in known.logouts:
        may = expression.fullmatch(begin, partial=True) is not None
        assert not may or pattern.event is EventKind.LOGOUT


@pytest.mark.parametrize("name", sorted(_format.packaged()))
def test_no_group_is_repeated_possessively(name: str) -> None:
    """Python 3.11.0 to 3.11.4, Debian 12's among them, match these wrongly (python/cpython issue 106052)."""
    assert re.search(r"\)(?:[?*+]|\{[0-9,]+\})\+", _format.text(name)) is None
