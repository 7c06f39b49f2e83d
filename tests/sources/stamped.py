"""Lines with stamps, for tests of what hangs on the time."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

NOON = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """Return a time some seconds after noon."""
    return NOON + timedelta(seconds=seconds)


def line(seconds: float, text: str = "one of many lines") -> bytes:
    """Write a line as rsyslog does."""
    return f"{at(seconds).isoformat(timespec='microseconds')} mx1 dovecot: {text}\n".encode()


def lines(seconds: Iterable[float]) -> bytes:
    """Write a line for each of these times."""
    return b"".join(line(second, f"number {number}") for number, second in enumerate(seconds))


def since(data: bytes, seconds: float) -> bytes:
    """Return the lines since a moment, in the simplest way; a minute earlier may be right too."""
    first = at(seconds).isoformat(timespec="microseconds").encode()
    return b"".join(part for part in data.splitlines(keepends=True) if part >= first)
