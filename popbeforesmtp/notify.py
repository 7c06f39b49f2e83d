"""The service manager: systemd is told when we are ready, how it goes, and that we are alive (sd_notify(3))."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

from systemd_watchdog.systemd_watchdog import WatchDog

_STATUS_EVERY = 5.0  # seconds


class Manager:
    """systemd, where it started us and wants to hear; else nobody."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._systemd = WatchDog(self._socket)

    def ready(self) -> None:
        """Say that maps are true and sockets answer."""
        if self._systemd.is_enabled:
            self._systemd.ready()

    def stopping(self) -> None:
        """Say that the end has begun."""
        if self._systemd.is_enabled:
            self._systemd.status("stopping")

    def close(self) -> None:
        """Say no more."""
        self._socket.close()

    async def keep_alive(self, turns: Callable[[], int], summary: Callable[[], str]) -> None:
        """Say again and again that we are alive, as long as the pipeline comes round; a hung one is to be restarted."""
        every = min(_STATUS_EVERY, self._systemd.timeout_td.total_seconds() / 3)
        seen = -1
        while True:
            if self._systemd.is_enabled and turns() != seen:
                seen = turns()
                with suppress(OSError):  # systemd's socket is full, or it is being restarted itself
                    self._systemd.notify()
                    self._systemd.status(summary())
            await asyncio.sleep(every)
