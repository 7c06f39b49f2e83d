"""``type = "memory"``: keeps nothing across restarts; the log is read again instead."""

from collections.abc import Collection, Mapping
from datetime import datetime

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.clock import Clock, Moment
from popbeforesmtp.model import Authorization, Tombstone
from popbeforesmtp.stores import KEPT, Batch, Progress, left_over


def open_store(*, clock: Clock) -> "MemoryStore":
    """Keep authorizations in memory alone."""
    del clock  # it lives no longer than the boot
    return MemoryStore()


class MemoryStore:
    """Authorizations that end with the process."""

    def __init__(self) -> None:
        self._authorizations: list[Authorization] = []
        self._tombstones: dict[tuple[str, str], Tombstone] = {}
        self._progress: dict[str, Progress] = {}
        self._stopped_at: datetime | None = None
        self._maps: set[str] = set()

    def load(self, now: Moment) -> list[Authorization]:
        """Return all that have not ended."""
        return left_over(self._authorizations, now)

    def load_client(self, client: ClientAddress, now: Moment) -> list[Authorization]:
        """Return those of one client that have not ended."""
        return left_over((each for each in self._authorizations if each.client == client), now)

    def purge(self, now: Moment) -> None:
        """Take out all that have ended."""
        self._authorizations = self.load(now)
        self._tombstones = {key: kept for key, kept in self._tombstones.items() if kept.until + KEPT > now.wall}

    def progress(self) -> Mapping[str, Progress]:
        """Return how far each source was read."""
        return dict(self._progress)

    def write(self, batch: Batch) -> None:
        """Take a batch; the later end of two wins, on either clock."""
        self._authorizations = batch.over(self._authorizations)
        self._progress.update(batch.progress)
        self._tombstones.update({(each.kind, each.name): each for each in batch.tombstones})

    def tombstones(self) -> list[Tombstone]:
        """Return what was revoked by hand."""
        return list(self._tombstones.values())

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
