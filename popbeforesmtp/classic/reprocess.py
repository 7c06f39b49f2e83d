"""``--reprocess``: reads a whole log, takes each line's own time as now, and says what would have been done.

Nothing is written. The classic wrote its map by this too, and left those of yesterday in it for good.
"""

import time
from collections.abc import Callable
from datetime import datetime

from popbeforesmtp import __version__, detect, postconf
from popbeforesmtp.addresses import NEVER, ClientAddress, NetworkSet, parse_network
from popbeforesmtp.classic import reading, words
from popbeforesmtp.classic.plan import Plan
from popbeforesmtp.errors import UnavailableError
from popbeforesmtp.model import EventKind, SessionEvent

Say = Callable[[str], object]


def reprocess(plan: Plan, say: Say) -> None:
    """Go through the plan's log; ``say`` writes a line."""
    replay = _Replay(plan, say)
    replay.say(words.starting(__version__))
    name = plan.source or str(detect.mail_log())
    for line in reading.read(name, plan):
        if line.time is not None:
            replay.tick(line.time.timestamp())
        event = line.event
        if event is not None and event.time is not None and event.client is not None:
            replay.take(event, event.client, event.time)
    replay.say("------ reached end of log file ------")
    if not replay.began:
        replay.say("$logtime_pat did not match a timestamp")


class _Replay:
    """Who could have relayed, as the log goes by."""

    def __init__(self, plan: Plan, say: Say) -> None:
        self._plan = plan
        self._say = say
        self.began = False  # a line had a time
        self._now = time.time()  # seconds since 1970; that of the line, once there is one
        self._next = float("inf")  # when the first window ends, or earlier
        self._ends: dict[ClientAddress, float] = {}
        self._open: dict[ClientAddress, int] = {}  # sessions
        self._trusted = _trusted(plan)

    def say(self, what: str, *, debug: bool = False) -> None:
        """Write a line in the classic's form, at the time of the log."""
        if self._plan.debug or not debug:
            self._say(time.strftime(words.STAMP, time.localtime(self._now)) + what)

    def tick(self, now: float) -> None:
        """Let time go by, and end what is over."""
        self.began, self._now = True, now
        if now < self._next:
            return
        for client in [each for each, end in self._ends.items() if end <= now and not self._open.get(each)]:
            del self._ends[client]
            self.say(words.removed(client))
        self._next = min((end for each, end in self._ends.items() if not self._open.get(each)), default=float("inf"))

    def take(self, event: SessionEvent, client: ClientAddress, at: datetime) -> None:
        """Take in a login, or the end of a session."""
        if event.kind is EventKind.LOGIN and event.user:
            self._login(client, at.timestamp())
        elif event.kind is EventKind.LOGOUT and self._plan.hold is not None and client in self._ends:
            self.say(words.found(client, -1), debug=True)
            self._open[client] = max(self._open.get(client, 0) - 1, 0)
            self._set(client, at.timestamp())

    def _login(self, client: ClientAddress, at: float) -> None:
        if client in self._trusted:
            self.say(words.local(client), debug=True)
            return
        if client in NEVER:
            self.say(f"ignoring ip={client}: it is never authorized", debug=True)
            return
        holds = self._plan.hold is not None
        self.say(words.found(client, int(holds)), debug=True)
        if holds:
            self._open[client] = self._open.get(client, 0) + 1
            self.say(f"connection count for ip={client} is now {self._open[client]}", debug=True)
        new = client not in self._ends
        self._set(client, at)
        if new:
            self.say(words.added(client))

    def _set(self, client: ClientAddress, at: float) -> None:
        """Let a window end a grace from now, unless a session is open."""
        self._ends[client] = max(self._ends.get(client, 0.0), at + self._plan.grace)
        self._next = min(self._next, self._ends[client])
        if not self._open.get(client):
            self.say(words.ends(client, self._ends[client]), debug=True)


def _trusted(plan: Plan) -> NetworkSet:
    if plan.trusted is not None:
        return NetworkSet(map(parse_network, plan.trusted))
    try:
        return NetworkSet(postconf.trusted_networks().networks)
    except UnavailableError:
        return NetworkSet()
