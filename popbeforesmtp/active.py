"""The active set: who may relay now, in memory, and what ends next.

It holds an address and the two ends of its window, nothing else; who, which line and which rule lie in the store.
A question checks both clocks, so an answer is right to the second even before the timer has come round.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.clock import Moment
from popbeforesmtp.model import Authorization


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

    def __init__(self) -> None:
        self._ends: dict[ClientAddress, _End] = {}
        # Every client stands in both heaps at least once, at or before its end: a renewal only changes _ends, and the
        # old place in a heap is where the client is looked at and put back. Whichever clock comes first ends it.
        self._by_wall: list[tuple[datetime, ClientAddress]] = []
        self._by_boottime: list[tuple[float, ClientAddress]] = []

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
        if before is None or before.expires_at > authorization.expires_at:
            heapq.heappush(self._by_wall, (authorization.expires_at, client))
        if before is None or before.deadline > authorization.deadline:
            heapq.heappush(self._by_boottime, (authorization.deadline, client))
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
        ended = []
        while self._by_wall and self._by_wall[0][0] <= now.wall:
            client = heapq.heappop(self._by_wall)[1]
            if self._take_out(client, now):
                ended.append(client)
            elif client in self._ends:
                heapq.heappush(self._by_wall, (self._ends[client].expires_at, client))
        while self._by_boottime and self._by_boottime[0][0] <= now.boottime:
            client = heapq.heappop(self._by_boottime)[1]
            if self._take_out(client, now):
                ended.append(client)
            elif client in self._ends:
                heapq.heappush(self._by_boottime, (self._ends[client].deadline, client))
        return ended

    def _take_out(self, client: ClientAddress, now: Moment) -> bool:
        """Take a client out if its window has ended."""
        end = self._ends.get(client)
        if end is None or end.remaining(now) > 0:
            return False
        del self._ends[client]
        return True

    def next_end(self, now: Moment) -> float | None:
        """Say in how many seconds to look for ended windows again; None where there are none."""
        if not self._ends:
            return None
        left = min((self._by_wall[0][0] - now.wall).total_seconds(), self._by_boottime[0][0] - now.boottime)
        return max(left, 0.0)
