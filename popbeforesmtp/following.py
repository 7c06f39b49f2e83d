"""From a source's lines to events: header, format, sessions, and what is remembered between the lines of each log."""

import json
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Protocol

from popbeforesmtp.clock import Moment
from popbeforesmtp.formats import Formats
from popbeforesmtp.holds import Holds
from popbeforesmtp.model import Authorization, Block, EventKind, LogMessage, SessionEvent
from popbeforesmtp.sessions import Sessions
from popbeforesmtp.sieve import EntrySieve, Sieve, every_line
from popbeforesmtp.sight import Sight
from popbeforesmtp.sources import Source

_HELD = 1_048_576  # bytes for which the place is not kept, at most, while lines wait for others
_IDLE = 5.0  # seconds from when nothing more came: then the past has been read; journalctl takes a while to begin
_DOUBTED = "doubted"  # what a place begins with behind which somebody is doubted
_LOGS = 1000  # logs of one source that are remembered at most


class LineReader(Protocol):
    """Reads the header of a line: of a log's, or of an entry of the journal."""

    previous: datetime | None  # the time of the line before
    cursor: str  # of the journal's entry that was read last; empty for a log

    @property
    def unfinished(self) -> bool:
        """Whether a line was written in pieces, and some are still to come."""

    def read(self, line: bytes, now: datetime) -> LogMessage | None:
        """Take the header off a line without its LF; None where there is none that we know."""

    def glance(self, data: bytes, now: datetime) -> tuple[datetime | None, bool]:
        """Return the time of a block's last line, and whether a stamp in it may mean either of two times."""


@dataclass(slots=True, eq=False)
class Reading:
    """What is remembered between the lines of one log."""

    header: LineReader
    sieve: Sieve | EntrySieve | None  # None: every line is looked at
    sessions: Sessions = field(default_factory=lambda: Sessions(0))
    last: datetime | None = None  # stamp of the last line of the block that is read

    def mind_ends(self, *, ends: bool) -> None:
        """Say whether it matters from now on when a session ends."""
        self.sessions.mind_ends(ends=ends)
        if self.sieve is not None:
            self.sieve.mind_ends(ends=ends)

    @property
    def unsettled(self) -> bool:
        """Whether what comes next can only be read by who has read what came before."""
        return self.header.unfinished or self.sessions.unsettled


def write_place(checkpoint: str, doubted: Mapping[str, list[bytes]]) -> str:
    """Write down a place, with the writers of each log that were doubted there."""
    if not doubted:
        return checkpoint
    return json.dumps(
        {_DOUBTED: {log: [writer.decode("latin-1") for writer in doubted[log]] for log in doubted}, "place": checkpoint}
    )


def read_place(text: str) -> tuple[str, dict[str, list[bytes]]]:
    """Read what was written down: the source's checkpoint, and who was doubted."""
    if not text.startswith(f'{{"{_DOUBTED}":'):
        return text, {}
    data = json.loads(text)
    return data["place"], {log: [name.encode("latin-1") for name in names] for log, names in data[_DOUBTED].items()}


