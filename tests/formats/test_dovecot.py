"""Dovecot's lines: every layout from 2.0 to 2.4, and names that are made to look like other lines."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from popbeforesmtp.clock import Moment
from popbeforesmtp.formats._engine import Engine
from popbeforesmtp.formats._format import load
from popbeforesmtp.model import EventKind, LogMessage, Origin, Reason, SessionEvent, Verdict
from popbeforesmtp.rules import Rules, decide

NOW = datetime(2026, 11, 22, 7, 20, tzinfo=UTC)
ENGINE = Engine([load("dovecot")])

SERVICES = ("imap", "pop3")
WORDS = ("Login", "Logged in")  # 2.0 to 2.3, 2.4
BEFORE = ("", "Info: ")  # by syslog, in the server's own log
ENDS = (
    "",
    ", mpid=4711",
    ", TLS",
    ", secured",
    ", mpid=4711, TLS",
    ", session=<UijZvdhgC9jLAHFP>",
    ", mpid=4711, session=<bfPgpdhgj4QgAQ24AAAAAAAAAAAAAAAQ>",
    ", mpid=4711, TLS, session=<a+/=>",
    ", mpid=4711, secured, session=<O2NbqNhgI8nAAAIe>",
    ", mpid=4711, TLS, TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)",
    ", mpid=4711, TLS, (proxied), session=<a+/=>",
)
"""What may stand behind lip=: mpid, the transport and the session, each left out where it is empty."""

REASONS = (
    "Disconnected (auth failed, 1 attempts in 2 secs)",
    "Disconnected: Connection closed (auth failed, 3 attempts in 21 secs)",
    "Aborted login (auth failed, 1 attempts in 2 secs)",
    "Login aborted: Logged out (auth failed, 1 attempts in 0 secs) (auth_failed)",
    "Disconnected: Inactivity (auth failed, 1 attempts in 180 secs)",
    "Disconnected (auth failed, 1 attempts)",
    "Disconnected: Connection closed: SSL_read() failed: Connection reset by peer (auth failed, 1 attempts in 2 secs)",
    "Login aborted: Connection closed: read(size=490) failed: Connection reset by peer"
    " (auth failed, 1 attempts in 2 secs) (auth_failed)",
    "Aborted login (proxy dest auth failed)",
    "Login aborted: Logged out (proxy dest authentication failure, 1/2 successful auths in 3 secs)"
    " (proxy_dest_auth_failed)",
)

HOSTILE = st.lists(
    st.sampled_from(
        [
            ">, method=PLAIN, rip=9.9.9.9, lip=1.1.1.1, mpid=1, session=<a>",
            ">, method=PLAIN, rip=9.9.9.9, lip=1.1.1.1",
            "x>, method=PLAIN, rip=9.9.9.9, lip=1.1.1.1, mpid=1, TLS, session=<a",
            ">, rip=9.9.9.9, lip=1.1.1.1",
            "imap-login: Login: user=<",
            "Nov 22 07:14:00 mx1 dovecot: pop3-login: Login: user=<",
            "Login: user=<bob>",
            ", method=PLAIN, rip=",
            ", session=<",
            " (auth failed, 1 attempts in 2 secs): user=<",
            ": Logged out in=1 out=2",
            "imap(bob)<1><a>: ",
            *("<", ">", "(", ")", ",", " ", "=", ":", "?", "\\", '"', "alice", "9.9.9.9", "é", "\u202e"),
        ]
    ),
    min_size=1,
    max_size=6,
).map("".join)
"""Names that a stranger sends, or that an account has where auth_username_chars is empty."""


def read(text: str, program: bytes | None = b"dovecot") -> SessionEvent | None:
    """Read one message."""
    return ENGINE.read(LogMessage(NOW, program, text.encode()))


def login(
    user: str = "alice",
    address: str = "192.0.2.1",
    *,
    service: str = "imap",
    before: str = "",
    word: str = "Login",
    end: str = ", mpid=4711, TLS, session=<a+/=>",
) -> str:
    """Write the line of a login as Dovecot does."""
    return f"{service}-login: {before}{word}: user=<{user}>, method=PLAIN, rip={address}, lip=192.0.2.100{end}"


def failure(user: str, reason: str = REASONS[0], end: str = ", session=<a+/=>", method: str = ", method=PLAIN") -> str:
    """Write the line of a session that was turned away."""
    return f"pop3-login: {reason}: user=<{user}>{method}, rip=203.0.113.7, lip=192.0.2.100{end}"


# Layouts


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("service", SERVICES)
def test_every_layout_of_a_login_is_read(service: str, before: str, word: str, end: str) -> None:
    """From 2.0 to 2.4, with and without process, transport and session."""
    for address in ("192.0.2.1", "2001:db8::10"):
        event = read(login(address=address, service=service, before=before, word=word, end=end))
        assert event is not None
        assert (event.kind, event.client, event.user) == (EventKind.LOGIN, address, "alice")
        assert (event.service, event.mechanism) == (service, "PLAIN")
        assert event.mail_pid == ("4711" if "mpid" in end else None)
        assert event.session == (end.partition("session=<")[2].removesuffix(">") or None)


def test_a_login_in_the_servers_own_log_is_read() -> None:
    """It has no tag there."""
    event = read(login(before="Info: "), program=None)
    assert event is not None
    assert event.kind is EventKind.LOGIN


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("end", ["", ", TLS", ", TLS handshaking", ", TLS: SSL_read failed: error:0A0", ", secured"])
@pytest.mark.parametrize("session", ["", ", session=<a+/=>"])
@pytest.mark.parametrize("method", ["", ", method=PLAIN"])
def test_every_layout_of_a_wrong_password_is_a_failure(reason: str, end: str, session: str, method: str) -> None:
    """It names who and from where, and opens nothing."""
    event = read(failure("alice", reason, end + session, method))
    assert event is not None
    assert (event.kind, event.client, event.user) == (EventKind.FAILURE, "203.0.113.7", "alice")


def test_a_wrong_password_before_any_name_is_a_failure() -> None:
    """To 1.2, where the mechanism had sent none yet."""
    event = read("imap-login: Disconnected (auth failed, 1 attempts): method=PLAIN, rip=203.0.113.7, lip=192.0.2.9")
    assert event is not None
    assert (event.kind, event.client, event.user) == (EventKind.FAILURE, "203.0.113.7", None)


@pytest.mark.parametrize(
    "text",
    [
        "imap-login: Disconnected (no auth attempts in 0 secs): user=<>, rip=192.0.2.1, lip=192.0.2.100",
        "imap-login: Disconnected: Connection closed (disconnected before auth was ready, waited 0 secs): user=<>,"
        " rip=192.0.2.1, lip=192.0.2.100, secured, session=<a>",
        "auth: passwd-file(alice,192.0.2.1): unknown user",
        "master: Dovecot v2.3.19.1 (9b53102964) starting up for imap, pop3",
        "imap-login: proxy(alice): Login failed to 192.0.2.5:143: no: user=<alice>, method=PLAIN, rip=192.0.2.1,"
        " lip=192.0.2.100",
        "imap-login: Login failed: Cleartext authentication disabled: user=<>, rip=192.0.2.1, lip=192.0.2.100",
    ],
)
def test_what_proves_nothing_is_no_event(text: str) -> None:
    """Nobody logged in, and nobody was turned away with a name and a password."""
    assert read(text) is None


@pytest.mark.parametrize(
    ("text", "session", "mail_pid"),
    [
        (
            "imap(alice)<21472><O2NbqNhgI8nAAAIe>: Disconnected: Logged out in=26 out=770 deleted=0 expunged=0"
            " trashed=0 hdr_count=0 hdr_bytes=0 body_count=0 body_bytes=0",
            "O2NbqNhgI8nAAAIe",
            "21472",
        ),
        ("pop3(alice)<7><a+/=>: Disconnected: Logged out top=0/0, retr=0/0, del=0/3, size=1234", "a+/=", "7"),
        ("imap(alice)<7><a>: Connection closed (IDLE running for 0.001 secs) in=1 out=2", "a", "7"),
        ("imap(alice): Logged out in=26 out=770", None, None),
        ("imap(alice)<7><a>: Server shutting down. in=467 out=475", "a", "7"),
        ("IMAP(alice): Disconnected: Logged out bytes=26/770", None, None),
        ("POP3(alice): Disconnected: Logged out top=0/0, retr=1/471, del=0/1, size=455", None, None),
        ("imap(alice): Disconnected for inactivity in=26 out=770", None, None),
        ("imap(alice): Disconnected: Logged out bytes=26/770", None, None),
        ("pop3(alice): Disconnected: Logged out top=0/0, retr=0/0, del=0/0, size=0", None, None),
    ],
)
def test_the_end_of_a_session_is_a_logout(text: str, session: str | None, mail_pid: str | None) -> None:
    """It has no address; the session or the process ties it to its login."""
    event = read(text)
    assert event is not None
    assert (event.kind, event.user, event.client) == (EventKind.LOGOUT, "alice", None)
    assert (event.service, event.session, event.mail_pid) == (text[:4].lower(), session, mail_pid)


# The login proxy

PROXYING = (
    "proxy({}): started proxying to 10.0.0.5:143",
    "proxy({}): started proxying to 2001:db8::5:143/other (master root)",
    "proxy({},[2001:db8::5]:143): Started proxying to <[2001:db8::5]:143> (0.012 secs)",
    "proxy({},10.0.0.5:143): Started proxying to <10.0.0.5> (<mail.example.net>) from 10.0.0.1 as user x (0.012 secs)",
)
ENDED = (
    "proxy({}): disconnecting 192.0.2.1 (Disconnected by client(0s idle, in=1, out=2))",
    "proxy({},10.0.0.5:143): Disconnected by server: Connection reset by peer (0s idle, in=1, out=2+3)",
    "proxy({},10.0.0.5:143): Killed by admin",
)


def proxied(reason: str, user: str = "alice") -> str:
    """Write a line of the login proxy."""
    return login(user).replace("Login", reason.format(user), 1)


@pytest.mark.parametrize("reason", PROXYING)
def test_a_login_that_the_proxy_has_passed_on_is_read(reason: str) -> None:
    """It writes the line when the server behind it has let the client in."""
    event = read(proxied(reason))
    assert event is not None
    assert (event.kind, event.client, event.user, event.session) == (EventKind.LOGIN, "192.0.2.1", "alice", "a+/=")


@pytest.mark.parametrize("reason", ENDED)
def test_the_end_of_a_session_of_the_proxy_is_a_logout(reason: str) -> None:
    """The session ties it to its login."""
    event = read(proxied(reason))
    assert event is not None
    assert (event.kind, event.client, event.session) == (EventKind.LOGOUT, "192.0.2.1", "a+/=")


@given(HOSTILE, st.sampled_from(["): started proxying to a:1: user=<", "): Killed by admin: user=<"]))
def test_no_name_makes_a_login_of_what_the_proxy_says_of_a_failure(user: str, reason: str) -> None:
    """Where the proxy asks for no password itself, anybody comes as far as the server behind it."""
    for name in (user, "x" + reason + "x", user + reason + user):
        assert read(proxied("proxy({}): Login failed to 10.0.0.5:143: no", name)) is None


# What never is a login


@pytest.mark.parametrize(
    "service",
    [
        "sieve-login",
        "submission(alice)<1><a>",
        "lmtp(alice)<1><a>",
        "lmtp",
        "imap",
        "imap-login-x",
        "auth",
    ],
)
def test_no_other_service_opens_relay(service: str) -> None:
    """Only a POP or IMAP login does."""
    assert read(login()) is not None
    assert read(login().replace("imap-login", service, 1)) is None


@pytest.mark.parametrize("service", ["managesieve", "submission"])
@pytest.mark.parametrize("line", [login(), *(proxied(reason) for reason in PROXYING)])
def test_a_login_to_submit_or_to_filter_is_refused_by_name(service: str, line: str) -> None:
    """It would renew itself for ever, or opens no mailbox; whoever reads the log learns why it does not count."""
    event = read(line.replace("imap-login", f"{service}-login", 1))
    assert event is not None
    assert (event.kind, event.client, event.service) == (EventKind.LOGIN, "192.0.2.1", service)
    decision = decide(event, Origin("mail.log", 0), Moment(NOW, 0.0), Rules(timedelta(minutes=30)))
    assert (decision.verdict, decision.reason) == (Verdict.REFUSE, Reason.SERVICE)


@pytest.mark.parametrize(
    "word", ["login", "LOGIN", "Login failed", "Logged out", "Loggedin", "Login:", "Not Login", ""]
)
def test_no_other_word_means_a_login(word: str) -> None:
    """The server's word is fixed."""
    assert read(login(word=word)) is None


