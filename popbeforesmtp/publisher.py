"""Brings who comes and who goes to one access map, in a thread of its own.

What comes while the map is being written is gathered for the next time; what only makes a window longer is told to
timed maps alone, and waits for the next time too. A failure leaves the map as it was; from then
on the whole active set is brought to it, again and again, until that works.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial

from popbeforesmtp import maillog
from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.errors import PopBeforeSmtpError
from popbeforesmtp.mtas import AccessMap, MapError
from popbeforesmtp.worker import Worker

_RETRY_FIRST, _RETRY_LAST = 1.0, 10.0  # seconds
_SHUT_AFTER = 45.0
"""Seconds that somebody whose window has ended may stay in a map that cannot be written; then all are shut out."""

_CLOSE_SECONDS = 4.0  # that the last publish may take


class Publisher:
    """Keeps one map equal to the active set.

    ``active`` returns that set as it is now, with the end of each window.
    """

    def __init__(self, access_map: AccessMap, active: Callable[[], Mapping[ClientAddress, datetime]]) -> None:
        self._map = access_map
        self._active = active
        self._pending: dict[ClientAddress, datetime | None] = {}  # the last word on each: until when; None for gone
        self._whole = False
        self._looking = False  # whether the thread was asked to, and has not yet
        self._gone_since: float | None = None  # when the first left whom the map may still hold
        self._wake = asyncio.Event()
        self._worker = Worker(f"map {access_map.name}")
        self._task: asyncio.Task[None] | None = None
        self.name = access_map.name
        self.trouble: str | None = None

    async def make_true(self) -> None:
        """Make the map equal to the active set before anything else.

        What may pass (a full disk) is tried again later; what does not is raised: DataError where the map is somebody
        else's, NotPermittedError or CannotCreateError where it cannot be.
        """
        active = self._active()
        for client in active:
            self._holds(client)
        try:
            await self._worker.do(self._map.replace, active)
        except MapError as error:
            maillog.trouble(str(error))
            self.trouble = str(error)
            self._gone_since = asyncio.get_running_loop().time()  # it may hold anybody
            self.owe()

    def start(self) -> None:
        """Begin to publish."""
        self._task = asyncio.create_task(self._run(), name=f"publisher {self.name}")

    def come(self, client: ClientAddress, expires_at: datetime) -> None:
        """A client may relay from now on, until then."""
        if self._holds(client):
            self._pending[client] = expires_at
            self._wake.set()

    def renew(self, client: ClientAddress, expires_at: datetime) -> None:
        """A client that may relay may do so longer. It waits for the next publish, or the next look."""
        if self._map.timed and self._map.cannot_hold(client) is None:
            self._pending[client] = expires_at

    def go(self, client: ClientAddress) -> None:
        """A client may no longer relay."""
        if self._map.cannot_hold(client) is None:
            self._pending[client] = None
            self._gone_since = self._gone_since or asyncio.get_running_loop().time()
            self._wake.set()

    def check(self) -> None:
        """Publish what may wait for this, and have it looked at whether the map is still ours; called now and then.

        Where all is well only the thread wakes up for it.
        """
        if self._pending:
            self._wake.set()
        if self.trouble is None and not self._whole and not self._looking:
            self._looking = True
            self._worker.post(partial(self._look, asyncio.get_running_loop()))

    def says(self, client: ClientAddress, otherwise: str) -> str:
        """Say what the map says of a client, as far as we wrote it; ``otherwise`` of those that are not in it."""
        why = self._map.cannot_hold(client)
        if why is not None:
            return f"cannot hold it: {why}"
        if self.trouble is not None:
            return f"not known: {self.trouble}"
        return "may relay" if client in self._active() else otherwise

    def owe(self) -> None:
        """Bring the whole active set to the map again."""
        self._whole = True
        self._wake.set()

    async def empty(self) -> None:
        """Take everybody out of the map. Raises PopBeforeSmtpError where that cannot be done now."""
        await self._worker.do(self._map.replace, {})

    async def close(self, *, empty: bool = False) -> None:
        """Publish what is waiting, once, and let go of the map; ``empty`` leaves nobody in it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await (self.empty() if empty else self._publish())
                await self._worker.do(self._map.close)
        except (PopBeforeSmtpError, TimeoutError) as error:
            why = str(error) or "could not be written in time"
            maillog.failed(f"{self.name}: {why}; `pop-before-smtp sweep` ends what expires")
        self._worker.stop()

    def _holds(self, client: ClientAddress) -> bool:
        """Say whether the map can hold a client, and tell the administrator where it cannot."""
        why = self._map.cannot_hold(client)
        if why is not None:
            maillog.left_out(self.name, client, why)
        return why is None

    async def _run(self) -> None:
        delay = _RETRY_FIRST
        while True:
            await self._wake.wait()
            try:
                published = await self._publish()
            except Exception as error:  # noqa: BLE001 - whatever it is, the map must be made true in the end
                if self.trouble != str(error):
                    maillog.trouble(str(error))
                self.trouble = str(error)
                await self._shut_in_the_end()
                await asyncio.sleep(delay)
                delay = min(2 * delay, _RETRY_LAST)
                continue
            delay = _RETRY_FIRST
            if self.trouble is not None:
                maillog.recovered(self.name)
                self.trouble = None
            if published:
                await asyncio.sleep(self._map.interval)

    async def _shut_in_the_end(self) -> None:
        """Where a map cannot be written, let nobody in rather than somebody whose window has long ended."""
        if self._gone_since is None or asyncio.get_running_loop().time() - self._gone_since < _SHUT_AFTER:
            return
        try:
            await self._worker.do(self._map.shut)
        except PopBeforeSmtpError as error:
            maillog.failed(f"{self.name}: cannot even be emptied: {error}")
        else:
            maillog.failed(f"{self.name}: holds nobody until it can be written again")
            self._gone_since = None

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """See, in the thread, whether the map was removed, replaced or written to by somebody else."""
        self._looking = False
        why = "gone, or changed by somebody else"
        try:
            if not self._map.lost():
                return
        except Exception as error:  # noqa: BLE001 - whatever it is, the map must be made true in the end
            why = str(error)
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(self._lost, why)

    def _lost(self, why: str) -> None:
        """Bring all to a map that may hold anybody."""
        if self._task is None or self._task.done():  # it was closed meanwhile
            return
        if self.trouble is None:
            maillog.trouble(f"{self.name}: {why}")
            self.trouble = why
        self._gone_since = self._gone_since or asyncio.get_running_loop().time()
        self.owe()

    async def _publish(self) -> bool:
        """Bring what is pending to the map, and say whether there was anything.

        Where that fails, the whole active set is owed.
        """
        self._wake.clear()
        pending, self._pending = self._pending, {}
        whole, self._whole = self._whole, False
        gone_since, self._gone_since = self._gone_since, None
        come = {client: end for client, end in pending.items() if end is not None}
        go = pending.keys() - come.keys()
        try:
            if whole:
                await self._worker.do(self._map.replace, self._active())
            elif pending:
                await self._worker.do(self._map.change, come, go)
        except BaseException:
            self._gone_since = gone_since or self._gone_since
            self.owe()
            raise
        if whole or pending:
            maillog.published(self.name, len(come), len(go))
        return bool(whole or pending)
