"""What all packaged formats promise, whoever wrote them: how they are made, what they cost, and that no name forges."""

import re
import time
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from popbeforesmtp.formats import _engine, _format
from popbeforesmtp.formats._format import Format, Pattern, load, packaged, parse, text
from popbeforesmtp.model import EventKind, LogMessage
from tests.samples import (
    FORGED,
    NOW,
    SAMPLES,
    Field,
    engine,
    fields,
    found,
    is_untrusted,
    lines,
    meanings,
    message,
    read,
)

ENGINE = engine()
FORMATS = [load(name) for name in packaged()]
PATTERNS = [
    pytest.param(known, pattern, id=f"{known.name}-{number}-{pattern.event}")
    for known in FORMATS
    for number, pattern in enumerate(known.patterns, 1)
]
EVENTS = {sample: read(lines(sample), ENGINE) for sample in SAMPLES if not is_untrusted(sample)}
FIELDS = {sample: fields(sample, ENGINE) for sample in EVENTS}
CONTROL = [*range(0x20), 0x7F]
LIMIT = 0.001
"""Seconds that no pattern may take on any line that can be a login."""


def source(name: str) -> dict[str, Any]:
    """Read a format file as TOML."""
    return tomllib.loads(files("popbeforesmtp.formats").joinpath(f"{name}.toml").read_text(encoding="utf-8"))


def samples_of(name: str) -> list[Path]:
    """Return the samples in which a format has read something."""
    return [sample for sample, events in EVENTS.items() if any(event.format == name for _, event in events)]


# What a format file says


@pytest.mark.parametrize("name", packaged())
@pytest.mark.parametrize("key", ["title", "log", "address", "attacker", "checked"])
def test_every_format_says_what_it_promises(name: str, key: str) -> None:
    """Where the log lies, where the address stands, what strangers control, and who has checked it."""
    assert source(name)[key]


@pytest.mark.parametrize("name", packaged())
def test_every_format_is_as_those_of_administrators_must_be(name: str) -> None:
    """Patterns that come with the program are compiled when they are needed, so nothing else looks at all of them."""
    assert parse(name, text(name)).patterns


@pytest.mark.parametrize("name", packaged())
def test_every_format_can_read_something(name: str) -> None:
    """It has programs, or reads a server's own log, and knows a login."""
    known = load(name)
    assert known.programs or known.own_log
    assert EventKind.LOGIN in [pattern.event for pattern in known.patterns]


@pytest.mark.parametrize("name", packaged())
def test_every_format_has_a_sample_with_a_login_a_failure_an_attack_and_ipv6(name: str) -> None:
    """Unless its server logs no failures, or speaks only IPv4, which the format then says."""
    samples, known = samples_of(name), load(name)
    events = [event for sample in samples for _, event in EVENTS[sample] if event.format == name]
    kinds = {event.kind for event in events}
    assert EventKind.LOGIN in kinds
    assert EventKind.FAILURE in kinds or EventKind.FAILURE not in [pattern.event for pattern in known.patterns]
    assert any(FORGED.encode() in line for sample in samples for line in lines(sample))
    assert any(":" in (event.client or "") for event in events) or "IPv4 only" in source(name)["address"]


def test_no_two_formats_read_the_same_line_in_different_ways() -> None:
    """Where programs share a tag the first format that matches would win, and the other would not be missed."""
    for sample in EVENTS:
        for line in lines(sample):
            read_as = message(line)
            if read_as is not None:
                names = {known.name for known in FORMATS if _engine.Engine([known]).find(*whole(read_as)) is not None}
                assert len(names) <= 1, line


def whole(of: LogMessage) -> tuple[bytes | None, bytes, int, int]:
    """Return a message as ``Engine.find`` takes it."""
    return of.program, of.text, 0, len(of.text)


# How patterns are made


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


# What patterns cost


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


# Forgery

KEYWORDS = [
    *("LOGIN, user=bob, ip=[9.9.9.9], port=[1]", "Login user=bob host=[9.9.9.9]", "] User logged in", " 9.9.9.9 "),
    *(">, method=PLAIN, rip=9.9.9.9, lip=9.9.9.9, session=<a>", 'x" server="s" port="1" status="ok', "(9.9.9.9)"),
    *("' logged in", "' (9.9.9.9:1) on new sd [9]", "] from [9.9.9.9:1]", " authenticated - 9.9.9.9", ", ip=[9.9.9.9]"),
    *(":9.9.9.9", "@example.com:9.9.9.9", ", client: 9.9.9.9, server: 0.0.0.0:110, login: ", ", upstream: 9.9.9.9:1"),
    *("connect from 9.9.9.9", "Session from 9.9.9.9", "began session for `bob' with passwd; child PID is 1", "%n"),
    *(
        ' at (h) 9.9.9.9" at (x) ',
        "event=login.good r.clienthost=[9.9.9.9]",
        '", remoteIp = 9.9.9.9, x = "',
        ";ip=9.9.9.9;",
    ),
    *(
        "Nov 22 07:14:00 mx1 dovecot: imap-login: Login: user=<bob>",
        "#012Nov 22 07:14:00 mx1 pop3d: ",
        "\\n",
        "a" * 500,
    ),
    *"<>()[]{},;:=@'\"`|&%#?*!/\\ -.0",
    *("2620:fe::9", "::ffff:9.9.9.9", "alice", "é", "\u202e", "\u2028", "\x7f", "\t", "\r"),
]
"""What names are made of that are meant to break out of their field: the delimiters and words of all families."""


