"""The engine: the program name dispatches, and only what a server wrote by itself becomes an event."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popbeforesmtp.errors import DataError
from popbeforesmtp.formats import _engine, _format
from popbeforesmtp.formats._engine import Engine
from popbeforesmtp.formats._format import parse
from popbeforesmtp.header import HeaderReader
from popbeforesmtp.model import EventKind, LogMessage, Sender, SessionEvent

NOW = datetime(2026, 11, 22, 7, 20, tzinfo=UTC)

TEST_FORMAT = r"""
title = "Test server"
programs = ["testd", "testd-tls"]
[[pattern]]
event = "login"
match = '''login[ ](?P<user>.*)[ ]from[ ]<(?P<address>[^<>]*)>(?:[ ]by[ ](?P<mechanism>[a-z]*))?'''
[[pattern]]
event = "failure"
match = '''failure[ ](?P<user>.*)[ ]from[ ]<(?P<address>[^<>]*)>'''
[[pattern]]
event = "logout"
match = '''logout[ ](?P<user>.*)[ ]from[ ]<(?P<address>[^<>]*)>'''
"""
"""Its patterns believe nearly everything, so that what is refused is refused by the engine."""

LOGIN = b"imap-login: Login: user=<alice>, method=PLAIN, rip=192.0.2.1, lip=192.0.2.100, mpid=7, TLS, session=<abc>"


@pytest.fixture(scope="module")
def engine() -> Engine:
    """Make an engine with the format above."""
    return Engine([parse("test", TEST_FORMAT)])


@pytest.fixture(scope="module")
def dovecot() -> Engine:
    """Make an engine with all packaged formats."""
    return Engine(_format.load(name) for name in _format.packaged())


def read(engine: Engine, text: bytes, program: bytes | None = b"testd") -> SessionEvent | None:
    """Read one message."""
    return engine.read(LogMessage(NOW, program, text))


def kind(engine: Engine, text: bytes) -> EventKind | None:
    """Say which event one message reports."""
    event = read(engine, text)
    return None if event is None else event.kind


# Dispatch


@pytest.mark.parametrize("program", [b"testd", b"testd-tls"])
def test_each_of_a_formats_programs_is_read(engine: Engine, program: bytes) -> None:
    """The names in the format file are exact tags."""
    event = read(engine, b"login alice from <192.0.2.1>", program)
    assert event is not None
    assert (event.kind, event.client, event.user, event.format) == ("login", "192.0.2.1", "alice", "test")


@pytest.mark.parametrize(
    "program", [b"", None, b"Testd", b"testd2", b"test", b"testd ", b"testd/x", b"x/testd", b"postfix/smtpd"]
)
def test_no_other_program_is_read(engine: Engine, program: bytes | None) -> None:
    """A name that is only alike is another program."""
    assert read(engine, b"login alice from <192.0.2.1>", program) is None


@pytest.mark.parametrize("program", ["postfix/smtpd", "postfix/cleanup", "postfix/submission/smtpd", "dovecot2", "su"])
def test_login_text_in_lines_of_other_programs_never_matches(dovecot: Engine, program: str) -> None:
    """A stranger may put any text into a HELO name, a subject or a bounce."""
    assert read(dovecot, LOGIN, b"dovecot") is not None
    assert read(dovecot, LOGIN, program.encode()) is None


@settings(deadline=None)
@given(
    st.sampled_from([b"postfix/smtpd[12]: ", b"postfix/cleanup[7]: 4F: warning: header Subject: ", b"kernel: ", b""]),
    st.lists(
        st.sampled_from([b"dovecot: ", b"dovecot[12]: ", b"Nov 22 07:14:00 mx1 ", b" ", b": ", b"mx1 ", b"x"]),
        max_size=4,
    ).map(b"".join),
)
def test_login_text_behind_another_programs_header_never_matches(tag: bytes, between: bytes) -> None:
    """Header and engine together: whatever stands in front of the text, the first tag decides."""
    engine = Engine(_format.load(name) for name in _format.packaged())
    line = b"Nov 22 07:14:00 mx1 " + tag + between + LOGIN
    message = HeaderReader(UTC).read(line, NOW)
    if tag:
        assert message is None or engine.read(message) is None
    elif between in (b"dovecot: ", b"dovecot[12]: "):
        assert message is not None
        assert engine.read(message) is not None


def test_the_first_format_that_matches_wins_where_two_share_a_program() -> None:
    """Formats are tried in their order, and one that does not match hides no other."""
    other = TEST_FORMAT.replace("login[ ]", "hello[ ]")
    engine = Engine([parse("one", TEST_FORMAT), parse("two", TEST_FORMAT), parse("three", other)])
    first, third = read(engine, b"login a from <192.0.2.1>"), read(engine, b"hello a from <192.0.2.1>")
    assert first is not None
    assert third is not None
    assert (first.format, third.format) == ("one", "three")


# What is never believed


@pytest.mark.parametrize("byte", [*range(0x20), 0x7F])
def test_a_line_with_a_control_byte_is_never_a_login_or_logout(engine: Engine, byte: int) -> None:
    """No server writes one there; it may still be a failure, for those hold what strangers sent."""
    hostile = b"a" + bytes([byte]) + b"b from <192.0.2.1>"
    if byte != 0x0A:  # the pattern's dot
        assert kind(engine, b"failure " + hostile) is EventKind.FAILURE
    assert kind(engine, b"login " + hostile) is None
    assert kind(engine, b"logout " + hostile) is None


@pytest.mark.parametrize("what", [b"login", b"logout", b"failure"])
def test_only_a_failure_may_be_longer_than_any_login(engine: Engine, what: bytes) -> None:
    """The limit itself is still a login."""
    end = b" from <192.0.2.1>"
    just = what + b" " + b"x" * (_engine.LONGEST_LOGIN - len(what) - 1 - len(end)) + end
    assert len(just) == _engine.LONGEST_LOGIN
    assert kind(engine, just) == what.decode()
    longer = just.replace(b"x", b"xx", 1)
    assert kind(engine, longer) is (EventKind.FAILURE if what == b"failure" else None)


def test_what_is_longer_than_any_line_is_not_looked_at(engine: Engine) -> None:
    """A failure neither."""
    end = b" from <192.0.2.1>"
    just = b"failure " + b"x" * (_engine.LONGEST_LINE - 8 - len(end)) + end
    assert kind(engine, just) is EventKind.FAILURE
    assert kind(engine, just.replace(b"x", b"xx", 1)) is None


@pytest.mark.parametrize(
    "address",
    [
        *("", " ", "192.0.2.01", "192.0.2.1 ", " 192.0.2.1", "192.0.2", "192.0.2.1.", "192.0.2.256", "3221225985"),
        *("0xc0.0.2.1", "192.0.2.1/32", "192.0.2.1:110", "mx1.example.net", "localhost", "unknown", "*", "[192.0.2.1]"),
        *("2001:db8::1/128", "fe80::1%lo", "fe80::1%1", "2001:db8:::1", "2001:db8::g", "::ffff:192.0.2.01", "12345::"),
        *("[2001:db8::1]", "١٩٢.0.2.1", "192.0.2.1\u200b"),
    ],
)
def test_what_is_no_address_gives_no_event(engine: Engine, address: str) -> None:
    """Names, numbers, zones and networks are not addresses, and nobody is asked what they could mean."""
    assert kind(engine, b"login alice from <" + address.encode() + b">") is None
    assert kind(engine, b"failure alice from <" + address.encode() + b">") is None
    logout = read(engine, b"logout alice from <" + address.encode() + b">")
    assert logout is None or logout.client is None


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:C000:201", "192.0.2.1"),
        ("2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
        ("2001:0db8::0001", "2001:db8::1"),
    ],
)
def test_an_address_comes_out_as_postfix_writes_it(engine: Engine, address: str, client: str) -> None:
    """There is one text for each address, whatever the server wrote."""
    event = read(engine, b"login alice from <" + address.encode() + b">")
    assert event is not None
    assert event.client == client


@given(st.binary(max_size=60))
def test_no_bytes_make_the_engine_fail(data: bytes) -> None:
    """One bad line never stops the daemon."""
    engine = Engine([parse("test", TEST_FORMAT)])
    for text in (data, b"login " + data + b" from <192.0.2.1>", b"logout x from <" + data + b">"):
        event = read(engine, text)
        assert event is None or event.client in (None, "192.0.2.1") or event.client.encode() in data


def test_what_a_server_left_empty_is_not_known(engine: Engine) -> None:
    """An empty user is no user."""
    event = read(engine, b"login  from <192.0.2.1> by ")
    assert event is not None
    assert (event.user, event.mechanism, event.service, event.session) == (None, None, None, None)


def test_a_mechanism_comes_out_in_upper_case(engine: Engine) -> None:
    """The rules compare it."""
    event = read(engine, b"login alice from <192.0.2.1> by anonymous")
    assert event is not None
    assert event.mechanism == "ANONYMOUS"


def test_bytes_that_are_no_utf8_come_back_as_they_were(engine: Engine) -> None:
    """A name is kept as the server wrote it."""
    event = read(engine, b"login \xff\xc3\xa9 from <192.0.2.1>")
    assert event is not None
    assert event.user is not None
    assert event.user.encode("utf-8", "surrogateescape") == b"\xff\xc3\xa9"


# Format files


def test_all_packaged_formats_can_be_read() -> None:
    """And Dovecot's is among them."""
    formats = [_format.load(name) for name in _format.packaged()]
    assert "dovecot" in [known.name for known in formats]
    assert all(known.title and (known.programs or known.own_log) and known.patterns for known in formats)


