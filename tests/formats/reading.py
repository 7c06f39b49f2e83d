"""Reads single messages by some formats, as the tests of one server's lines do."""

from collections.abc import Callable
from datetime import UTC, datetime

from popbeforesmtp.formats._engine import Engine
from popbeforesmtp.formats._format import load
from popbeforesmtp.model import EventKind, LogMessage, SessionEvent

NOW = datetime(2026, 11, 22, 7, 20, tzinfo=UTC)


def reader(program: str, *names: str) -> Callable[..., SessionEvent | None]:
    """Make a function that reads a message of a program, or of another that is named, by these formats."""
    engine = Engine(load(name) for name in names)

    def read(text: str, program: str = program) -> SessionEvent | None:
        return engine.read(LogMessage(NOW, program.encode(), text.encode()))

    return read


def is_login(event: SessionEvent | None) -> bool:
    """Say whether a line lets somebody in."""
    return event is not None and event.kind is EventKind.LOGIN


def login_of(event: SessionEvent | None) -> tuple[str | None, str | None] | None:
    """Return the address and the account that a line lets in; None where it lets nobody in."""
    return (event.client, event.user) if event is not None and is_login(event) else None