@dataclass(slots=True, eq=False)
class Followed:
    """A source, and what is remembered of it."""

    source: Source
    formats: Formats
    open_reading: Callable[[], Reading]  # for each of its logs
    reads: frozenset[str] | None = None  # the names of its formats; None: of all
    paused: bool = False  # another will go on where this one stands
    sight: Sight = field(default_factory=Sight)
    warned: set[str] = field(default_factory=set)  # the signs of blindness that were said
    counts: Counter[str] = field(default_factory=Counter)  # "lines", "unknown headers"
    last_line_at: datetime | None = None
    trouble: str | None = None
    blind_since: float | None = None  # seconds of CLOCK_BOOTTIME from when on nothing can be read here
    forgeable: str | None = None  # why nothing is believed that stands in it
    holds: Holds = field(default_factory=Holds)
    held: Sequence[Authorization] = ()  # sessions that were open before a restart
    doubted: Mapping[str, list[bytes]] = field(default_factory=dict)  # by log: writers that were doubted then
    ends: bool = False  # whether it matters when a session ends
    _readings: OrderedDict[str, Reading] = field(default_factory=OrderedDict)
    _idle_since: float | None = None  # when nothing came for the first time, seconds of CLOCK_BOOTTIME
    _held: int = 0  # bytes read since the place was last kept
    live: bool = False  # what comes now was written just now

    def mind_ends(self, *, ends: bool) -> None:
        """Say whether it matters from now on when a session ends: only then is each remembered until its logout."""
        self.ends = ends
        for reading in self._readings.values():
            reading.mind_ends(ends=ends)

    def reading(self, block: Block) -> Reading:
        """Return what is remembered of the log that a block stands in."""
        reading = self._readings.get(block.log)
        if reading is None:
            reading = self._readings[block.log] = self.open_reading()
            reading.mind_ends(ends=self.ends)
            log = block.log or self.source.name
            reading.sessions.doubt(self.doubted.get(log, ()))
            for held in self.held:
                if held.origin.source == log:
                    self.holds.restore(held)
                    name, _, key = held.session.partition(" ")
                    reading.sessions.reopen(name, key, held.client)
            if len(self._readings) > _LOGS:
                self._readings.popitem(last=False)
        if block.gap:
            reading.sessions.pass_gap()
        return reading

    def candidates(self, reading: Reading, data: bytes, now: datetime) -> Iterable[tuple[int, int]]:
        """Return where the lines stand that may mean something; all of them, where a stamp alone does not say when."""
        if not data:
            return ()
        reading.last, unsure = reading.header.glance(data, now)
        return every_line(data) if reading.sieve is None or unsure else reading.sieve.find(data)

    def read_line(self, reading: Reading, line: bytes, now: datetime) -> SessionEvent | None:
        """Return what a line means, together with those before it."""
        message = reading.header.read(line, now)
        if message is None:
            self.counts["unknown headers"] += bool(line)
            return None
        self.forgeable = self.forgeable or self.formats.forgeable(message)
        if self.forgeable is not None:  # strangers write whole lines into this log: of any form, of any server
            return None
        event = self.formats.read(message, ends=self.ends)
        if event is not None:
            if event.kind is EventKind.OTHER:
                self.sight.not_understood(message)
            elif event.kind is EventKind.LOGOUT and not self.ends and reading.sieve is not None:
                reading.sieve.met(message.program)  # it means nothing here, and the next ones may be passed by
            return reading.sessions.join(event)
        known = self.formats.knows(message.program)
        if known:
            self.sight.not_understood(message)
        if (known or not self.sight.heard(message)) and reading.sieve is not None:
            reading.sieve.met(message.program)
        return None

    def read_to(self, reading: Reading, block: Block, unknown: int, now: Moment) -> str:
        """Take in that a block was read, with so many unknown headers; return the place to keep, empty for none."""
        lines = block.data.count(b"\n")
        if lines:
            self.counts["lines"] += lines
            reading.header.previous = reading.last or reading.header.previous
            reading.sessions.forget(reading.last)
            self.last_line_at = reading.last or self.last_line_at
            self.sight.saw(lines, unknown, reading.last, now, live=self.live)
        # Whoever goes on from here would not know how to read what comes next: let them begin earlier.
        unsettled = any(each.unsettled for each in self._readings.values())
        self._held = self._held + len(block.data) if unsettled else 0
        if not block.checkpoint or 0 < self._held <= _HELD:
            return ""
        return write_place(block.checkpoint, self._doubted())

    def _doubted(self) -> dict[str, list[bytes]]:
        """Return who is doubted now; of a log that nothing was read of yet, who was before."""
        read = {log or self.source.name: each.sessions.doubted for log, each in self._readings.items()}
        return {log: writers for log, writers in {**self.doubted, **read}.items() if writers}

    def caught_up(self, now: Moment) -> None:
        """Take in that there is nothing more to read at present; from a while after the first time on, all is new."""
        if self.live or self.source.report().state not in ("following", "reading"):
            return
        self._idle_since = now.boottime if self._idle_since is None else self._idle_since
        self.live = now.boottime - self._idle_since >= _IDLE

    def blind(self, now: Moment) -> float:
        """Say for how many seconds nothing can be read here, as far as this was asked; 0 where something can."""
        if self.trouble is None and not self.source.report().waiting:
            self.blind_since = None
        elif self.blind_since is None:
            self.blind_since = now.boottime
        return 0.0 if self.blind_since is None else now.boottime - self.blind_since

    def names(self, log: str) -> bool:
        """Say whether a log is this source, or one of the logs whose names its pattern fits."""
        return log == self.source.name or fnmatchcase(log, self.source.name)

    def sees(self, held: Authorization) -> bool:
        """Say whether the end of a session would be read here."""
        return self.names(held.origin.source) and (self.reads is None or held.format in self.reads)


def share(held: Iterable[Authorization], followed: Sequence[Followed]) -> list[Authorization]:
    """Give each source the sessions that were open in its logs before it; return those whose end no source will see."""
    left = list(held)
    for each in followed:
        each.held = [session for session in left if each.sees(session)]
    return [session for session in left if not any(each.sees(session) for each in followed)]
