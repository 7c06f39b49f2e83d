"""What logs hold, counted, for ``scan``."""

from collections import Counter
from datetime import UTC, datetime
from typing import NamedTuple

from popbeforesmtp.formats import Kind
from popbeforesmtp.model import EventKind, LogMessage, SessionEvent
from popbeforesmtp.text import local

_KINDS = (EventKind.LOGIN, EventKind.LOGOUT, EventKind.FAILURE)


class Counts(NamedTuple):
    """The counts of a part, in nothing but what `marshal` can write."""

    lines: int
    unknown_headers: int
    unread: int
    forged: int
    events: dict[tuple[str, str, str], int]  # by format, service and kind
    first: float | None  # seconds since 1970
    last: float | None


class Summary:
    """Counts of all that was read so far."""

    def __init__(self) -> None:
        self.lines = 0
        self.unknown_headers = 0
        self.unread = 0  # lines of servers that look like logins and mean nothing, as far as they were looked at
        self.forged = 0  # entries that look like events, and were not written by the server
        self.kinds: Counter[Kind] = Counter()  # of lines that tell each by itself what they mean
        self._others: Counter[tuple[str, str, EventKind]] = Counter()  # counted one by one
        self._first: datetime | None = None
        self._last: datetime | None = None

    @property
    def events(self) -> int:
        """How many lines meant something."""
        return self.kinds.total() + self._others.total()

    def line(self, message: LogMessage | None, event: SessionEvent | None, *, empty: bool = False) -> None:
        """Count one line; an empty one has no header to be known."""
        self.lines += 1
        if message is None:
            self.unknown_headers += not empty
        else:
            self.saw(message.time)
        if event is not None:
            self.event(event)

    def event(self, event: SessionEvent) -> None:
        """Count what one line means."""
        if event.genuine:
            self._others[event.format, event.service or "-", event.kind] += 1
        else:
            self.forged += 1

    def saw(self, time: datetime | None) -> None:
        """Take in the time of a line."""
        self._first = self._first or time
        self._last = time or self._last

    def counts(self) -> Counts:
        """Return all that was counted."""
        events = {(name, service, str(kind)): count for (name, service, kind), count in self._all().items()}
        first = None if self._first is None else self._first.timestamp()
        last = None if self._last is None else self._last.timestamp()
        return Counts(self.lines, self.unknown_headers, self.unread, self.forged, events, first, last)

    def add(self, part: Counts) -> None:
        """Count what was counted of a part that follows."""
        self.lines += part.lines
        self.unknown_headers += part.unknown_headers
        self.unread += part.unread
        self.forged += part.forged
        for (name, service, kind), count in part.events.items():
            self._others[name, service, EventKind(kind)] += count
        for time in (part.first, part.last):
            self.saw(None if time is None else datetime.fromtimestamp(time, UTC))

    def _all(self) -> Counter[tuple[str, str, EventKind]]:
        counts = self._others.copy()
        for kind, count in self.kinds.items():
            counts[kind.format, kind.service or "-", kind.event] += count
        return counts

    def sentence(self) -> str:
        """Say it in a line."""
        kinds = Counter[EventKind]()
        for (_, _, kind), count in self._all().items():
            kinds[kind] += count
        return (
            f"{self.lines} lines: {kinds[EventKind.LOGIN]} logins, {kinds[EventKind.LOGOUT]} logouts,"
            f" {kinds[EventKind.FAILURE]} failures; {self.unknown_headers} lines without a header that we know"
            + (f"; {self.forged} written by others than the server" if self.forged else "")
        )

    def table(self) -> str:
        """Show it by format and service."""
        rows = [self.sentence()]
        if self._first is not None and self._last is not None:
            seconds = (self._last - self._first).total_seconds()
            rate = f", {self.lines / seconds:.1f} lines a second" if seconds > 0 else ""
            rows.append(f"from {local(self._first)} to {local(self._last)}{rate}")
        if self.unread:
            rows.append(f"{self.unread} lines or more look like logins and mean nothing: --explain tells why")
        counts = self._all()
        if counts:
            rows.append(f"{'format':12} {'service':12} {'logins':>9} {'logouts':>9} {'failures':>9}")
        for name, service in sorted({(name, service) for name, service, _ in counts}):
            numbers = " ".join(f"{counts[name, service, kind]:9}" for kind in _KINDS)
            rows.append(f"{name:12} {service:12} {numbers}")
        return "\n".join(rows)
