"""Who may relay now, across restarts. The store is the truth; access maps are pictures of it."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.clock import Moment
from popbeforesmtp.errors import PopBeforeSmtpError
from popbeforesmtp.model import Authorization, Key, Tombstone


class StoreError(PopBeforeSmtpError):
    """The store cannot be read or written at this time; nothing of what it was given is in it."""

    exit_status = 74  # EX_IOERR


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a source was read."""

    checkpoint: str  # in the source's own words
    time: datetime | None  # aware, UTC; stamp of the last line that had one


KEPT = timedelta(minutes=65535)
"""How long a tombstone is kept behind its end: as long as the longest grace period, in which an older login counts."""


@dataclass(slots=True)
class Batch:
    """What is written in one go: all of it or nothing. What came first is undone by what came later."""

    ended: set[ClientAddress] = field(default_factory=set)  # all authorizations of these clients, before the others
    closed: dict[ClientAddress, set[Key]] = field(default_factory=dict)  # one of a client's
    granted: dict[ClientAddress, dict[Key, Authorization]] = field(default_factory=dict)
    progress: dict[str, Progress] = field(default_factory=dict)
    tombstones: list[Tombstone] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.granted or self.closed or self.ended or self.progress or self.tombstones)

    @property
    def by_hand(self) -> bool:
        """Whether somebody's command is in it, which no log would tell again."""
        granted = (each for kept in self.granted.values() for each in kept.values())
        return bool(self.tombstones) or any(each.rule == "by hand" for each in granted)

    def grant(self, new: Authorization) -> None:
        """Keep an authorization; the later end of two wins."""
        kept = self.granted.setdefault(new.client, {})
        old = kept.get(new.key)
        if old is None or is_later(new, old):
            kept[new.key] = new

    def close(self, client: ClientAddress, key: Key) -> None:
        """Forget one authorization of a client."""
        self.granted.get(client, {}).pop(key, None)
        self.closed.setdefault(client, set()).add(key)

    def end(self, client: ClientAddress) -> None:
        """Forget all authorizations of a client."""
        self.granted.pop(client, None)
        self.closed.pop(client, None)
        self.ended.add(client)

    def then(self, later: "Batch") -> "Batch":
        """Return both as one, as if the later one had been added to this."""
        both = Batch(
            set(self.ended),
            {client: set(keys) for client, keys in self.closed.items()},
            {client: dict(kept) for client, kept in self.granted.items()},
            {**self.progress, **later.progress},
            [*self.tombstones, *later.tombstones],
        )
        for client in later.ended:
            both.end(client)
        for client, keys in later.closed.items():
            for key in keys:
                both.close(client, key)
        for kept in later.granted.values():
            for new in kept.values():
                both.grant(new)
        return both

    def over(self, stored: Iterable[Authorization]) -> list[Authorization]:
        """Return what a store that held those will hold when this was written to it."""
        left = {
            (old.client, old.key): old
            for old in stored
            if old.client not in self.ended and old.key not in self.closed.get(old.client, ())
        }
        for client, kept in self.granted.items():
            for key, new in kept.items():
                old = left.get((client, key))
                if old is None or is_later(new, old):
                    left[client, key] = new
        return list(left.values())


class Store(Protocol):
    """Authorizations and checkpoints that outlive the process. Used by one thread at a time."""

    def load(self, now: Moment) -> list[Authorization]:
        """Return all that have not ended, with the time that is left to them. Raises StoreError."""

    def load_client(self, client: ClientAddress, now: Moment) -> list[Authorization]:
        """Return those of one client that have not ended. Raises StoreError."""

    def purge(self, now: Moment) -> None:
        """Take out all that have ended. Raises StoreError."""

    def progress(self) -> Mapping[str, Progress]:
        """Return how far each source was read. Raises StoreError."""

    def write(self, batch: Batch) -> None:
        """Take a batch, all of it or nothing; the later end of two wins. Raises StoreError."""

    def tombstones(self) -> list[Tombstone]:
        """Return what was revoked by hand, and is not too long ago to matter. Raises StoreError."""

    def stopped_at(self) -> datetime | None:
        """Return when the daemon was stopped, by somebody's will; None while it runs and after a crash."""

    def set_stopped(self, at: datetime | None) -> None:
        """Keep when the daemon was stopped, or that it runs. Raises StoreError."""

    def maps(self) -> list[str]:
        """Return which access maps somebody of ours was let into, each as its type, a blank and its name."""

    def set_maps(self, names: Collection[str]) -> None:
        """Keep which access maps there are, so that one the configuration forgets can be emptied. Raises StoreError."""

    def close(self) -> None:
        """Let go of it."""


def is_later(new: Authorization, old: Authorization) -> bool:
    """Say whether one of two authorizations that are alike ends later than the other, on either clock."""
    return new.expires_at > old.expires_at or new.deadline > old.deadline


def left_over(authorizations: Iterable[Authorization], now: Moment) -> list[Authorization]:
    """Return those that have not ended."""
    return [authorization for authorization in authorizations if authorization.remaining(now) > 0]