def test_an_empty_user_is_no_login() -> None:
    """Nobody is nobody."""
    assert read(login(user="")) is None


@given(st.text(min_size=1, max_size=60))
def test_text_before_a_login_never_matches(before: str) -> None:
    """A login line that is quoted in another message does not begin that message."""
    assume(not before.startswith(("imap-login: ", "pop3-login: ")))
    text = before.encode("utf-8", "surrogatepass") + login().encode()
    event = ENGINE.read(LogMessage(NOW, b"dovecot", text))
    assert event is None or event.kind is EventKind.LOGOUT


@given(st.text(st.characters(exclude_characters=">"), min_size=1, max_size=60))
def test_text_behind_a_login_never_matches(behind: str) -> None:
    """What follows was not written by the server's login line, so the line is not one."""
    text = login().encode() + behind.encode("utf-8", "surrogatepass")
    assert ENGINE.read(LogMessage(NOW, b"dovecot", text)) is None


# Hostile names


@given(HOSTILE, st.sampled_from(WORDS), st.sampled_from(ENDS), st.sampled_from(BEFORE))
def test_a_real_account_is_read_whole_and_its_address_is_the_real_one(
    user: str, word: str, end: str, before: str
) -> None:
    """Wherever auth_username_chars is empty an account may be called anything; the line is read from the right."""
    assume(len(user.encode()) <= 340)
    event = read(login(user, word=word, end=end, before=before))
    assert event is not None
    assert (event.kind, event.client, event.user) == (EventKind.LOGIN, "192.0.2.1", user)


