"""Where log lines come from. A source hands over whole lines in blocks of bytes, and says where to go on after each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from popbeforesmtp.model import Block


@dataclass(frozen=True, slots=True)
class SourceReport:
    """How a source is doing, for ``status``."""

    name: str
    state: str  # one word or sentence: "following", "waiting for the file", …
    offset: int | None = None  # bytes read of the current file
    size: int | None = None  # bytes it has
    too_long: int = 0  # lines passed by because they were too long
    waiting: bool = False  # nothing can be read, and that is worth a warning


class Source(Protocol):
    """One log, whatever becomes of the files that it is written to."""

    name: str
    journal: bool  # its lines are the journal's entries, as ``journalctl -o json`` writes them; else they are a log's

    @property
    def format(self) -> str | None:
        """The one format that its lines are of; None: any that comes with the program."""

    def watch(self, ring: Callable[[], None]) -> None:
        """Begin to call ``ring``, from any thread, whenever there may be something to read."""

    def read(self) -> Block | None:
        """Return the next lines, or None where there are none at present. Raises OSError, and may be called again."""

    def notices(self) -> list[str]:
        """Return, once, what the administrator should know: a rotation, a truncation, a place not found again."""

    def ended(self) -> bool:
        """Say whether there will never be more to read."""

    def report(self) -> SourceReport:
        """Say how it is doing."""

    def close(self) -> None:
        """Stop watching, and let go of all files."""