def changed(old: str, new: str) -> str:
    """Return the format above with something else in it."""
    assert old in TEST_FORMAT
    return TEST_FORMAT.replace(old, new, 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "this is no TOML",
        changed('title = "Test server"', ""),
        changed('programs = ["testd", "testd-tls"]', ""),
        changed('programs = ["testd", "testd-tls"]', 'programs = ["tést"]'),
        changed('programs = ["testd", "testd-tls"]', 'programs = "testd"'),
        changed('event = "login"', ""),
        changed('event = "login"', 'event = "maybe"'),
        changed("match = '''login", "other = '''login"),
        changed("match = '''login[ ](?P<user>.*)", "match = '''login[ ](?P<usr>.*)"),
        changed("match = '''login", "match = '''login("),
        changed("match = '''login", "match = '''lögin"),
        TEST_FORMAT.partition("[[pattern]]")[0],
        TEST_FORMAT.partition("[[pattern]]")[0] + "pattern = 3",
        TEST_FORMAT + "[[pattern]]\nevent = 'login'\nmatch = 5\n",
    ],
    ids=[
        *("empty", "no TOML", "no title", "no programs", "program not ASCII", "programs no list", "no event"),
        *("unknown event", "no match", "unknown group", "bad regex", "match not ASCII", "no patterns"),
        *("patterns no list", "match no text"),
    ],
)
def test_a_format_file_that_is_not_as_it_must_be_is_refused(text: str) -> None:
    """In one sentence that names the format, and before any line is read by it."""
    with pytest.raises(DataError, match="format broken"):
        parse("broken", text)


