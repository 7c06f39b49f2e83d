"""What logs hold, counted, for ``scan``."""

import re
from collections import Counter
from datetime import datetime

from popbeforesmtp.following import LineReader
from popbeforesmtp.formats import Formats
from popbeforesmtp.header import COMMON, REPEATED
from popbeforesmtp.model import EventKind, LogMessage, SessionEvent
from popbeforesmtp.sessions import Sessions
from popbeforesmtp.sieve import Sieve
from popbeforesmtp.text import local

_COMMON = re.compile(COMMON)
_KINDS = (EventKind.LOGIN, EventKind.LOGOUT, EventKind.FAILURE)


class Summary:
    """Counts of all that was read so far."""

    def __init__(self) -> None:
        self.lines = 0
        self.unknown_headers = 0
        self.forged = 0  # entries that look like events, and were not written by the server
        self._counts: Counter[tuple[str, str, EventKind]] = Counter()
        self._first: datetime | None = None
        self._last: datetime | None = None

    @property
    def events(self) -> int:
        """How many lines meant something."""
        return self._counts.total()

    def line(self, message: LogMessage | None, event: SessionEvent | None) -> None:
        """Count one line."""
        self.lines += 1
        if message is None:
            self.unknown_headers += 1
        elif message.time is not None:
            self._first = self._first or message.time
            self._last = message.time
        if event is not None and event.genuine:
            self._counts[event.format, event.service or "-", event.kind] += 1
        elif event is not None:
            self.forged += 1

    def block(
        self, data: bytes, header: LineReader, formats: Formats, sieve: Sieve, sessions: Sessions, now: datetime
    ) -> None:
        """Count whole lines without a look at those that cannot mean anything; no time is made of most stamps."""
        common, find, counts = _COMMON.match, formats.find, self._counts
        for start, end in sieve.find(data):
            head = common(data, start, end)
            program = None if head is None else head[2]
            if (
                head is None
                or program is None
                or data.startswith(REPEATED, head.end())
                or formats.reads_together(program)
            ):
                message = header.read(data[start:end], now)
                event = None if message is None else formats.read(message)
                event = None if event is None else sessions.join(event)
                self.unknown_headers += message is None and start != end
                if event is not None:
                    counts[event.format, event.service or "-", event.kind] += 1
                continue
            found = find(program, data, head.end(), end)
            if found is not None:
                counts[found.format, found.service or "-", found.event] += 1
            elif not formats.knows(program):
                sieve.met(program)
        self.lines += data.count(b"\n")
        self._first = self._first or header.glance(data[: data.find(b"\n") + 1], now)[0]
        self._last = header.glance(data, now)[0] or self._last

    def sentence(self) -> str:
        """Say it in a line."""
        kinds = Counter[EventKind]()
        for (_, _, kind), count in self._counts.items():
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
        if self._counts:
            rows.append(f"{'format':12} {'service':12} {'logins':>9} {'logouts':>9} {'failures':>9}")
        for name, service in sorted({(name, service) for name, service, _ in self._counts}):
            numbers = " ".join(f"{self._counts[name, service, kind]:9}" for kind in _KINDS)
            rows.append(f"{name:12} {service:12} {numbers}")
        return "\n".join(rows)
