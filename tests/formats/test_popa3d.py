"""popa3d's lines: the address stands on a line of its own, see test_sessions.py."""

from datetime import UTC, datetime

import pytest

from popbeforesmtp.formats._engine import Engine
from popbeforesmtp.formats._format import load
from popbeforesmtp.model import EventKind, LogMessage, SessionEvent

ENGINE = Engine([load("popa3d")])


def read(text: str, program: str = "popa3d") -> SessionEvent | None:
    """Read one message of the server."""
    return ENGINE.read(LogMessage(datetime(2026, 11, 22, tzinfo=UTC), program.encode(), text.encode()))


@pytest.mark.parametrize(
    "text",
    [
        "Authentication passed for UNKNOWN USER",
        "Authentication passed for ",
        "Authentication failed for alice",
        "Authentication passed for a b",
    ],
)
def test_what_proves_no_password_is_no_login(text: str) -> None:
    """Nobody is nobody."""
    event = read(text)
    assert event is None or event.kind is not EventKind.LOGIN
