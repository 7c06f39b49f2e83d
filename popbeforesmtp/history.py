"""What was decided lately, for ``explain``: which logins were seen, and what became of them."""

from collections import deque
from collections.abc import Iterator
from datetime import datetime
from heapq import merge
from operator import itemgetter
from typing import NamedTuple

from popbeforesmtp.model import EventKind, Origin, SessionEvent

_MOST = 1000
"""Decisions of each kind that are remembered, about 1 MiB; older ones stand in the log."""

_LONGEST = 320
"""Letters of a name that are remembered: strangers send thousands, and no account is called so."""


class Seen(NamedTuple):
    """A login or a failure, and what became of it."""

    event: SessionEvent
    origin: Origin
    outcome: str  # "granted", "renewed", "refused: …", "failed login"
    until: datetime | None = None


class History:
    """The last decisions; what strangers can cause as often as they like pushes no login out."""

    def __init__(self) -> None:
        self._logins: deque[tuple[int, Seen]] = deque(maxlen=_MOST)
        self._others: deque[tuple[int, Seen]] = deque(maxlen=_MOST)  # failures, and what the server did not write
        self._count = 0

    def add(self, seen: Seen) -> None:
        """Remember a decision."""
        self._count += 1
        if len(seen.event.user or "") > _LONGEST:
            seen = seen._replace(event=seen.event._replace(user=f"{(seen.event.user or '')[:_LONGEST]}…"))
        login = seen.event.kind is EventKind.LOGIN and seen.event.genuine
        (self._logins if login else self._others).append((self._count, seen))

    def about(self, clients: frozenset[str], account: str | None) -> Iterator[Seen]:
        """Give what was decided about some addresses, or about an account, the newest first."""
        both = merge(reversed(self._logins), reversed(self._others), key=itemgetter(0), reverse=True)
        for _, seen in both:
            user = seen.event.user or ""
            if seen.event.client in clients or (account is not None and user.casefold() == account.casefold()):
                yield seen
