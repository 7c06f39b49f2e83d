"""Cyrus's lines, from 2.0 to logfmt: every layout, and what an anonymous client can write."""

import pytest

from tests.formats.reading import login_of, reader

read = reader("cyrus/imap", "cyrus")


@pytest.mark.parametrize(
    ("text", "address", "user"),
    [
        ("login: h.example.com[192.0.2.1] alice plaintext ", "192.0.2.1", "alice"),
        ("login: h.example.com[192.0.2.1] alice plaintext", "192.0.2.1", "alice"),
        ("login: h.example.com[192.0.2.1] alice kpop", "192.0.2.1", "alice"),
        ("login: h.example.com [192.0.2.1] alice APOP+TLS User logged in", "192.0.2.1", "alice"),
        (
            "login: [2001:db8::1] alice@example.com DIGEST-MD5 User logged in SESSIONID=<cyrus-1-2-3>",
            "2001:db8::1",
            "alice@example.com",
        ),
        (
            "login: 9.9.9.9 [192.0.2.1] alice+box plaintext+TLS User logged in SESSIONID=<cyrus-1-2-3>",
            "192.0.2.1",
            "alice+box",
        ),
        (
            "event=login.good r.clienthost=[192.0.2.1] u.username=alice login.mech=PLAIN login.tls=0",
            "192.0.2.1",
            "alice",
        ),
        (
            (
                "event=login.good session_id=a r.tid=b r.clienthost=[::ffff:192.0.2.1] u.username=alice"
                " login.mech=PLAIN login.tls=1 login.magic=~null~"
            ),
            "192.0.2.1",
            "alice",
        ),
    ],
)
def test_every_layout_of_a_login_is_read(text: str, address: str, user: str) -> None:
    """With and without a name, TLS, a session and a mailbox."""
    assert login_of(read(text)) == (address, user)


@pytest.mark.parametrize(
    "text",
    [
        "login: [9.9.9.9] anonymous x plaintext User logged in",
        "login: [9.9.9.9] anonymous PLAIN User logged in SESSIONID=<cyrus-1-2-3>",
        "login: [9.9.9.9] Anonymous kpop",
        "login: [9.9.9.9] anonymous+x plaintext",
        "login: [9.9.9.9] alice nopassword+TLS User logged in SESSIONID=<cyrus-1-2-3>",
        "login: [9.9.9.9] alice ANONYMOUS User logged in SESSIONID=<cyrus-1-2-3>",
        "login: [unknown] alice plaintext User logged in",
        "login: [fe80::1%eth0] alice plaintext User logged in",
        "login: x [9.9.9.9] bob PLAIN User logged in [192.0.2.1] alice PLAIN User logged in SESSIONID=<cyrus-1-2-3>",
        "badlogin: [192.0.2.1] plaintext (x [9.9.9.9] bob plaintext User logged in) invalid user",
        "event=login.good r.clienthost=[9.9.9.9] u.username=~null~ login.mech=PLAIN login.tls=0",
        "event=login.good r.clienthost=[9.9.9.9] u.username=alice login.nopassword=1 login.mech=PLAIN login.tls=0",
        "event=login.good r.clienthost=[9.9.9.9] u.username=anonymous login.anonymous=1 login.mech=PLAIN login.tls=0",
        "event=login.bad r.clienthost=[9.9.9.9] u.username=alice login.mech=PLAIN error=event=login.good",
    ],
)
def test_what_proves_no_password_is_no_login(text: str) -> None:
    """Anonymous clients choose what stands behind their name, and imapd -N asks nobody for a password."""
    assert login_of(read(text)) is None


@pytest.mark.parametrize("program", ["cyrus/http", "cyrus/nntp", "cyrus/lmtp", "cyrus/timsieved", "http", "sieve"])
def test_no_other_service_opens_relay(program: str) -> None:
    """They write the same line."""
    assert read("login: [192.0.2.1] alice plaintext User logged in") is not None
    assert read("login: [192.0.2.1] alice plaintext User logged in", program) is None
