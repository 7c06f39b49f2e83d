"""Log lines read as the tests of their headers need it."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from hypothesis import settings

from popbeforesmtp.header import HeaderReader
from popbeforesmtp.model import LogMessage

unhurried = settings(deadline=None)
NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> datetime:
    """Read a time that a test expects."""
    time = datetime.fromisoformat(text)
    assert time.tzinfo is not None
    return time.astimezone(UTC)


def read(line: bytes, now: datetime = NOW) -> LogMessage:
    """Read one line that has a header, in UTC."""
    message = HeaderReader(UTC).read(line, now)
    assert message is not None
    return message


def time_of(stamp: str, now: datetime = NOW, zone: ZoneInfo | None = None) -> datetime | None:
    """Read one stamp."""
    message = HeaderReader(zone or UTC).read(f"{stamp} mail dovecot: hello".encode(), now)
    assert message is not None
    return message.time
