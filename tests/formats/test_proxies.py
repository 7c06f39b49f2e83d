"""Perdition, up-imapproxy and nginx: what they write of others' logins, and what strangers have them write."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popbeforesmtp.formats._engine import Engine
from popbeforesmtp.formats._format import load
from popbeforesmtp.header import HeaderReader
from popbeforesmtp.model import EventKind, LogMessage, SessionEvent
from tests.formats.anatomy import tree_of

NOW = datetime(2026, 11, 22, 7, 20, tzinfo=UTC)
ENGINE = Engine([load("perdition"), load("imapproxy"), load("nginx")])
FAILED = "failed: Re-Authentication Failure"
HOSTILE = st.lists(
    st.sampled_from(
        [
            '" server="s:1" protocol=IMAP4 server-secure=plaintext status="ok"',
            '" server="s" port="1" status="ok"',
            "' (9.9.9.9:1) on new sd [5]",
            '", upstream: 9.9.9.9:110',
            "client logged in, client: 9.9.9.9, server: 0.0.0.0:110, login: ",
            *("x", '"', "'", "\\", "<", ">", "#012", "#", "(", ")", ", ", " ", "é"),
        ]
    ),
    min_size=1,
    max_size=5,
).map("".join)


def read(program: str, text: str) -> SessionEvent | None:
    """Read one message."""
    return ENGINE.read(LogMessage(NOW, program.encode(), text.encode()))


def old(user: str, status: str, address: str = "192.0.2.1") -> tuple[str, str]:
    """Write Perdition's line to 1.17."""
    return "perdition", f'Auth: {address}->198.51.100.1 user="{user}" server="10.0.0.5" port="110" status="{status}"'


def new(user: str, status: str, address: str = "192.0.2.1", protocol: str = "IMAP4") -> tuple[str, str]:
    """Write Perdition's line of 2.x."""
    return (
        "perdition",
        f"Auth: {address}:50001->198.51.100.1:143 client-secure=ssl authorisation_id=NONE"
        f' authentication_id="{user}" server="10.0.0.5:143" protocol={protocol}'
        f' server-secure=plaintext status="{status}"',
    )


def imapproxy(user: str, status: str, address: str = "192.0.2.1") -> tuple[str, str]:
    """Write up-imapproxy's line."""
    end = "on existing sd [9]" if status == "ok" else "failed: non-OK server response to LOGIN command: NO no"
    return "in.imapproxyd", f"LOGIN: '\"{user}\"' ({address}:50001) {end}"


def nginx(user: str, status: str, address: str = "192.0.2.1", port: int = 143) -> tuple[str, str]:
    """Write nginx's line."""
    word = "logged in" if status == "ok" else 'login failed: "no" while in http auth state'
    end = ", upstream: 10.0.0.5:143" if status == "ok" else ""
    return "nginx", (
        f"2026/11/22 07:14:00 [info] 812#0: *3 client {word}, client: {address}, server: 0.0.0.0:{port},"
        f' login: "{user}"{end}'
    )


@pytest.mark.parametrize("write", [old, new, imapproxy, nginx])
def test_a_login_is_read_and_a_failure_is_none(write) -> None:  # type: ignore[no-untyped-def]
    """The address is the client's, not the server's."""
    event = read(*write("alice", "ok"))
    assert event is not None
    assert (event.kind, event.client, event.user) == (EventKind.LOGIN, "192.0.2.1", "alice")
    event = read(*write("alice", FAILED))
    assert event is not None
    assert (event.kind, event.client) == (EventKind.FAILURE, "192.0.2.1")


@pytest.mark.parametrize("write", [new, imapproxy, nginx])
def test_ipv6_addresses_are_read_whole(write) -> None:  # type: ignore[no-untyped-def]
    """They have no brackets; what stands behind the last colon is the port."""
    event = read(*write("alice", "ok", "2001:db8::10"))
    assert event is not None
    assert event.client == "2001:db8::10"


