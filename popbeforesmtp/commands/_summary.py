"""What logs hold, counted, for ``scan``."""

from collections import Counter
from datetime import datetime

from popbeforesmtp.following import LineReader
from popbeforesmtp.formats import Formats, Kind
from popbeforesmtp.header import REPEATED
from popbeforesmtp.model import EventKind, LogMessage, SessionEvent
from popbeforesmtp.sessions import Sessions
from popbeforesmtp.sieve import Sieve
from popbeforesmtp.sight import looks_like_a_login
from popbeforesmtp.text import local

_KINDS = (EventKind.LOGIN, EventKind.LOGOUT, EventKind.FAILURE)


class Summary:
    """Counts of all that was read so far."""

    def __init__(self) -> None:
        self.lines = 0
        self.unknown_headers = 0
        self.unread = 0  # lines of servers that look like logins and mean nothing
        self.forged = 0  # entries that look like events, and were not written by the server
        self._counts: Counter[Kind] = Counter()
        self._others: Counter[tuple[str, str, EventKind]] = Counter()  # counted one by one
        self.last_block = b""
        self._first: datetime | None = None
        self._last: datetime | None = None

    @property
    def events(self) -> int:
        """How many lines meant something."""
        return self._counts.total() + self._others.total()

    def line(self, message: LogMessage | None, event: SessionEvent | None, *, empty: bool = False) -> None:
        """Count one line; an empty one has no header to be known."""
        self.lines += 1
        if message is None:
            self.unknown_headers += not empty
        elif message.time is not None:
            self._first = self._first or message.time
            self._last = message.time
        if event is not None and event.genuine:
            self._others[event.format, event.service or "-", event.kind] += 1
        elif event is not None:
            self.forged += 1

    def block(
        self, data: bytes, header: LineReader, formats: Formats, sieve: Sieve, sessions: Sessions, now: datetime
    ) -> None:
        """Count whole lines without a look at those that cannot mean anything; no time is made of most stamps."""
        first = data.find(b"\n")
        if sieve.keeps(data[: first + 1]):
            self._count(data[:first], header, formats, sieve, sessions, now)
        find, find_end, counts, alone = formats.find, data.find, self._counts, formats.alone
        for head in sieve.heads(data):
            program, text = head[2], head.end()
            end = find_end(b"\n", text)
            if program is not None and program in alone and end >= 0:
                found = find(program, data, text, end)
                if found is not None:
                    counts[found.kind] += 1
                    continue
                if not data.startswith(REPEATED, text):
                    self.unread += looks_like_a_login(data[text:end])
                    continue
            if end >= 0:
                self._count(data[head.start() + 1 : end], header, formats, sieve, sessions, now)
        self._first = self._first or header.glance(data[: first + 1], now)[0]
        self.last_block = data

    def end(self, header: LineReader, now: datetime) -> None:
        """Take in the time of a log's last line."""
        if self.last_block:
            self._last = header.glance(self.last_block, now)[0] or self._last
            self.last_block = b""

    def _count(
        self, line: bytes, header: LineReader, formats: Formats, sieve: Sieve, sessions: Sessions, now: datetime
    ) -> None:
        """Count what one line means, together with those before it."""
        message = header.read(line, now)
        if message is None:
            self.unknown_headers += bool(line)
            return
        event = formats.read(message)
        if event is None and not formats.knows(message.program):
            sieve.met(message.program)
        elif event is None or event.kind is EventKind.OTHER:
            self.unread += looks_like_a_login(message.text)
        event = None if event is None else sessions.join(event)
        if event is not None:
            self._others[event.format, event.service or "-", event.kind] += 1

    def _all(self) -> Counter[tuple[str, str, EventKind]]:
        counts = self._others.copy()
        for kind, count in self._counts.items():
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
            rows.append(f"{self.unread} lines look like logins and mean nothing: --explain tells why")
        counts = self._all()
        if counts:
            rows.append(f"{'format':12} {'service':12} {'logins':>9} {'logouts':>9} {'failures':>9}")
        for name, service in sorted({(name, service) for name, service, _ in counts}):
            numbers = " ".join(f"{counts[name, service, kind]:9}" for kind in _KINDS)
            rows.append(f"{name:12} {service:12} {numbers}")
        return "\n".join(rows)
