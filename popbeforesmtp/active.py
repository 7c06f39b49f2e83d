"""The active set: who may relay now, in memory, and what ends next.

It holds an address and the two ends of its window, packed into one number; who, which line and which rule lie in the
store. A question checks both clocks, so an answer is right to the microsecond, also before the timer has come round.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Protocol

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.clock import Moment
from popbeforesmtp.model import Authorization

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SECOND = 1_000_000  # microseconds
_TICK = 50_000  # microseconds: what ends within one is taken out together, at its end
_SPARE = 1000  # places of clients that stand nowhere any more, or elsewhere too, beside as many as there are clients
_MARK, _BITS = 64, 96  # where the account's mark and the end on the wall clock begin
_BOOTTIME = (1 << _MARK) - 1

Before = tuple[int, float]
"""The mark of the account whose login gave a window, and the end of the window in seconds since 1970."""


def mark(user: str) -> int:
    """Return 32 bits that tell accounts apart, by a hash that differs from process to process.

    Upper and lower case are the same, as to all rules: else one account would be many to the limits.
    """
    return hash(user.casefold()) & 0xFFFFFFFF


class Change(Enum):
    """What a grant did to the active set."""

    GRANTED = auto()
    RENEWED = auto()
    NONE = auto()  # a later end was known already


class Span(Protocol):
    """A client until a moment on two clocks: of an authorization, all that is kept here."""

    @property
    def client(self) -> ClientAddress:
        """Who."""

    @property
    def expires_at(self) -> datetime:
        """The end on the wall clock, aware, UTC."""

    @property
    def deadline(self) -> float:
        """The end in seconds of CLOCK_BOOTTIME."""

    @property
    def user(self) -> str:
        """Whose login it comes from, if any."""


class _Agenda:
    """Who is to be looked at when, by one of the clocks; a place may be too early, never too late."""

    def __init__(self) -> None:
        self._ticks: list[int] = []  # a heap of those that anybody stands at
        self._clients: dict[int, list[ClientAddress]] = {}
        self._places = 0

    def __len__(self) -> int:
        return self._places

    def add(self, client: ClientAddress, end: int) -> None:
        """Look at a client once its end has come, in microseconds."""
        tick = -(-end // _TICK)
        self._places += 1
        clients = self._clients.get(tick)
        if clients is None:
            heapq.heappush(self._ticks, tick)
            self._clients[tick] = [client]
        else:
            clients.append(client)

    def due(self, now: int) -> list[ClientAddress]:
        """Take out and return those to be looked at by now, and those of the tick that goes on."""
        due: list[ClientAddress] = []
        while self._ticks and self._ticks[0] * _TICK < now + _TICK:
            due += self._clients.pop(heapq.heappop(self._ticks))
        self._places -= len(due)
        return due

    def clear(self) -> None:
        """Look at nobody any more."""
        self._ticks.clear()
        self._clients.clear()
        self._places = 0

    def first(self) -> int:
        """Return when to look next; there must be somebody."""
        return self._ticks[0] * _TICK


class ActiveSet:
    """The clients that may relay."""

    def __init__(self) -> None:
        # The end on the wall clock, the mark of the account, the end of CLOCK_BOOTTIME; microseconds.
        self._ends: dict[ClientAddress, int] = {}
        # Every client stands in both, at or before its end: a renewal only changes _ends, and where the client stood it
        # is looked at and put back. Whichever clock comes first ends it.
        self._by_wall = _Agenda()
        self._by_boottime = _Agenda()

    def __len__(self) -> int:
        return len(self._ends)

    def __contains__(self, client: object) -> bool:
        return client in self._ends

    def __iter__(self) -> Iterator[ClientAddress]:
        return iter(self._ends)

    def grant(self, authorization: Span, now: Moment) -> Change:
        """Let a client relay; the later end wins, so order and repetition change nothing."""
        client = authorization.client
        wall, boottime = _wall(authorization.expires_at), _micros(authorization.deadline)
        now_wall, now_boottime = _wall(now.wall), _micros(now.boottime)
        left = min(wall - now_wall, boottime - now_boottime)
        before = self._ends.get(client)
        left_before = 0 if before is None else min((before >> _BITS) - now_wall, (before & _BOOTTIME) - now_boottime)
        if left <= 0 or left_before >= left:
            return Change.NONE
        self._ends[client] = wall << _BITS | mark(authorization.user) << _MARK | boottime
        if before is None or before >> _BITS > wall:
            self._by_wall.add(client, wall)
        if before is None or before & _BOOTTIME > boottime:
            self._by_boottime.add(client, boottime)
        return Change.RENEWED if left_before > 0 else Change.GRANTED

    def revoke(self, client: ClientAddress) -> None:
        """End a client's window before its time."""
        self._ends.pop(client, None)

    def settle(self, client: ClientAddress, left: Iterable[Authorization], now: Moment) -> bool:
        """Let a client's window end with what is left of its authorizations; say whether anything is."""
        self._ends.pop(client, None)
        for authorization in left:
            self.grant(authorization, now)
        return client in self._ends

    def before(self, client: ClientAddress, now: Moment) -> Before | None:
        """Return what is known of the login that gave a client its window, while it has one."""
        end = self._ends.get(client)
        if end is None or _left(end, now) <= 0:
            return None
        return end >> _MARK & 0xFFFFFFFF, (end >> _BITS) / _SECOND

    def permits(self, client: ClientAddress, now: Moment) -> bool:
        """Say whether a client may relay at this moment."""
        end = self._ends.get(client)
        return end is not None and _left(end, now) > 0

    def expires_at(self, client: ClientAddress, now: Moment) -> datetime | None:
        """Say when a client's leave ends, on the wall clock as it goes now; None where it has none."""
        end = self._ends.get(client)
        left = 0 if end is None else _left(end, now)
        return now.wall + timedelta(microseconds=left) if left > 0 else None

    def ends(self, now: Moment) -> Mapping[ClientAddress, datetime]:
        """Return all as they are now, with the ends of their windows; an end that has come is not after ``now``."""
        return _Ends(self._ends.copy(), now)

    def expire(self, now: Moment) -> list[ClientAddress]:
        """Take out and return all whose window has ended."""
        ended = []
        for agenda, moment, shift in (
            (self._by_wall, _wall(now.wall), _BITS),
            (self._by_boottime, _micros(now.boottime), 0),
        ):
            if len(agenda) > 2 * len(self._ends) + _SPARE:  # each window that was made shorter has left a place there
                agenda.clear()
                for client, ends in self._ends.items():
                    agenda.add(client, ends >> shift & _BOOTTIME)
            for client in agenda.due(moment):
                end = self._ends.get(client)
                if end is None:
                    continue
                if _left(end, now) <= 0:
                    del self._ends[client]
                    ended.append(client)
                else:
                    agenda.add(client, end >> shift & _BOOTTIME)
        return ended

    def next_end(self, now: Moment) -> float | None:
        """Say in how many seconds to look for ended windows again; None where there are none."""
        if not self._ends:
            return None
        left = min(self._by_wall.first() - _wall(now.wall), self._by_boottime.first() - _micros(now.boottime))
        return max(left, 0) / _SECOND


class _Ends(Mapping[ClientAddress, datetime]):
    """Who may relay until when, as it was at one moment; an end is put into words only when it is asked for."""

    def __init__(self, ends: dict[ClientAddress, int], now: Moment) -> None:
        self._ends = ends
        self._now = now

    def __getitem__(self, client: ClientAddress) -> datetime:
        return self._now.wall + timedelta(microseconds=_left(self._ends[client], self._now))

    def __iter__(self) -> Iterator[ClientAddress]:
        return iter(self._ends)

    def __len__(self) -> int:
        return len(self._ends)


def _wall(time: datetime) -> int:
    return (time - _EPOCH) // _MICROSECOND


def _micros(seconds: float) -> int:
    return round(seconds * _SECOND)


def _left(end: int, now: Moment) -> int:
    """Say for how many microseconds a window goes on; zero or less when it has ended."""
    return min((end >> _BITS) - _wall(now.wall), (end & _BOOTTIME) - _micros(now.boottime))
