"""Solid POP3's lines: with names resolved, mapped users, APOP."""

from datetime import UTC, datetime

import pytest

from popbeforesmtp.formats._engine import Engine
from popbeforesmtp.formats._format import load
from popbeforesmtp.model import EventKind, LogMessage, SessionEvent

ENGINE = Engine([load("solid-pop3d")])


def read(text: str, program: str = "solid-pop3d") -> SessionEvent | None:
    """Read one message of the server."""
    return ENGINE.read(LogMessage(datetime(2026, 11, 22, tzinfo=UTC), program.encode(), text.encode()))


@pytest.mark.parametrize(
    ("text", "address", "user"),
    [
        ("user alice authenticated - 192.0.2.1", "192.0.2.1", "alice"),
        ("user alice authenticated - h.example.com (192.0.2.1)", "192.0.2.1", "alice"),
        ("mapped user alice authenticated - 2001:db8::1", "2001:db8::1", "alice"),
        ("user alice authenticated through APOP - 9.9.9.9 (192.0.2.1)", "192.0.2.1", "alice"),
    ],
)
def test_every_layout_of_a_login_is_read(text: str, address: str, user: str) -> None:
    """As it was configured."""
    event = read(text)
    assert event is not None
    assert (event.kind, event.client, event.user) == (EventKind.LOGIN, address, user)


@pytest.mark.parametrize(
    "text",
    [
        "user x authenticated - 9.9.9.9 - 192.0.2.1",
        "user alice authenticated - x (9.9.9.9",
        "user alice authenticated - 9.9.9.9)",
        "user alice authenticated - x (9.9.9.9) (192.0.2.1)",
        "authentication failed: no such user: user bob authenticated - 9.9.9.9",
    ],
)
def test_what_proves_no_password_is_no_login(text: str) -> None:
    """Only what the server puts behind the name counts."""
    event = read(text)
    assert event is None or event.kind is not EventKind.LOGIN
