"""Qpopper's lines: log-login, with and without debugging."""

from datetime import UTC, datetime

import pytest

from popbeforesmtp.formats._engine import Engine
from popbeforesmtp.formats._format import load
from popbeforesmtp.model import EventKind, LogMessage, SessionEvent

ENGINE = Engine([load("qpopper")])


def read(text: str, program: str = "qpopper") -> SessionEvent | None:
    """Read one message of the server."""
    return ENGINE.read(LogMessage(datetime(2026, 11, 22, tzinfo=UTC), program.encode(), text.encode()))


@pytest.mark.parametrize(
    ("text", "address", "user"),
    [
        ('(v4.0.9) POP login by user "alice" at (h.example.com) 192.0.2.1', "192.0.2.1", "alice"),
        (
            '(v4.1.0) POP login by user "alice@example.com" at (9.9.9.9) 192.0.2.1 [pop_log.c:244]',
            "192.0.2.1",
            "alice@example.com",
        ),
        ('(v4.0.5fc2) POP login by user "alice" at (2001:db8::1) 2001:db8::1', "2001:db8::1", "alice"),
    ],
)
def test_every_layout_of_a_login_is_read(text: str, address: str, user: str) -> None:
    """What do_log_login writes."""
    event = read(text)
    assert event is not None
    assert (event.kind, event.client, event.user) == (EventKind.LOGIN, address, user)


@pytest.mark.parametrize(
    "text",
    [
        '(v4.0.9) POP login by user "alice" at (x) 9.9.9.9) 192.0.2.1',
        '(v4.0.9) POP login by user "x" at (y) 9.9.9.9" at (z) 192.0.2.1',
        '(v4.0.9) POP login by user "" at (x) 9.9.9.9',
        'x at (v4.0.9) POP login by user "alice" at (x) 9.9.9.9',
        "Stats: alice 0 0 0 0 x 9.9.9.9",
    ],
)
def test_what_proves_no_password_is_no_login(text: str) -> None:
    """Names end at their own delimiters; the end of a session is no login."""
    event = read(text)
    assert event is None or event.kind is not EventKind.LOGIN