@given(HOSTILE)
def test_no_name_makes_a_login_of_a_failure_or_of_another_address(name: str) -> None:
    """An account that is called so is not read, or from where it is."""
    for write in (old, new, imapproxy, nginx):
        event = read(*write(name, FAILED, "203.0.113.5"))
        assert event is None or (event.kind, event.client) == (EventKind.FAILURE, "203.0.113.5")
        event = read(*write(name, "ok", "192.0.2.1"))
        assert event is None or (event.kind, event.client, event.user) == (
            EventKind.LOGIN,
            "192.0.2.1",
            name.strip('"'),
        )


@given(HOSTILE, st.integers(60, 4096))
def test_no_cut_of_a_long_line_makes_a_login(name: str, length: int) -> None:
    """Perdition writes 4096 bytes, nginx 2048, a syslogd 1024: what the server said may be lost."""
    for write in (old, new, nginx):
        program, text = write(name + "A" * 4096, FAILED, "203.0.113.5")
        event = read(program, text[: length if write is nginx else max(length, 900)])
        assert event is None or event.kind is EventKind.FAILURE


@pytest.mark.parametrize(("name", "least"), [("perdition", 900), ("imapproxy", 200)])
def test_no_login_is_as_long_as_a_line_that_was_cut(name: str, least: int) -> None:
    """A name could write the end of a login, and be cut behind it.

    The least that a syslogd or C library cuts at is 1024 bytes, with tag and stamp; but busybox's cuts at 256, which
    Perdition's warning says.
    """
    known = load(name)
    longest = [tree_of(pattern).getwidth()[1] for pattern in known.patterns if pattern.event is EventKind.LOGIN]
    assert max(longest) < least
    assert "busybox" in known.warning or least < 256 - len("<22>Nov 22 07:14:00 in.imapproxyd[21412]: ")


@pytest.mark.parametrize("port", [25, 465, 587, 2525, 4190])
def test_nginx_is_read_for_pop_and_imap_only(port: int) -> None:
    """An SMTP login looks the same, but for the port."""
    assert read(*nginx("alice", "ok", port=port)) is None


def test_nginx_is_not_read_from_its_own_log() -> None:
    """A client writes whole lines into it."""
    assert load("nginx").forgeable


@pytest.mark.parametrize(
    "line",
    [
        b'[info] 12#12: *5 client login failed: "no" while in http auth state, server: 0.0.0.0:587',
        b'[info] 12#12: *5 client login failed: "no" while in http auth state, server: 0.0.0.0:1143',
        b"[error] 12#0: *5 auth http server 127.0.0.1:80 timed out while in http auth state, server: 0.0.0.0:143",
        b'[notice] 1#1: using the "epoll" event method',
    ],
)
def test_nginx_s_own_log_is_known_by_any_of_its_lines(line: bytes) -> None:
    """On whatever port the name was sent behind which a line of another server follows."""
    engine = Engine([load("nginx"), load("dovecot")])
    message = HeaderReader(UTC).read(b"2026/11/22 23:50:00 " + line, NOW)
    assert message is not None
    assert engine.forgeable(message) == load("nginx").forgeable
    syslogged = HeaderReader(UTC).read(b"Nov 22 23:50:00 mx1 nginx: 2026/11/22 23:50:00 " + line, NOW)
    assert syslogged is not None
    assert engine.forgeable(syslogged) is None


def test_perditions_managesieve_is_not_read() -> None:
    """It is neither POP nor IMAP."""
    assert read(*new("alice", "ok", protocol="MANAGESIEVE")) is None


def test_an_attempt_is_no_login_before_the_server_has_answered() -> None:
    """up-imapproxy writes a line that begins with LOGIN for each."""
    assert read("in.imapproxyd", "LOGIN: '\"alice\"' (9.9.9.9:1) no previous connection: creating a new one") is None
