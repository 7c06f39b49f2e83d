"""Who may relay now, across restarts. The store is the truth; access maps are pictures of it."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.clock import Moment
from popbeforesmtp.errors import PopBeforeSmtpError
from popbeforesmtp.model import Authorization


class StoreError(PopBeforeSmtpError):
    """The store cannot be read or written at this time; nothing of what it was given is in it."""

    exit_status = 74  # EX_IOERR


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a source was read."""

    checkpoint: str  # in the source's own words
    time: datetime | None  # aware, UTC; stamp of the last line that had one


@dataclass(slots=True)
class Batch:
    """What is written in one go: all of it or nothing."""

    granted: dict[ClientAddress, Authorization] = field(default_factory=dict)
    ended: set[ClientAddress] = field(default_factory=set)
    progress: dict[str, Progress] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.granted or self.ended or self.progress)


class Store(Protocol):
    """Authorizations and checkpoints that outlive the process. Used by one thread at a time."""

    def load(self, now: Moment) -> list[Authorization]:
        """Return all that have not ended, with the time that is left to them. Raises StoreError."""

    def purge(self, now: Moment) -> None:
        """Take out all that have ended. Raises StoreError."""

    def progress(self) -> Mapping[str, Progress]:
        """Return how far each source was read. Raises StoreError."""

    def write(self, batch: Batch) -> None:
        """Take a batch, all of it or nothing; the later end of two wins. Raises StoreError."""

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


def left_over(authorizations: Iterable[Authorization], now: Moment) -> list[Authorization]:
    """Return those that have not ended."""
    return [authorization for authorization in authorizations if authorization.remaining(now) > 0]
