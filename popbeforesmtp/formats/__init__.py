"""What a login looks like: one TOML file per server family, read by ``_format.py`` and used by ``_engine.py``."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.model import EventKind, LogMessage, SessionEvent
from popbeforesmtp.sieve import Sieve

NO_MAILBOX = frozenset(("managesieve", "submission"))
"""Services whose logins are read only to be refused by name: they prove a password, but open no mailbox."""


LONGEST_LOGIN = 2048
"""Bytes of the longest message that can be a login or a logout; no server writes longer ones, forgers do."""


@dataclass(frozen=True, eq=False, slots=True)
class Kind:
    """What a line means, but for who and when; there is one of each, so that they are told apart at once."""

    format: str
    event: EventKind
    service: str | None  # "pop3", "imap", or what the format calls it
    join: tuple[str, ...]  # what may name the session
    tls: tuple[str, ...] = ()  # groups of which one matches where it was encrypted; none where the lines do not say


class Found(NamedTuple):
    """A message that one pattern of a format matches whole."""

    kind: Kind
    match: re.Match[bytes]
    client: ClientAddress | None


class Ending(NamedTuple):
    """What a match of a blend says by the group that it ends with: which pattern it was, and where to look."""

    kind: Callable[[bytes | None], Kind]  # what it means, by what was captured as service, if anything
    service: int  # number of that group; where no service is captured, of one that is empty
    address: int  # number of the group of an address, which must be one; 0 where there is none


@dataclass(frozen=True, slots=True)
class Blend:
    """Patterns of one program in one expression, in their order."""

    text: bytes  # without a group that has a name; to be read with re.VERBOSE
    last: int  # number of its last group
    endings: Mapping[int | None, Ending]  # by the number of the group that it ends with


class Formats(Protocol):
    """The formats in use."""

    @property
    def programs(self) -> tuple[bytes, ...]:
        """The syslog tags that some format reads."""

    @property
    def alone(self) -> frozenset[bytes | None]:
        """Those of the programs whose lines tell enough each by itself, so that `find` does for them."""

    def knows(self, program: bytes | None) -> bool:
        """Say whether some format reads the lines of a program."""

    def read(self, message: LogMessage, *, ends: bool = True) -> SessionEvent | None:
        """Return the event that a message reports, or None.

        Where not asked for ``ends`` of sessions, a logout in a log may be no more than that.
        """

    def warning(self, name: str) -> str:
        """Say what nobody can exclude who reads a format's log; empty where that is nothing of its own."""

    def forgeable(self, message: LogMessage) -> str | None:
        """Say why a line of a server's own log cannot be believed, where it is one of those; else None."""

    def find(self, program: bytes | None, data: bytes, start: int, end: int) -> Found | None:
        """Match a message that stands in ``data`` from ``start`` to ``end``; None where it means nothing."""

    def blend(self, program: bytes, before: int) -> Blend | None:
        """Put the patterns that a program's lines have matched so far into one expression, where that can be done.

        So many groups will stand before it.
        """

    def sieve(self, also: tuple[bytes, ...] = ()) -> Sieve:
        """Make a sieve for one log, that passes by what no pattern can match; all lines of programs ``also`` stay."""
