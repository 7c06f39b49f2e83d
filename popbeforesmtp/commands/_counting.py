"""Counts what one log holds, block by block, without a look at the lines that cannot mean anything, for ``scan``."""

from collections import Counter, defaultdict
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from popbeforesmtp.addresses import is_address
from popbeforesmtp.commands._summary import Summary
from popbeforesmtp.formats import LONGEST_LOGIN, Ending, Formats
from popbeforesmtp.header import REPEATED
from popbeforesmtp.model import EventKind
from popbeforesmtp.sessions import Sessions
from popbeforesmtp.sight import looks_like_a_login

if TYPE_CHECKING:
    from popbeforesmtp.following import LineReader

_OFTEN = 64  # lines of a program that are matched one by one before it is worth an expression, or another
_is_address = lru_cache(32_768)(is_address)


class Counting:
    """Counts one log.

    What a program writes often is expected in one expression, together with its header: then no line need be cut out,
    no pattern be chosen, and no time be made of a stamp.
    """

    def __init__(self, summary: Summary, header: "LineReader", formats: Formats, now: datetime) -> None:
        self._summary = summary
        self._header = header
        self._formats = formats
        self._now = now
        self._sessions = Sessions()
        self._sieve = formats.sieve()
        self._matched: Counter[bytes] = Counter()  # lines that were matched one by one, by program
        self._often: dict[bytes, int] = {}  # programs that are expected, and how many lines change that
        self._bodies: dict[bytes, bytes] = {}
        self._endings: dict[int | None, Ending] = {}
        # By the last group of a match: how often each service was met, and the groups of service and address.
        self._plans: dict[int | None, tuple[defaultdict[bytes, int], int, int]] = {}
        self._last = b""

    def block(self, data: bytes) -> None:
        """Count whole lines."""
        first = data.find(b"\n")
        if self._sieve.keeps(data[: first + 1]):
            self._count(data[:first])
        plans, sieve, known = self._plans, self._sieve, _is_address
        for head in sieve.heads(data):
            plan = plans.get(head.lastindex)
            if plan is not None:
                tally, service, address = plan
                if (not address or known(head[address])) and head.end() - head.start() < LONGEST_LOGIN:
                    tally[head[service]] += 1
                    continue
            self._match(data, head.start() + 1, head[sieve.program], head.end())
        self._expect()
        self._summary.saw(None if self._last else self._header.glance(data[: first + 1], self._now)[0])
        self._last = data

    def end(self) -> None:
        """Take in the end of the log: the lines of the last block, and when it was written."""
        self._add_up()
        if self._last:
            self._summary.lines += self._last.count(b"\n")
            self._summary.saw(self._header.glance(self._last, self._now)[0])

    def _match(self, data: bytes, start: int, program: bytes | None, text: int) -> None:
        """Count a line by its program's patterns, where it tells enough by itself; its message begins at ``text``."""
        end = data.find(b"\n", start)
        if end < 0:  # behind the LF that ends the block
            return
        if program is None or program not in self._formats.alone or data.startswith(REPEATED, text):
            self._count(data[start:end])
            return
        found = self._formats.find(program, data, text, end)
        if found is not None:
            self._matched[program] += 1
            self._summary.kinds[found.kind] += 1
            return
        self._sieve.met(program)
        self._summary.unread += looks_like_a_login(data[text:end])

    def _count(self, line: bytes) -> None:
        """Count what a line means, together with those before it."""
        message = self._header.read(line, self._now)
        if message is None:
            self._summary.unknown_headers += bool(line)
            return
        event = self._formats.read(message)
        if event is None:
            self._sieve.met(message.program)
        if (event is None and self._formats.knows(message.program)) or (event and event.kind is EventKind.OTHER):
            self._summary.unread += looks_like_a_login(message.text)
        event = None if event is None else self._sessions.join(event)
        if event is not None:
            self._summary.event(event)

    def _expect(self) -> None:
        """Make an expression of what has been matched often, and another each time that has doubled."""
        grown = [program for program, lines in self._matched.items() if lines >= self._often.get(program, _OFTEN)]
        if not grown:
            return
        self._often |= {program: 2 * self._matched[program] for program in grown}
        bodies: dict[bytes, bytes] = {}
        endings: dict[int | None, Ending] = {}
        last = 0
        for program in self._often:
            blend = self._formats.blend(program, last)
            if blend is not None:
                bodies[program], last = blend.text, blend.last
                endings.update(blend.endings)
        if bodies != self._bodies:
            self._add_up()
            self._bodies, self._endings = bodies, endings
            self._plans = {group: (defaultdict(int), each.service, each.address) for group, each in endings.items()}
            self._sieve.expect(bodies, last)

    def _add_up(self) -> None:
        """Bring what was tallied into the summary."""
        for group, (tally, _, _) in self._plans.items():
            for called, count in tally.items():
                self._summary.kinds[self._endings[group].kind(called)] += count
            tally.clear()
