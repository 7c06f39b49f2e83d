"""Access maps: lookup tables that a mail server reads, one client address per key."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Protocol

from popbeforesmtp.addresses import ClientAddress, parse_address
from popbeforesmtp.errors import DataError, PopBeforeSmtpError


class MapError(PopBeforeSmtpError):
    """The map could not be written this time; it is as it was, and writing it may be tried again."""

    exit_status = 73  # EX_CANTCREAT


class AccessMap(Protocol):
    """One map of one mail server. All methods may take long, and are called by one thread at a time."""

    name: str  # as the mail server's configuration names it
    interval: float  # seconds from one publish to the next, at least; what comes meanwhile is gathered
    timed: bool  # whether it keeps the ends of windows, and so hears of renewals too

    def replace(self, clients: Mapping[ClientAddress, datetime]) -> None:
        """Make the map, where it is missing, and make it hold exactly these clients, each until its end.

        The ends are aware, in UTC; one may have come already, and the client is then taken out soon. Raises MapError.
        """

    def change(self, come: Mapping[ClientAddress, datetime], go: Collection[ClientAddress]) -> None:
        """Add some, each until its end, and take some out; a timed map also hears of later ends so. Raises MapError."""

    def shut(self) -> None:
        """Let nobody in, also where nothing can be written any more. Raises MapError."""

    def lost(self) -> bool:
        """Say whether the map was removed or replaced behind our back, so that it must be made anew.

        What nobody can ask may be told again instead. Raises MapError where that fails.
        """

    def cannot_hold(self, client: ClientAddress) -> str | None:
        """Say why a client may not be in this map, where its key would let others in too."""

    def close(self) -> None:
        """Let go of the map; it stays as it is."""


def refuse_foreign(path: Path, keys: Iterable[str]) -> None:
    """Refuse to take entries out of a map that somebody else keeps: ours holds addresses alone. Raises DataError."""
    for key in keys:
        if parse_address(key) is None:
            raise DataError(f"{path}: holds an entry that is not ours ({key!a}); give pop-before-smtp a map of its own")
