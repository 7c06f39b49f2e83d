"""Scenes that a test plays in an event loop, and an ear for what is said meanwhile."""

import asyncio
import logging
from collections.abc import Callable, Coroutine

LIMIT = 5.0  # seconds


class Ear(logging.Handler):
    """Hears what the daemon says."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        self.said.append(record.getMessage())


def play(scene: Callable[[], Coroutine[None, None, None]], limit: float = LIMIT) -> None:
    """Run a scene, with a limit in place of waiting for ever."""

    async def limited() -> None:
        async with asyncio.timeout(limit):
            await scene()

    asyncio.run(limited())


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another thread does; the scene's limit ends it."""
    while not condition():
        await asyncio.sleep(0.001)