@given(
    HOSTILE,
    st.sampled_from(REASONS),
    st.sampled_from(["", ", TLS", ", TLS: SSL_read failed", ", session=<a>", ", secured, session=<a>"]),
    st.sampled_from(["", ", method=PLAIN"]),
)
def test_a_failure_is_never_a_login_whatever_the_name(user: str, reason: str, end: str, method: str) -> None:
    """It is a failure from the real address, with the whole name."""
    event = read(failure(user, reason, end, method))
    assert event is not None
    assert (event.kind, event.client, event.user) == (EventKind.FAILURE, "203.0.113.7", user)


@given(HOSTILE, st.sampled_from(["no auth attempts in 0 secs", "tried to use disallowed plaintext auth"]))
def test_a_session_without_an_attempt_is_nothing_whatever_the_name(user: str, why: str) -> None:
    """Nor is it a failure that the name talks of."""
    event = read(f"imap-login: Disconnected ({why}): user=<{user}>, rip=203.0.113.7, lip=192.0.2.100, session=<a>")
    assert event is None or (event.kind, event.client) == (EventKind.FAILURE, "203.0.113.7")


@given(HOSTILE)
def test_a_logout_reads_the_name_whole_and_is_never_a_login(user: str) -> None:
    """The session is the real one, not the one that the name talks of."""
    event = read(f"imap({user})<21472><O2NbqNhgI8nAAAIe>: Disconnected: Logged out in=26 out=770")
    assert event is not None
    assert (event.kind, event.user, event.session) == (EventKind.LOGOUT, user, "O2NbqNhgI8nAAAIe")


