"""The links of the chain from a login's log line to the mail server's answer; ``doctor`` looks at each.

One file per link: its docstring says what it proves, ``PLACE`` where it stands in the chain, and ``look`` gives what
was found. A new link is a new file; a file with an underscore in front is their own business, and that
of the lines that ``init`` prints.
"""

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, cast

from popbeforesmtp.errors import PopBeforeSmtpError
from popbeforesmtp.links._machine import Machine as Machine


class Level(StrEnum):
    """What a finding asks of the administrator."""

    SOUND = "ok"  # nothing
    NOTE = "note"  # to know it: it may be meant so
    WRONG = "wrong"  # to change something


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found on a link."""

    level: Level
    found: str  # a sentence: what is so
    change: str = ""  # a sentence, or the very line: what to change


class Link(Protocol):
    """One file of this folder."""

    PLACE: int  # from the log (low) to the mail server (high)

    def look(self, machine: Machine) -> Iterable[Finding]:
        """Give what is found on this link; nothing where it does not apply."""


def sound(found: str) -> Finding:
    """Say that something is as it must be."""
    return Finding(Level.SOUND, found)


def note(found: str, change: str = "") -> Finding:
    """Say something that may be meant so."""
    return Finding(Level.NOTE, found, change)


def wrong(found: str, change: str) -> Finding:
    """Say what is wrong, and what to change."""
    return Finding(Level.WRONG, found, change)


def links() -> list[tuple[str, Link]]:
    """Return all links by name, in the order of the chain."""
    names = [module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")]
    found = [(name, cast(Link, importlib.import_module(f"{__name__}.{name}"))) for name in names]
    return sorted(found, key=lambda item: (item[1].PLACE, item[0]))


def examine(machine: Machine) -> Iterator[tuple[str, Finding]]:
    """Go along the chain; what cannot be looked at is a finding too, and the next link is looked at all the same."""
    for name, link in links():
        try:
            for finding in link.look(machine):
                yield name, finding
        except (PopBeforeSmtpError, OSError) as error:
            yield name, wrong(f"this cannot be looked at: {error}", "run doctor as root, or put right what it says")
