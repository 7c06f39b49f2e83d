"""UW's and Panda's lines: every layout, and hosts that are cut."""

import pytest

from popbeforesmtp.model import EventKind
from tests.formats.reading import login_of, reader

read = reader("ipop3d", "uw")


@pytest.mark.parametrize(
    ("text", "address", "user"),
    [
        ("Login user=alice host=[192.0.2.1]", "192.0.2.1", "alice"),
        ("Login user=alice host=h.example.com [192.0.2.1] nmsgs=1/2", "192.0.2.1", "alice"),
        ("Admin Login user=alice host=[192.0.2.1] nmsgs=1/2", "192.0.2.1", "alice"),
        ("APOP user=alice host=[2001:db8::1] nmsgs=0/0", "2001:db8::1", "alice"),
        ("Auth user=alice host=9.9.9.9 [192.0.2.1] nmsgs=0/0", "192.0.2.1", "alice"),
        ("Authenticated user=alice host=h.example.com [192.0.2.1] mech=PLAIN", "192.0.2.1", "alice"),
        (
            "Login user=alice host=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa [192.0.2.1]",
            "192.0.2.1",
            "alice",
        ),
    ],
)
def test_every_layout_of_a_login_is_read(text: str, address: str, user: str) -> None:
    """POP and IMAP, old and new, up to the longest host that is whole."""
    assert login_of(read(text)) == (address, user)


@pytest.mark.parametrize(
    "text",
    [
        "Login user=alice host=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa [9.9.9.9]",
        "Login user=alice host=[9.9.9.9] no mailbox",
        "Login user=x host=[9.9.9.9] host=[192.0.2.1]",
        "Login user=alice host=UNKNOWN",
        "Login user=alice host=9.9.9.9",
        "Preauthenticated user=alice host=[9.9.9.9]",
        "Authenticated user=nobody host=[9.9.9.9] mech=ANONYMOUS",
        "Login user=Anonymous host=[9.9.9.9]",
        "IMAP login to host=evil user=bob host=[9.9.9.9] nmsgs=0/0 host=[192.0.2.1]",
        "Login failed user=alice auth=alice host=[9.9.9.9]",
    ],
)
def test_what_proves_no_password_is_no_login(text: str) -> None:
    """A proxy's login, one without a password, one that was turned away, a host of 80 bytes that may be cut."""
    assert login_of(read(text)) is None


def test_the_end_of_a_session_names_no_address() -> None:
    """Its user may have one in it, and need not have logged in: only the login of the same process tells."""
    event = read("Logout user=bob host=[9.9.9.9] host=[192.0.2.1]")
    assert event is not None
    assert (event.kind, event.client) == (EventKind.LOGOUT, None)