@given(
    HOSTILE,
    st.sampled_from(["imap(alice)<1><a>: ID sent: name={}", "lmtp(alice)<1><a>: msgid=<{}>: saved", "auth: {}"]),
)
def test_text_of_strangers_elsewhere_in_dovecots_lines_is_never_a_login(user: str, message: str) -> None:
    """Mail is full of text that looks like something else."""
    event = read(message.format(user))
    assert event is None or event.kind is EventKind.LOGOUT


# Cost


def cost(text: bytes) -> float:
    """Return the least time that reading a message took, in seconds."""
    message = LogMessage(NOW, b"dovecot", text)
    best = float("inf")
    for _ in range(7):
        started = time.perf_counter()
        for _ in range(3):
            ENGINE.read(message)
        best = min(best, time.perf_counter() - started)
    return best


def filled(start: str, filling: str, length: int) -> bytes:
    """Make a line of some length that nearly matches again and again, and does not in the end."""
    return (start + filling * length)[: length - 1].encode() + b"!"


@pytest.mark.parametrize(
    ("start", "filling"),
    [
        ("imap-login: Login: user=<", ">, method=PLAIN, rip=1.1.1.1, lip=1.1.1.1"),
        ("imap-login: Login: user=<", ">, method=A, rip=::, lip=::, mpid=1, TLS, session=<a"),
        ("imap-login: Login: user=<", ">"),
        ("imap-login: Disconnected (auth failed, 1 attempts in 2 secs): user=<", ">, rip=::, lip=::, TLS: a"),
        ("imap-login: Disconnected (auth failed, 1 attempts in 2 secs): user=<", ">, rip=::, lip=::"),
        ("imap-login: Disconnected: Input buffer full (a): user=<", ">, rip=::, lip=::, TLS: a"),
        ("imap-login: Disconnected", " (auth failed, 1 attempts in 2 secs)"),
        ("imap-login: Disconnected", " "),
        ("imap(", "): Disconnected in=1 out=1"),
        ("imap(", ")<1><a>: Logged out in=1 out=1 a=1 a=1 a=1"),
        ("imap(a): Disconnected", " in=1 out=1 a=1"),
        ("pop3(", "): Logged out top=1/1, retr=1/1, del=1/1, size=1 a=1"),
    ],
)
def test_a_line_made_to_cost_much_costs_no_more_per_byte_than_a_short_one(start: str, filling: str) -> None:
    """Long names do not slow the daemon: sixteen times the length takes about sixteen times as long."""
    ratio = cost(filled(start, filling, 8192)) / cost(filled(start, filling, 512))
    assert ratio < 64  # a quadratic pattern would take 256 times as long
