"""Unpacks a compressed log in a thread: for seconds, in which the event loop has other things to do.

As many as two are unpacked at a time, whatever the number of logs: each may need much room on the disk.
"""

import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from popbeforesmtp.lines import UNPACK, UNREADABLE

_PIECE = 262_144
_ROOM = Path("/var/tmp")  # noqa: S108 - "for larger files", file-hierarchy(7); /tmp may be memory. The file has no name.
_turns = threading.Semaphore(2)


class Unpacking:
    """A compressed file that becomes a plain one without a name."""

    def __init__(self, packed: int, suffix: str) -> None:
        self.plain: int | None = None  # descriptor of the plain file, which the caller takes over
        self.error: Exception | None = None
        self._packed = packed
        self._suffix = suffix
        self._lock = threading.Lock()
        self._begun = self._done = self._given_up = False

    def ready(self, ring: Callable[[], None]) -> bool:
        """Say whether it is done; begin if not begun, and ring when it is time to ask again. Raises what went wrong."""
        if not self._begun:
            if _turns.acquire(blocking=False):
                self._begun = True
                threading.Thread(target=self._work, args=(ring,), name="unpack", daemon=True).start()
            return False
        if self.error is not None:
            raise self.error
        return self._done

    def give_up(self) -> None:
        """Let go of it, done or not."""
        with self._lock:
            self._given_up = True
            if self.plain is not None:
                os.close(self.plain)
                self.plain = None
        if not self._begun:
            os.close(self._packed)

    def _work(self, ring: Callable[[], None]) -> None:
        try:
            self._unpack()
        except UNREADABLE as error:
            self.error = error
        finally:
            self._done = True
            _turns.release()
            ring()

    def _unpack(self) -> None:
        room = _ROOM if os.access(_ROOM, os.W_OK) else None
        with (
            os.fdopen(self._packed, "rb") as stream,
            UNPACK[self._suffix](stream) as packed,
            tempfile.TemporaryFile(dir=room) as plain,
        ):
            while piece := packed.read(_PIECE):
                if self._given_up:
                    return
                plain.write(piece)
            plain.flush()
            with self._lock:
                if not self._given_up:
                    self.plain = os.dup(plain.fileno())


def beginning(descriptor: int, suffix: str, size: int) -> bytes:
    """Return the first bytes of a compressed file's contents, as many as can be read."""
    with os.fdopen(os.dup(descriptor), "rb") as stream:
        stream.seek(0)
        try:
            with UNPACK[suffix](stream) as packed:
                return packed.read(size)
        except UNREADABLE:
            return b""
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
