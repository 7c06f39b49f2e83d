"""Dovecot's log by an administrator's own settings: read where that is safe, refused where it is not."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popbeforesmtp.errors import DataError
from popbeforesmtp.formats._dovecot_template import pattern
from popbeforesmtp.formats._engine import Engine
from popbeforesmtp.formats._format import parse
from popbeforesmtp.model import EventKind, LogMessage, SessionEvent

NOW = datetime(2026, 11, 22, 7, 20, tzinfo=UTC)
FORMAT = "%$: %s"
ELEMENTS = "user=<%u> method=%m rip=%r lip=%l mpid=%e %c session=<%{session}>"
PREFIX = "%s(%u)<%{pid}><%{session}>: "
NEW_ELEMENTS = (
    "user=<%{user}> method=%{mechanism} rip=%{remote_ip} lip=%{local_ip}"
    " mpid=%{mail_pid} %{secured} session=<%{session}>"
)


def read(text: str, word: str = FORMAT, elements: str = ELEMENTS, prefix: str = PREFIX) -> SessionEvent | None:
    """Read one message by some settings."""
    engine = Engine([parse("dovecot", pattern(word, elements, prefix))])
    return engine.read(LogMessage(NOW, b"dovecot", text.encode()))


@pytest.mark.parametrize(
    ("word", "elements", "text"),
    [
        (
            FORMAT,
            ELEMENTS,
            "Login: user=<alice>, method=PLAIN, rip=192.0.2.1, lip=192.0.2.9, mpid=7, TLS, session=<a+/=>",
        ),
        (FORMAT, ELEMENTS, "Login: user=<alice>, method=PLAIN, rip=192.0.2.1, lip=192.0.2.9"),
        (
            "%{message}: %{elements}",
            NEW_ELEMENTS,
            "Logged in: user=<alice>, method=PLAIN, rip=192.0.2.1, lip=192.0.2.9, mpid=7, session=<a+/=>",
        ),
        (FORMAT, "user=<%{user|lower}> rip=%r %k", "Login: user=<alice>, rip=192.0.2.1"),
        (FORMAT, "user=<%Lu> rip=%r", "Login: user=<alice>, rip=192.0.2.1"),
        ("%s (%$)", "%r %u %m %c", "192.0.2.1, alice, PLAIN, TLS (Login)"),
        (FORMAT, "session=<%{session}> user=<%u> rip=%r:%b", "Login: session=<a>, user=<alice>, rip=192.0.2.1:1055"),
        (FORMAT, "session=<%{session}> user=<%u> rip=%r:%b", "Login: user=<alice>, rip=192.0.2.1:1055"),
        (FORMAT, "%u rip=[%r] 100%% %s", "Login: alice, rip=[192.0.2.1], 100%, imap"),
        (FORMAT, "user=<%u> rip=%r lip=%l:%a", "Login: user=<alice>, rip=192.0.2.1, lip=192.0.2.9:143"),
        (FORMAT, "rip=%r lip=%l:%a user=<%u>", "Login: rip=192.0.2.1, lip=2001:db8::9:993, user=<alice>"),
        ("%s: %$", "user=<%u> rip=%r", "user=<alice>, rip=192.0.2.1: Login"),
        ("%s: %$", ELEMENTS, "user=<alice>, method=PLAIN, rip=192.0.2.1, lip=192.0.2.9: Login"),
        ("%s: %$", ELEMENTS, "user=<alice>, method=PLAIN, rip=192.0.2.1, lip=2001:db8::: Login"),
    ],
)
def test_a_login_is_read_by_the_settings_it_was_written_by(word: str, elements: str, text: str) -> None:
    """In any order, with the word in front or behind, with parts left out that are empty."""
    event = read(f"imap-login: {text}", word, elements)
    assert event is not None
    assert (event.kind, event.client, event.user, event.service) == (EventKind.LOGIN, "192.0.2.1", "alice", "imap")
    other = read(f"managesieve-login: {text}".replace("imap", "sieve"), word, elements)
    assert other is not None
    assert other.service == "managesieve"
    assert read(f"lmtp-login: {text}", word, elements) is None


def test_the_end_of_a_session_that_hibernated_is_a_logout() -> None:
    """Another process writes it than the one that the login named; the session is the same."""
    event = read("imap-hibernate(alice)<109><a+/=>: Disconnected: Connection closed in=31 out=722 deleted=0")
    assert event is not None
    assert (event.kind, event.service, event.key) == (EventKind.LOGOUT, "imap", "session a+/=")


def test_an_ipv6_address_with_a_port_is_read_without_it() -> None:
    """The port is what stands behind the last colon."""
    event = read("imap-login: Login: user=<alice>, rip=2001:db8::1:1055", elements="user=<%u> rip=%r:%b")
    assert event is not None
    assert event.client == "2001:db8::1"


@given(
    st.lists(
        st.sampled_from(
            [
                ">, method=PLAIN, rip=9.9.9.9, lip=1.1.1.1",
                ", rip=9.9.9.9",
                " (Login)",
                "Login: ",
                "x",
                ", ",
                "TLS",
                ">",
                "<",
            ]
        ),
        min_size=1,
        max_size=5,
    ).map("".join)
)
def test_a_name_never_is_an_address(name: str) -> None:
    """Neither of an account that is called so, nor of a stranger."""
    for word, elements, line in (
        (FORMAT, ELEMENTS, f"{{}}: user=<{name}>, method=PLAIN, rip=192.0.2.1, lip=192.0.2.9, TLS"),
        ("%s (%$)", "%r %u %m", f"192.0.2.1, {name}, PLAIN ({{}})"),
        (FORMAT, "%u rip=%r", f"{{}}: {name}, rip=192.0.2.1"),
    ):
        event = read("imap-login: " + line.format("Login"), word, elements)
        assert event is not None
        assert (event.kind, event.client) == (EventKind.LOGIN, "192.0.2.1")
        event = read("imap-login: " + line.format("Disconnected (auth failed, 1 attempts in 2 secs)"), word, elements)
        assert event is not None
        assert (event.kind, event.client) == (EventKind.FAILURE, "192.0.2.1")


@pytest.mark.parametrize(
    ("prefix", "text"),
    [
        (PREFIX, "imap(alice)<7><a+/=>: Disconnected: Logged out in=1 out=2"),
        ("%s(%u): ", "imap(alice): Disconnected: Logged out in=1 out=2"),
        ("%Us(%Lu): ", "IMAP(alice): Server shutting down. in=1 out=2"),
        ("service=%s, user=%u, ip=[%r]. ", "service=imap, user=alice, ip=[192.0.2.1]. Logged out rcvd=26, sent=770"),
        (PREFIX, "imap(alice)<7><a>: Disconnected: Logged out bytes=1/2"),
        (
            "%{protocol}(%{user})<%{process:pid}><%{session}>[%{remote_ip}]: ",
            "imap(alice)<7><a>[192.0.2.1]: Logged out in=1 out=2",
        ),
    ],
)
def test_the_end_of_a_session_is_read_by_the_settings_it_was_written_by(prefix: str, text: str) -> None:
    """Its session and process tie it to its login, where they are there."""
    event = read(text, prefix=prefix)
    assert event is not None
    assert (event.kind, event.user, event.service) == (EventKind.LOGOUT, "alice", "imap")
    assert event.mail_pid == ("7" if "<7>" in text else None)


@pytest.mark.parametrize(
    ("word", "elements", "prefix", "why"),
    [
        (FORMAT, "user=<%u>", PREFIX, "no %{remote_ip}"),
        (FORMAT, "rip=%r", PREFIX, "no %{user}"),
        (FORMAT, "user=<%u> real=%{real_rip}", PREFIX, "no %{remote_ip}"),
        (FORMAT, "user=<%u> name=%{local_name} rip=%r", PREFIX, "may hold anything"),
        (FORMAT, "user=<%u> auth=%{auth_user} rip=%r", PREFIX, "may hold anything"),
        (FORMAT, "user=<%u> %u rip=%r", PREFIX, "twice"),
        (FORMAT, "%u %r", PREFIX, "no label of its own"),
        (FORMAT, "user=%u ip=%r ip=%l", PREFIX, "no label of its own"),
        (FORMAT, "user=%u%r", PREFIX, "nothing stands between"),
        (FORMAT, "rip=%rfe user=%u", PREFIX, "looks like a part of it"),
        (FORMAT, "user=<%u> rip=%r 50%", PREFIX, "names nothing"),
        ("%s", ELEMENTS, PREFIX, "%{message}"),
        ("%$ %$: %s", ELEMENTS, PREFIX, "once"),
        ("%$ %s", ELEMENTS, PREFIX, "between the message and the elements"),
        ("%$: %s %p", ELEMENTS, PREFIX, "no variable but"),
        (FORMAT, ELEMENTS, "%u: ", "must begin with"),
        (FORMAT, ELEMENTS, "", "must begin with"),
        (FORMAT, ELEMENTS, "user=%u service=%s: ", "must begin with"),
        (FORMAT, ELEMENTS, '"%s"(%u): ', "must begin with"),
        (FORMAT, ELEMENTS, "%s(%u)", "end with a colon"),
        (FORMAT, ELEMENTS, "%s(%h): ", "is not known"),
    ],
)
def test_what_cannot_be_read_safely_is_refused_and_it_is_said_why(
    word: str, elements: str, prefix: str, why: str
) -> None:
    """Rather no relay than one for whoever chooses a name."""
    with pytest.raises(DataError, match=r"^(login_log_format|login_log_format_elements|mail_log_prefix): ") as caught:
        pattern(word, elements, prefix)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("word", "elements", "text"),
    [
        (
            FORMAT,
            "user=<%u> method=%m rip=%r %c",
            "proxy(alice): started proxying to 10.0.0.5:143: user=<alice>, method=PLAIN, rip=192.0.2.1, TLS",
        ),
        (
            FORMAT,
            "rip=%r user=<%u>",
            "proxy(alice,10.0.0.5:143): Started proxying to <10.0.0.5> (0.1 secs): rip=192.0.2.1, user=<alice>",
        ),
        (
            "%s (%$)",
            "%r %u",
            "192.0.2.1, alice (proxy(alice): Started proxying to <h> (10.0.0.5) as user a (0.1 secs))",
        ),
    ],
)
def test_a_login_that_the_proxy_has_passed_on_is_read_by_the_settings_too(word: str, elements: str, text: str) -> None:
    """Its message stands where the word does; a name with a delimiter is none."""
    event = read(f"imap-login: {text}", word, elements)
    assert event is not None
    assert (event.kind, event.client, event.user) == (EventKind.LOGIN, "192.0.2.1", "alice")
    ended = re.sub(r"[Ss]tarted.*?(?=: (?:user|rip)|\)$)", "Disconnected by client (1s idle, in=1, out=2)", text)
    event = read(f"imap-login: {ended}", word, elements)
    assert event is not None
    assert (event.kind, event.client) == (EventKind.LOGOUT, "192.0.2.1")
    for name in ("x>, rip=9.9.9.9", "x, 9.9.9.9", "a b", "x)"):
        assert read(f"imap-login: {text.replace('alice', name)}", word, elements) is None
