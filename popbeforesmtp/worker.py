"""A thread that does one slow thing after the other: maps, the store.

Unlike an executor's, it never keeps the process from ending: what hangs in it (a postmap, a disk) dies with us, and is
made up for at the next start.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Worker:
    """One thread, used from one event loop."""

    def __init__(self, name: str) -> None:
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    async def do(
        self, function: Callable[Parameters, Result], *arguments: Parameters.args, **settings: Parameters.kwargs
    ) -> Result:
        """Do something in the thread, behind all that was asked before, and return or raise what it does.

        Who is cancelled meanwhile only does not hear of it.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Result] = loop.create_future()

        def tell(how: Callable[[], None]) -> None:
            if not done.cancelled():
                how()

        def task() -> None:
            how: Callable[[], None]
            try:
                how = partial(done.set_result, function(*arguments, **settings))
            except BaseException as error:  # noqa: BLE001 - it is raised where it was asked for
                how = partial(done.set_exception, error)
            with suppress(RuntimeError):  # the loop has ended: nobody waits any more
                loop.call_soon_threadsafe(tell, how)

        self._tasks.put(task)
        return await done

    def post(self, task: Callable[[], None]) -> None:
        """Do something in the thread that raises nothing, behind all that was asked before, and tell nobody."""
        self._tasks.put(task)

    def stop(self) -> None:
        """End when all that was asked is done."""
        self._tasks.put(None)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
