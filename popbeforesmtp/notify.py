"""The service manager: systemd is told when we are ready, how it goes, and that we are alive (sd_notify(3))."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

from systemd_watchdog.systemd_watchdog import WatchDog

_STATUS_EVERY = 5.0  # seconds
_HUNG = 5.0  # seconds without a turn of the pipeline, which comes round every second


class Manager:
    """systemd, where it started us and wants to hear; else nobody."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._systemd = WatchDog(self._socket)

    def ready(self) -> None:
        """Say that maps are true and sockets answer."""
        self._tell(self._systemd.ready)

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._tell(lambda: self._systemd.status("stopping"))

    def close(self) -> None:
        """Say no more."""
        self._socket.close()

    async def keep_alive(self, turned_at: Callable[[], float], summary: Callable[[], str]) -> None:
        """Say again and again that we are alive, as long as the pipeline comes round; a hung one is to be restarted."""
        every = min(_STATUS_EVERY, self._systemd.timeout_td.total_seconds() / 4)
        loop = asyncio.get_running_loop()
        while True:
            if loop.time() - turned_at() < _HUNG:
                self._tell(self._systemd.notify)
                self._tell(lambda: self._systemd.status(summary()))
            await asyncio.sleep(every)

    def _tell(self, say: Callable[[], None]) -> None:
        """Say something, where there is somebody to hear it; nobody waits for him."""
        if self._systemd.is_enabled:
            with suppress(OSError):  # he is gone, or does not listen
                say()
