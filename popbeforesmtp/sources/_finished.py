"""Files of one log that were read to their end and let go: where one is met again, it is not read twice.

Read again, a line would do nothing new, but for one thing: where a clock was set back meanwhile, it would open a longer
window than it did the first time.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress

from popbeforesmtp.sources._checkpoint import Place
from popbeforesmtp.sources._openlog import OpenLog

_AT_MOST = 100
"""Files that are remembered, the youngest: as many as are opened at once."""


class Finished:
    """The places at which files were let go, each at its file's end."""

    def __init__(self, places: Iterable[Place] = ()) -> None:
        self._places = list(places)

    def __iter__(self) -> Iterator[Place]:
        return iter(self._places)

    def add(self, log: OpenLog, oldest: int) -> None:
        """Remember a file, and forget those that were last written to before ``oldest``: nobody opens them again."""
        new = log.place()
        places = [place for place in self._places if place.modified >= oldest and place != new]
        self._places = [*places, *([new] if new.offset > 0 else [])][-_AT_MOST:]

    def take_up(self, log: OpenLog) -> None:
        """Go on where a file was let go, if it is one of these, whatever its name and form are now."""

        def unlikely(place: Place) -> tuple[bool, int, int]:
            other = (place.device, place.inode) != log.identity
            return other, abs(place.modified - log.modified()), -place.offset

        with suppress(OSError):  # whoever reads it finds out
            any(log.take_up(place) for place in sorted(self._places, key=unlikely))
