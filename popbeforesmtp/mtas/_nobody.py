"""A map without clients that is kept ready beside the true one, to be renamed over it where nothing can be written.

On a full disk a rename still works.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from popbeforesmtp.mtas import MapError


class Nobody:
    """The empty map that belongs to one map."""

    def __init__(self, path: Path, replacing: Callable[[Path], AbstractContextManager[object]] = nullcontext) -> None:
        """``replacing`` surrounds the rename over ``path``."""
        self.path = path.with_name(f".{path.name}.nobody")
        self._over = path
        self._replacing = replacing
        self._in_place = False

    def is_beside(self) -> bool:
        """Say whether it is there, to be renamed."""
        return self.path.exists()

    def gave_way(self) -> None:
        """Hear that the true map was written anew in its place."""
        self._in_place = False

    def take_over(self) -> None:
        """Put it in the true map's place, unless it is there already. Raises MapError."""
        try:
            with self._replacing(self._over):
                self.path.rename(self._over)
        except FileNotFoundError:
            if not self._in_place:
                raise MapError(f"{self.path}: is not there") from None
        except OSError as error:
            raise MapError(f"{self.path}: {error.strerror}") from None
        self._in_place = True
