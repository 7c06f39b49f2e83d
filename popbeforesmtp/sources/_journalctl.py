"""A ``journalctl --follow`` that runs beside us: its output as it comes, and the end of it."""

import asyncio
import fcntl
import os
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO, cast

_PIECE = 65536
_PIPE = 1_048_576  # bytes: the most that fs/pipe-max-size lets everybody have, pipe(7)
_COMPLAINTS = 2000  # bytes of what it says on stderr that are kept, the last ones


class Journalctl:
    """One process; it ends by itself when nobody reads its output any more."""

    def __init__(self, command: Sequence[str]) -> None:
        """Start it. Raises OSError where that cannot be."""
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd="/",
            env={"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath)},
            start_new_session=True,  # what a terminal sends to us is not for it
        )
        self._output, self._errors = cast(IO[bytes], self._process.stdout), cast(IO[bytes], self._process.stderr)
        with suppress(OSError):  # it goes on while we read what it has written; the rest of us need not wait for it
            fcntl.fcntl(self._output.fileno(), fcntl.F_SETPIPE_SZ, _PIPE)
        os.set_blocking(self._output.fileno(), False)
        os.set_blocking(self._errors.fileno(), False)
        self._said = b""
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def watch(self, ring: Callable[[], None]) -> None:
        """Ring when it has written something; must be called inside the event loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._output.fileno(), ring)

    def read(self) -> bytes | None:
        """Return what it has written, None where that is nothing yet, no bytes where there will never be more."""
        self._listen()
        try:
            return os.read(self._output.fileno(), _PIECE)
        except BlockingIOError:
            return None

    def end(self) -> str:
        """Take leave of one that has closed its output, and say what it ended with."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(0.1)  # it is just about to end
        self._listen()
        self.close()
        status = self._process.returncode
        how = f"signal {-status}" if status is not None and status < 0 else f"status {status}"
        said = self._said.decode("ascii", "replace").strip().replace("\n", "; ")
        return f"{how}: {said}" if said else how

    def close(self) -> None:
        """End it at once, and take its status, so that no zombie is left."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._output.fileno())
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):  # in a disk's hands; subprocess reaps it later
            self._process.wait(1.0)
        self._output.close()
        self._errors.close()

    def _listen(self) -> None:
        """Keep the end of what it complains of; it would wait for us if we did not read that."""
        with suppress(BlockingIOError):
            while piece := os.read(self._errors.fileno(), _PIECE):
                self._said = (self._said + piece)[-_COMPLAINTS:]
