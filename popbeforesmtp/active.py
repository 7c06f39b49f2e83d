"""The active set: who may relay now, in memory, and what ends next.

It holds an address and the two ends of its window, nothing else; who, which line and which rule lie in the store.
A question checks both clocks, so an answer is right to the second even before the timer has come round.
"""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.clock import Moment
from popbeforesmtp.model import Authorization

_STEP = timedelta(seconds=0.1)
"""How far the wall clock may run ahead of CLOCK_BOOTTIME before every deadline is looked at again."""


class Change(Enum):
    """What a grant did to the active set."""

    GRANTED = auto()
    RENEWED = auto()
    NONE = auto()  # a later end was known already


@dataclass(slots=True)
class _End:
    """The two ends of one window."""

    expires_at: datetime
    deadline: float

    def remaining(self, now: Moment) -> float:
        return min((self.expires_at - now.wall).total_seconds(), self.deadline - now.boottime)


class ActiveSet:
    """The clients that may relay."""

    def __init__(self, now: Moment) -> None:
        self._ends: dict[ClientAddress, _End] = {}
        # Every client stands in the heap at least once, at or before its deadline: a renewal only changes _end, and the
        # old place in the heap is where the client is looked at and put back.
        self._heap: list[tuple[float, ClientAddress]] = []
        self._clocks = now

    def __len__(self) -> int:
        return len(self._ends)

    def __contains__(self, client: object) -> bool:
        return client in self._ends

    def __iter__(self) -> Iterator[ClientAddress]:
        return iter(self._ends)

    def grant(self, authorization: Authorization, now: Moment) -> Change:
        """Let a client relay; the later end wins, so order and repetition change nothing."""
        client = authorization.client
        left = authorization.remaining(now)
        if left <= 0:
            return Change.NONE
        before = self._ends.get(client)
        left_before = 0.0 if before is None else before.remaining(now)
        if left_before >= left:
            return Change.NONE
        self._ends[client] = _End(authorization.expires_at, authorization.deadline)
        if before is None or before.deadline > authorization.deadline:
            heapq.heappush(self._heap, (authorization.deadline, client))
        return Change.RENEWED if left_before > 0 else Change.GRANTED

    def revoke(self, client: ClientAddress) -> None:
        """End a client's window before its time."""
        self._ends.pop(client, None)

    def permits(self, client: ClientAddress, now: Moment) -> bool:
        """Say whether a client may relay at this moment."""
        end = self._ends.get(client)
        return end is not None and end.remaining(now) > 0

    def expires_at(self, client: ClientAddress, now: Moment) -> datetime | None:
        """Say when a client's leave ends, on the wall clock as it goes now; None where it has none."""
        end = self._ends.get(client)
        left = 0.0 if end is None else end.remaining(now)
        return now.wall + timedelta(seconds=left) if left > 0 else None

    def expire(self, now: Moment) -> list[ClientAddress]:
        """Take out and return all whose window has ended."""
        self._follow_the_wall_clock(now)
        ended = []
        while self._heap and self._heap[0][0] <= now.boottime:
            _, client = heapq.heappop(self._heap)
            end = self._ends.get(client)
            if end is None:
                continue
            if end.remaining(now) <= 0:
                del self._ends[client]
                ended.append(client)
            else:
                heapq.heappush(self._heap, (end.deadline, client))
        return ended

    def next_end(self, now: Moment) -> float | None:
        """Say in how many seconds to look for ended windows again; None where there are none."""
        return max(self._heap[0][0] - now.boottime, 0.0) if self._heap else None

    def _follow_the_wall_clock(self, now: Moment) -> None:
        """Where the wall clock was set forward, windows end sooner than CLOCK_BOOTTIME says: bring deadlines nearer."""
        ahead = (now.wall - self._clocks.wall) - timedelta(seconds=now.boottime - self._clocks.boottime)
        if abs(ahead) < _STEP:
            return
        self._clocks = now
        if ahead < timedelta():
            return
        for end in self._ends.values():
            end.deadline = now.boottime + end.remaining(now)
        self._heap = [(end.deadline, client) for client, end in self._ends.items()]
        heapq.heapify(self._heap)


def restore(active: ActiveSet, authorizations: Iterable[Authorization], now: Moment) -> None:
    """Take up what a store kept, each with the time that was left to it."""
    for authorization in authorizations:
        active.grant(authorization, now)
