"""Answers given live, without a file: a lookup is asked at every RCPT, so its windows end to the second."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from popbeforesmtp.addresses import ClientAddress

Permits = Callable[[ClientAddress], bool]
"""Says whether a client may relay at this moment; never waits for anything."""


REFUSED = b"REJECT this network must log in to POP or IMAP first"
"""The action of access(5) for clients in the networks of ``restrict`` that may not relay."""


@dataclass(frozen=True, slots=True)
class LookupReport:
    """How a lookup is doing, for ``status``."""

    name: str
    connections: int
    questions: int
    granted: int


class Lookup(Protocol):
    """One socket that a mail server asks."""

    name: str

    async def start(self, permits: Permits) -> None:
        """Begin to answer. Raises CannotCreateError, NotPermittedError or UnavailableError."""

    def report(self) -> LookupReport:
        """Say how it is doing."""

    async def close(self) -> None:
        """Stop answering at once; the socket file is removed."""
