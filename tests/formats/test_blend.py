"""What a blend matches in a block is what its patterns match in a message, and it never reaches over a line's end."""

import re

import pytest

from popbeforesmtp import wiring
from popbeforesmtp.formats import Blend, Kind
from popbeforesmtp.formats._blend import blend
from popbeforesmtp.formats._engine import Engine
from popbeforesmtp.formats._format import Format, Pattern, parse_limited, text
from popbeforesmtp.header import HeaderReader
from tests.formats.anatomy import FORMATS, PATTERNS, lets_through, nodes, op, parser
from tests.headers import NOW
from tests.site import ROOT

LOGS = sorted((ROOT / "sample_logs").glob("*.log"))
BEFORE = 3  # groups that stand in front of a blend


def messages(engine: Engine, program: bytes | None = None) -> list[tuple[bytes, bytes]]:
    """Return each program and text of the samples that some pattern matches."""
    found = []
    for log in LOGS:
        header = HeaderReader()
        for line in log.read_bytes().split(b"\n"):
            message = header.read(line, NOW)
            if (
                message is not None
                and message.program
                and engine.find(message.program, message.text, 0, len(message.text))
            ):
                found.append((message.program, message.text))
    return [each for each in found if program in (None, each[0])]


def compiled(made: Blend) -> re.Pattern[bytes]:
    """Compile a blend as a sieve does, but for the header."""
    return re.compile(b"()()()(?x:%b)(?=\\n)" % made.text)


def nothing(_called: bytes | None) -> Kind:
    """What lines mean where that is not asked."""
    raise AssertionError


ENGINE = wiring.engine()
MESSAGES = messages(ENGINE)


@pytest.mark.parametrize("program", sorted({program for program, _ in MESSAGES}))
def test_a_blend_says_of_each_sample_what_its_patterns_say(program: bytes) -> None:
    """The same kind, by the same service; or nothing, where more must be asked than an expression."""
    made = ENGINE.blend(program, BEFORE)
    if made is None:
        return
    expression, told = compiled(made), 0
    for _, message in messages(ENGINE, program):
        match = expression.match(message + b"\nand the next line")
        if match is None:
            continue
        told += 1
        assert match.end() == len(message)
        ending = made.endings[match.lastindex]
        found = ENGINE.find(program, message, 0, len(message))
        assert found is not None
        assert ending.kind(match[ending.service]) is found.kind
        if ending.address:
            assert match[ending.address] == found.match["address"]
    assert told


@pytest.mark.parametrize("program", sorted({program for program, _ in MESSAGES}))
def test_a_blend_never_reaches_over_the_end_of_a_line(program: bytes) -> None:
    """An LF anywhere in a message ends it: the rest is another line's, whoever wrote it."""
    made = ENGINE.blend(program, BEFORE)
    if made is None:
        return
    expression = compiled(made)
    for message in {message for _, message in messages(ENGINE, program)[:40]}:
        for place in range(len(message) + 1):
            match = expression.match(message[:place] + b"\n" + message[place:] + b"\n")
            assert match is None or match.end() == place, message[:place]


@pytest.mark.parametrize(("known", "pattern"), PATTERNS)
def test_no_part_of_a_blended_pattern_lets_an_lf_through(known: Format, pattern: Pattern) -> None:
    """Proven of each alone; and its groups are those that it is said to have."""
    made = blend([(pattern, nothing)], BEFORE)
    if made is None:
        return
    assert compiled(made).groups == made.last
    assert list(made.endings) == [made.last]
    for kind, value, _ in nodes(parser.parse(made.text, re.VERBOSE)):
        if kind in (op.IN, op.NOT_LITERAL, op.LITERAL, op.ANY):
            assert not lets_through(kind, value, ord("\n"))


def test_patterns_of_the_administrators_are_never_blended() -> None:
    """They are given little time each, which one expression for all could not be."""
    assert blend([(each, nothing) for each in parse_limited("mine", text("dovecot")).patterns], 0) is None


def test_a_pattern_behind_one_that_cannot_be_blended_is_none() -> None:
    """The first that matches says what a line means, so none may be passed over."""
    patterns = [pattern for known in FORMATS for pattern in known.patterns]
    plain = next(pattern for pattern in patterns if blend([(pattern, nothing)], 0) is not None)
    once = next(pattern for pattern in patterns if pattern.once)
    both = blend([(plain, nothing), (once, nothing), (plain, nothing)], 0)
    alone = blend([(plain, nothing)], 0)
    assert both == alone
    assert blend([(once, nothing), (plain, nothing)], 0) is None


def test_only_patterns_that_were_met_are_blended_and_those_before_them() -> None:
    """Others would make each look at a line longer."""
    engine = wiring.engine()
    assert engine.blend(b"dovecot", 0) is None
    login = b"imap-login: Login: user=<alice>, method=PLAIN, rip=192.0.2.10, lip=198.51.100.1"
    assert engine.find(b"dovecot", login, 0, len(login)) is not None
    first = engine.blend(b"dovecot", 0)
    assert first is not None
    assert len(first.endings) == 1
