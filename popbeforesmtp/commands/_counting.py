"""Counts what one log holds, block by block, without a look at the lines that cannot mean anything, for ``scan``."""

from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import datetime
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
_ADDRESSES = 32_768  # that are remembered at most: clients come again


class Counting:
    """Counts one log, or a piece of one.

    What a program writes often is expected in one expression, together with its header: then no line need be cut out,
    no pattern be chosen, and no time be made of a stamp.

    ``later`` takes the lines of which each means something only by those before it, to be counted in their order by
    whoever counts these too; None counts them here.
    """

    def __init__(
        self,
        summary: Summary,
        header: "LineReader",
        formats: Formats,
        now: datetime,
        later: Callable[[bytes], None] | None = None,
    ) -> None:
        self._summary = summary
        self._before = summary.lines
        self._later = later or self.count
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
        self._known: set[bytes] = set()  # texts that are addresses
        self._last = b""

    def block(self, data: bytes, number: int) -> None:
        """Count whole lines, the first of which has this number; none at the end, when those before are known."""
        self._summary.lines = self._before + number - 1
        if not data:
            return
        first = data.find(b"\n")
        if self._sieve.keeps(data[: first + 1]):
            self._later(data[:first])
        plan, sieve, known = self._plans.get, self._sieve, self._known
        for head in sieve.heads(data):
            planned = plan(head.lastindex)
            if planned is not None:
                tally, service, address = planned
                start, end = head.span()
                if end - start < LONGEST_LOGIN and (
                    not address or head[address] in known or self._is_address(head[address])
                ):
                    tally[head[service]] += 1
                    continue
            self._match(data, head.start() + 1, head[sieve.program], head.end())
        self._expect()
        self._summary.saw(None if self._last else self._header.glance(data[: first + 1], self._now)[0])
        self._last = data

    def end(self) -> None:
        """Take in the end of the log, and when it was written."""
        self._add_up()
        if self._last:
            self._summary.saw(self._header.glance(self._last, self._now)[0])

    def _match(self, data: bytes, start: int, program: bytes | None, text: int) -> None:
        """Count a line by its program's patterns, where it tells enough by itself; its message begins at ``text``."""
        end = data.find(b"\n", start)
        if end < 0:  # behind the LF that ends the block
            return
        if program is not None and not self._formats.knows(program):
            self._sieve.met(program)
            return
        if program is None or program not in self._formats.alone or data.startswith(REPEATED, text):
            self._later(data[start:end])
            return
        found = self._formats.find(program, data, text, end)
        if found is not None:
            self._matched[program] += 1
            self._summary.kinds[found.kind] += 1
            return
        self._sieve.met(program)
        self._summary.unread += looks_like_a_login(data[text:end])

    def _is_address(self, text: bytes) -> bool:
        """Say whether a text that was not met of late is an address."""
        if not is_address(text):
            return False
        if len(self._known) >= _ADDRESSES:
            self._known.clear()
        self._known.add(text)
        return True

    def count(self, line: bytes) -> None:
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