LOGOUT = b"imap(alice)<7><abc>: Disconnected: Logged out in=26 out=818"
FAILURE = (
    b"imap-login: Disconnected: Connection closed (auth failed, 1 attempts in 2 secs): user=<bob>, method=PLAIN,"
    b" rip=192.0.2.11, lip=198.51.100.1, session=<def>"
)


@pytest.mark.parametrize("text", [LOGIN, FAILURE, b"x"])
def test_who_does_not_ask_for_ends_hears_of_logins_and_failures_as_ever(dovecot: Engine, text: bytes) -> None:
    """They let in and shut out."""
    message = LogMessage(NOW, b"dovecot", text)
    assert dovecot.read(message, ends=False) == dovecot.read(message)


def test_who_does_not_ask_for_ends_hears_no_more_than_that_there_was_one(dovecot: Engine) -> None:
    """From the journal all the same whether the server wrote it."""
    event = dovecot.read(LogMessage(NOW, b"dovecot", LOGOUT), ends=False)
    assert event is not None
    assert (event.kind, event.key, event.client, event.genuine) == (EventKind.LOGOUT, None, None, True)
    forged = dovecot.read(LogMessage(NOW, b"dovecot", LOGOUT, Sender(unit="x.service")), ends=False)
    assert forged is not None
    assert not forged.genuine
