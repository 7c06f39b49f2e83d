"""Courier's lines, and the records that a stranger makes its logger write."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popbeforesmtp.formats._engine import Engine
from popbeforesmtp.formats._format import load
from popbeforesmtp.model import EventKind, LogMessage, SessionEvent
from tests.samples import read

NOW = datetime(2026, 11, 22, 7, 20, tzinfo=UTC)
ENGINE = Engine([load("courier")])
CHOSEN = "LOGIN, user=alice, ip=[::ffff:9.9.9.9], port=[4242]"
OWN = "LOGIN, user=alice"  # the server's own end makes it whole
ENDINGS = ("", ", ip=[9.9.9.9], port=[1]", ", ip=[9.9.9.9]", " " * 60)
ROOM = 505 - len("LOGIN FAILED, user=")


def one(text: str, program: bytes = b"pop3d") -> SessionEvent | None:
    """Read one message by itself."""
    return ENGINE.read(LogMessage(NOW, program, text.encode()))


def records(name: str, program: str = "pop3d") -> list[bytes]:
    """Write a failed login with a name, as courierlogger cuts it: 1024 bytes at most, 511 in a record."""
    line = f"INFO: LOGIN FAILED, user={name}, ip=[203.0.113.5], port=[40005]"[:1024]
    pieces = [line[start : start + 511] for start in range(0, len(line), 511)]
    texts = [piece.removeprefix("INFO:").lstrip(" ") for piece in pieces]
    return [f"Nov 22 07:14:00 mx1 {program}: {text}".encode() for text in texts]


@pytest.mark.parametrize("program", ["pop3d", "pop3d-ssl", "imapd", "imapd-ssl", "imaplogin", "courierpop3login"])
@pytest.mark.parametrize("port", ["", ", port=[50123]", ", port=[N/A]"])
@pytest.mark.parametrize("end", ["", ", protocol=IMAP", ", protocol=SMAP1", ", stls=1", ", protocol=IMAP, starttls=1"])
def test_every_layout_of_a_login_is_read(program: str, port: str, end: str) -> None:
    """From 1.x to 5.x; the program says which service it is."""
    for address, client in (("::ffff:192.0.2.1", "192.0.2.1"), ("2001:db8::10", "2001:db8::10")):
        event = one(f"LOGIN, user=alice, ip=[{address}]{port}{end}", program.encode())
        assert event is not None
        assert (event.kind, event.client, event.user) == (EventKind.LOGIN, client, "alice")
        assert event.service == ("imap" if "imap" in program else "pop3")


@pytest.mark.parametrize(
    "text",
    [
        "LOGIN, user=, ip=[9.9.9.9], port=[1]",
        "LOGIN, user=alice, ip=[9.9.9.9], port=[1] ",
        "LOGIN, user=alice, ip=[9.9.9.9], port=[1], ip=[203.0.113.1], port=[2]",
        "LOGIN, user=alice, user=bob, ip=[9.9.9.9], port=[1]",
        f"LOGIN, user={'a' * 321}, ip=[9.9.9.9], port=[1]",
        "LOGIN, user=a[1], ip=[9.9.9.9], port=[1]",
        "LOGIN, user=alice, ip=[9.9.9.9], port=[123456]",
        "LOGOUT, ip=[9.9.9.9], port=[1]",
        "LOCKED, user=alice, ip=[9.9.9.9], port=[1]",
        "Connection, ip=[9.9.9.9], port=[1]",
    ],
)
def test_what_is_not_whole_or_too_long_means_nothing(text: str) -> None:
    """Every field has the size that it can have, and stands there once."""
    event = one(text)
    assert event is None or event.kind is EventKind.OTHER


def test_smtp_logins_are_not_read() -> None:
    """They would renew themselves."""
    assert one(CHOSEN) is not None
    assert one(CHOSEN, b"courieresmtpd") is None


@pytest.mark.parametrize("program", ["pop3d", "imapd-ssl"])
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    "rest", [OWN, " " * (511 - len(CHOSEN)) + CHOSEN, "INFO: " + " " * (505 - len(CHOSEN)) + CHOSEN]
)
def test_the_rest_of_a_cut_record_is_no_login_however_the_cut_one_ends(program: str, ending: str, rest: str) -> None:
    """Not even where the first piece looks whole: its length betrays it. And once it is quiet, logins are believed."""
    name = "A" * (ROOM - len(ending)) + ending + rest
    after = [f"Nov 22 07:14:{at:02} mx1 {program}: Connection, ip=[192.0.2.1], port=[5]" for at in (1, 6, 6, 7)]
    login = f"Nov 22 07:14:07 mx1 {program}: LOGIN, user=bob, ip=[192.0.2.1], port=[5]"
    events = read([*records(name, program), *(line.encode() for line in (*after, login))], ENGINE)
    assert [event.user for _, event in events if event.kind is EventKind.LOGIN] == ["bob"]


@given(
    st.lists(
        st.sampled_from(
            [
                "A" * 100,
                "A" * 7,
                " ",
                " " * 90,
                CHOSEN,
                OWN,
                ", ip=[9.9.9.9], port=[1]",
                "INFO: ",
                "LOGIN FAILED, user=",
            ]
        ),
        min_size=1,
        max_size=14,
    ).map("".join)
)
def test_no_name_makes_a_login(name: str) -> None:
    """However it is cut."""
    assert [event for _, event in read(records(name), ENGINE) if event.kind is EventKind.LOGIN] == []


@pytest.mark.parametrize(
    ("cut", "rest"),
    [
        ("mx1 mail.info imapd: ", "mx1 mail.debug imapd: "),  # busybox; AIX writes mail:info
        ("mx1 mail:info imapd: ", "mx1 mail:err imapd: "),
        ("mail.info imapd: ", "mail.err imapd: "),  # busybox -S
        ("<mail.info> mx1 imapd: ", "<mail.err> mx1 imapd: "),  # FreeBSD
        ("<2.6> mx1 imapd: ", "<2.3> mx1 imapd: "),
        ("mx1 imapd: [ID 702911 mail.info] ", "mx1 imapd: [ID 214242 mail.error] "),  # Solaris
    ],
)
def test_a_rest_of_another_severity_is_the_rest_all_the_same(cut: str, rest: str) -> None:
    """The logger finds "ERR:" in front of a piece too, so a stranger chooses it."""
    lines = [f"Nov 22 07:14:00 {cut}LOGIN FAILED, user={'A' * 486}", f"Nov 22 07:14:00 {rest}{CHOSEN}, protocol=IMAP"]
    events = read([line.encode() for line in lines], ENGINE)
    assert [event.kind for _, event in events] == [EventKind.FAILURE]


def test_another_programs_login_is_believed_behind_a_cut_record() -> None:
    """Strangers must not keep everybody out."""
    login = b"Nov 22 07:14:01 mx1 imapd: LOGIN, user=bob, ip=[192.0.2.1], port=[5], protocol=IMAP"
    events = read([records("A" * 600)[0], login], ENGINE)
    assert [event.user for _, event in events if event.kind is EventKind.LOGIN] == ["bob"]
