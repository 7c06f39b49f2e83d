"""vm-pop3d and GNU's servers: the address stands on a line of its own, that the same process wrote before."""

from datetime import UTC, datetime, timedelta

import pytest

from popbeforesmtp.formats._engine import Engine
from popbeforesmtp.formats._format import load
from popbeforesmtp.model import EventKind, LogMessage, SessionEvent
from popbeforesmtp.sessions import Sessions
from tests.formats.anatomy import tree_of

START = datetime(2026, 11, 22, 7, 14, tzinfo=UTC)
Said = tuple[str, str | None, str | None]
VM, POP, IMAP = b"vm-pop3d", b"gnu-pop3d", b"gnu-imap4d"


def read(program: bytes, *texts: str, seconds: float = 1) -> list[Said]:
    """Read the lines of one process, some seconds apart. "9: text" is another process."""
    engine, sessions, said = Engine([load("vm-pop3d"), load("gnu-pop3d")]), Sessions(), []
    for number, text in enumerate(texts):
        pid, other, rest = text.partition("> ")
        writer = b"mx1 %b[%b]: " % (program, pid.encode() if other else b"812")
        time = START + timedelta(seconds=seconds * number)
        event = engine.read(LogMessage(time, program, (rest if other else text).encode(), None, writer))
        joined: SessionEvent | None = None if event is None else sessions.join(event)
        said += [] if joined is None else [(joined.kind.value, joined.client, joined.user)]
    return said


VM_CONNECT, VM_LOGIN = "Connect from 192.0.2.1", "User 'alice' logged in"
GNU_CONNECT, GNU_LOGIN = "connect from 192.0.2.1", "User `alice' logged in with mailbox `/var/mail/alice' (3 messages)"
LOGGED_IN = [("login", "192.0.2.1", "alice")]


@pytest.mark.parametrize(
    ("program", "connect", "login"),
    [
        (VM, VM_CONNECT, VM_LOGIN),
        (VM, VM_CONNECT, "User 'alice' of 'example.com' logged in"),
        (POP, GNU_CONNECT, GNU_LOGIN),
        (POP, GNU_CONNECT, "User 'alice' logged in with mailbox '/var/mail/alice'"),
        (POP, GNU_CONNECT, "User `alice' logged in with mailbox `/var/mail/alice' (1 message)"),
        (IMAP, "Connect from 192.0.2.1", "User `alice' logged in"),
        (IMAP, "Connect from 192.0.2.1", "User `alice' logged in (source: system)"),
        (IMAP, "connect from 192.0.2.1", "User 'alice' logged in"),
    ],
)
def test_a_login_has_the_address_of_its_connection(program: bytes, connect: str, login: str) -> None:
    """In every layout, and of its own process only."""
    assert read(program, connect, login) == LOGGED_IN
    assert read(program, f"1> {connect}", f"2> {connect.replace('2.1', '2.9')}", f"1> {login}") == LOGGED_IN
    assert read(program, f"1> {connect}", f"2> {login}") == []
    assert read(program, login) == []


@pytest.mark.parametrize(
    ("program", "connect", "between", "login"),
    [
        (VM, VM_CONNECT, "pam_unix(passwd:auth): check pass; user unknown", VM_LOGIN),
        (VM, VM_CONNECT, "Couldn't open password file: /etc/virtual/example.com/passwd", VM_LOGIN),
        (VM, VM_CONNECT, "Unable to use alice's mailbox; using /dev/null for testing", VM_LOGIN),
        (VM, VM_CONNECT, "pop3 user: alice", VM_LOGIN),
        (POP, GNU_CONNECT, "recv: USER alice#015", GNU_LOGIN),
        (POP, GNU_CONNECT, "sent: +OK#015", GNU_LOGIN),
    ],
)
def test_what_a_server_says_before_a_login_does_not_hide_it(
    program: bytes, connect: str, between: str, login: str
) -> None:
    """Such a line has no address, even if a stranger made it say one."""
    assert read(program, connect, between, login) == LOGGED_IN
    assert read(program, connect, f"{between} {connect.replace('192.0.2.1', '9.9.9.9')}", login)[:1] in ([], LOGGED_IN)
    assert read(program, between, login) == []


