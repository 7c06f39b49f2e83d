"""What was decided lately, for ``explain``: which logins were seen, and what became of them."""

from collections import deque
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from popbeforesmtp.model import Origin, SessionEvent

_MOST = 2000
"""Decisions that are remembered, about 1 MiB; older ones stand in the log."""


class Seen(NamedTuple):
    """A login or a failure, and what became of it."""

    event: SessionEvent
    origin: Origin
    outcome: str  # "granted", "renewed", "refused: …", "failed login"
    until: datetime | None = None


class History:
    """The last decisions, the oldest first."""

    def __init__(self) -> None:
        self._seen: deque[Seen] = deque(maxlen=_MOST)

    def add(self, seen: Seen) -> None:
        """Remember a decision."""
        self._seen.append(seen)

    def about(self, clients: frozenset[str], account: str | None) -> Iterator[Seen]:
        """Give what was decided about some addresses, or about an account, the newest first."""
        for seen in reversed(self._seen):
            user = seen.event.user or ""
            if seen.event.client in clients or (account is not None and user.casefold() == account.casefold()):
                yield seen
