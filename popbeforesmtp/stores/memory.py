"""``type = "memory"``: keeps nothing across restarts; the log is read again instead."""

from collections.abc import Collection, Mapping
from datetime import datetime

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.clock import Clock, Moment
from popbeforesmtp.model import Authorization
from popbeforesmtp.stores import Batch, Progress, left_over


def open_store(*, clock: Clock) -> "MemoryStore":
    """Keep authorizations in memory alone."""
    del clock  # it lives no longer than the boot
    return MemoryStore()


class MemoryStore:
    """Authorizations that end with the process."""

    def __init__(self) -> None:
        self._authorizations: dict[ClientAddress, Authorization] = {}
        self._progress: dict[str, Progress] = {}
        self._stopped_at: datetime | None = None
        self._maps: set[str] = set()

    def load(self, now: Moment) -> list[Authorization]:
        """Return all that have not ended."""
        return left_over(self._authorizations.values(), now)

    def purge(self, now: Moment) -> None:
        """Take out all that have ended."""
        self._authorizations = {grant.client: grant for grant in self.load(now)}

    def progress(self) -> Mapping[str, Progress]:
        """Return how far each source was read."""
        return dict(self._progress)

    def write(self, batch: Batch) -> None:
        """Take a batch; the later end of two wins, on either clock."""
        for client in batch.ended:
            self._authorizations.pop(client, None)
        for client, new in batch.granted.items():
            old = self._authorizations.get(client)
            if old is None or new.expires_at > old.expires_at or new.deadline > old.deadline:
                self._authorizations[client] = new
        self._progress.update(batch.progress)

    def stopped_at(self) -> datetime | None:
        """Return when the daemon was stopped."""
        return self._stopped_at

    def set_stopped(self, at: datetime | None) -> None:
        """Keep when the daemon was stopped, or that it runs."""
        self._stopped_at = at

    def maps(self) -> list[str]:
        """Return which access maps there are."""
        return sorted(self._maps)

    def set_maps(self, names: Collection[str]) -> None:
        """Keep which access maps there are."""
        self._maps = set(names)

    def close(self) -> None:
        """Forget everything."""
        self._authorizations.clear()
        self._progress.clear()