@pytest.mark.parametrize(("program", "connect", "login"), [(VM, VM_CONNECT, VM_LOGIN), (POP, GNU_CONNECT, GNU_LOGIN)])
def test_an_address_waits_for_two_minutes_and_for_nothing_unknown(program: bytes, connect: str, login: str) -> None:
    """The process may be another one by then."""
    assert read(program, connect, login, seconds=120) == LOGGED_IN
    assert read(program, connect, login, seconds=121) == []
    assert read(program, connect, "something else", login) == []
    assert read(program, connect, login, login) == LOGGED_IN


@pytest.mark.parametrize(
    ("program", "connect", "text", "user"),
    [
        (
            VM,
            VM_CONNECT,
            "pam_unix(passwd:auth): authentication failure; logname= uid=0 euid=0 tty= ruser= rhost=  user=bob",
            "bob",
        ),
        (
            VM,
            VM_CONNECT,
            "pam_unix(passwd:auth): authentication failure; logname= uid=0 euid=0 tty= ruser= rhost= ",
            None,
        ),
        (POP, GNU_CONNECT, "User `bob': authentication failed", "bob"),
        (POP, GNU_CONNECT, "User 'bob': nonexistent", "bob"),
        (IMAP, "Connect from 192.0.2.1", "Login failed: bob", "bob"),
        (IMAP, "Connect from 192.0.2.1", f"Login failed: {GNU_LOGIN}", GNU_LOGIN),
    ],
)
def test_a_failure_has_the_address_too_and_the_next_try_is_read(
    program: bytes, connect: str, text: str, user: str | None
) -> None:
    """A client may try again on the same connection."""
    login = VM_LOGIN if program == VM else GNU_LOGIN
    assert read(program, connect, text, login) == [("failure", "192.0.2.1", user), *LOGGED_IN]


@pytest.mark.parametrize(
    ("program", "connect", "login", "end"),
    [
        (VM, VM_CONNECT, VM_LOGIN, "Session ended for user: alice"),
        (VM, VM_CONNECT, VM_LOGIN, "Session timed out for user: alice"),
        (VM, VM_CONNECT, VM_LOGIN, "Socket closed"),
        (POP, GNU_CONNECT, GNU_LOGIN, "Session ended for user: alice"),
        (IMAP, GNU_CONNECT, GNU_LOGIN, "Session terminating for user: alice"),
        (IMAP, GNU_CONNECT, GNU_LOGIN, "No socket to send to"),
    ],
)
def test_the_end_of_a_session_has_the_address_of_its_login(program: bytes, connect: str, login: str, end: str) -> None:
    """It is the same process."""
    assert [(event, client) for event, client, _ in read(program, connect, login, end)] == [
        ("login", "192.0.2.1"),
        ("logout", "192.0.2.1"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        *("User '' logged in", "User 'alice' logged in ", "x User 'alice' logged in"),
        *("User 'x' of 'y' logged in as 'z'", "Connect from mail.example.com", "Connect from 9.9.9.9 (x)"),
        *("Session ended for no user", "Quitting", "user `alice' logged out"),
    ],
)
def test_what_is_only_alike_means_nothing(text: str) -> None:
    """The server's words stand at fixed places."""
    for program in (VM, POP, IMAP):
        assert read(program, text) == []
        assert read(program, "Connect from 192.0.2.1", text) == []


def test_no_login_of_gnu_s_is_as_long_as_a_line_that_was_cut() -> None:
    """A name could say "logged in", and what betrays it would be cut off; busybox's syslogd cuts at 256 bytes."""
    longest = [tree_of(each).getwidth()[1] for each in load("gnu-pop3d").patterns if each.event is EventKind.LOGIN]
    assert max(longest) < 256 - len("<22>Nov 22 07:14:00 gnu-imap4d[21412]: ")