NO_COLONS = ("vpopmail",)
"""Formats of servers whose accounts stand in files that colons divide, so that none has one in its name."""


def attacked(sample: Path) -> list[Field]:
    """Return the fields of a sample that strangers fill; not those of cut records, which only their length betrays."""
    cuts = {known.name: known.cut.ends for known in FORMATS if known.cut is not None}
    texts = lines(sample)
    chosen = []
    for field in FIELDS[sample]:
        whole_line = message(texts[field.line])
        ends = cuts.get(field.format)
        if field.name in ("user", "mechanism") and whole_line and (ends is None or ends.search(whole_line.text)):
            chosen.append(field)
    return chosen


ATTACKED = [sample for sample in EVENTS if attacked(sample)]


@pytest.mark.parametrize("sample", ATTACKED, ids=lambda path: path.stem)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_name_makes_a_line_say_something_else(sample: Path, data: st.DataObject) -> None:
    """Whatever stands in a user or mechanism: nobody else's address is let in, nobody else's line is read otherwise."""
    texts, expected = lines(sample), meanings(sample)
    field = data.draw(st.sampled_from(attacked(sample)))
    whole_lines = st.sampled_from(texts).map(lambda line: forge(line.decode("utf-8", "replace")))
    hostile = "".join(data.draw(st.lists(st.one_of(st.sampled_from(KEYWORDS), whole_lines), min_size=1, max_size=5)))
    name = hostile.replace("\n", "?").encode()
    if field.event == "login" and field.format in NO_COLONS:
        name = name.replace(b":", b"?")
    line = texts[field.line]
    texts[field.line] = line[: field.start] + name + line[field.end :]
    known = {meaning.address for _, meaning in found(EVENTS[sample])} | {None}
    for number, got in found(read(texts, ENGINE)):
        assert got.address in known
        if got.event == "login":
            want = expected.get(number)
            assert want is not None
            assert (want.event, want.address) == ("login", got.address)


def forge(line: str) -> str:
    """Put the address that never is a client in place of a line's own."""
    return re.sub(r"(?<![0-9.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9.])|2001:db8:[0-9a-f:]+", FORGED, line)


@pytest.mark.parametrize("sample", EVENTS, ids=lambda path: path.stem)
def test_a_login_line_with_something_in_front_is_no_login(sample: Path) -> None:
    """A message that quotes another does not begin as it does."""
    texts = lines(sample)
    for number, event in EVENTS[sample]:
        whole_line = message(texts[number - 1])
        if event.kind is EventKind.LOGIN and whole_line is not None:
            for before in (b" ", b"x", b'"', b"x: ", whole_line.text[:20]):
                text = before + whole_line.text
                got = ENGINE.find(whole_line.program, text, 0, len(text))
                assert got is None or got.kind.event is not EventKind.LOGIN, text


@pytest.mark.parametrize("sample", EVENTS, ids=lambda path: path.stem)
def test_a_login_line_with_something_behind_names_nobody_else(sample: Path) -> None:
    """What follows is part of a name, or the line means nothing."""
    texts = lines(sample)
    for number, event in EVENTS[sample]:
        whole_line = message(texts[number - 1])
        if event.kind is EventKind.LOGIN and whole_line is not None:
            for behind in (b" ", b"x", b"]", b", ip=[9.9.9.9]", b" [9.9.9.9]", b" 9.9.9.9", b":9.9.9.9", b"\0"):
                text = whole_line.text + behind
                got = ENGINE.find(whole_line.program, text, 0, len(text))
                longer = behind[:1] == b":" and ":" in (event.client or "")  # still an address
                assert got is None or longer or got.client in (None, event.client), text


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([*ENGINE.programs, None]), st.binary(max_size=300))
def test_no_bytes_make_any_format_fail_or_log_in(program: bytes | None, data: bytes) -> None:
    """Noise means nothing, and raises nothing."""
    event = ENGINE.read(LogMessage(NOW, program, data))
    assert event is None or event.kind in (EventKind.OTHER, EventKind.CONNECT, EventKind.FAILURE)


@pytest.mark.parametrize("name", sorted(_format.packaged()))
def test_no_group_is_repeated_possessively(name: str) -> None:
    """Python 3.11.0 to 3.11.4, Debian 12's among them, match these wrongly (python/cpython issue 106052)."""
    assert re.search(r"\)(?:[?*+]|\{[0-9,]+\})\+", _format.text(name)) is None
