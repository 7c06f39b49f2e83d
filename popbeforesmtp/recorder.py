"""Brings what happened to the store, in a thread of its own.

Authorizations and the place in the log behind them are gathered and written together, so that a crash loses both or
neither. A failure (a full disk) keeps them, and they are written with the next.
"""

import asyncio
from collections.abc import Awaitable
from datetime import datetime

from popbeforesmtp import maillog
from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.clock import Moment
from popbeforesmtp.model import Authorization, Key, Tombstone
from popbeforesmtp.stores import Batch, Progress, Store, StoreError
from popbeforesmtp.worker import Worker

_GATHER = 0.1  # seconds that writes are gathered for
_RETRY = 2.0  # seconds
_CLOSE_SECONDS = 5.0  # that the last write may take, and closing as much again


class Recorder:
    """Keeps the store behind the active set by a tenth of a second."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._batch = Batch()
        self._writing = Batch()
        self._wake = asyncio.Event()
        self._one = asyncio.Lock()  # one write at a time
        self._worker = Worker("store")
        self._task: asyncio.Task[None] | None = None
        self.trouble: str | None = None

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._run(), name="recorder")

    def granted(self, authorization: Authorization) -> None:
        """Keep an authorization."""
        self._batch.grant(authorization)
        self._wake.set()

    def closed(self, client: ClientAddress, key: Key) -> None:
        """Forget one authorization of a client."""
        self._batch.close(client, key)
        self._wake.set()

    def ended(self, client: ClientAddress) -> None:
        """Forget all authorizations of a client."""
        self._batch.end(client)
        self._wake.set()

    def revoked(self, tombstone: Tombstone) -> None:
        """Keep that somebody revoked."""
        self._batch.tombstones.append(tombstone)
        self._wake.set()

    async def flush(self) -> None:
        """Write all that is waiting, so that no crash undoes it. Raises StoreError."""
        await self._write()

    def read_to(self, source: str, checkpoint: str, time: datetime | None) -> None:
        """Keep how far a source was read, together with all that its lines have granted."""
        self._batch.progress[source] = Progress(checkpoint, time)
        self._wake.set()

    async def entries(self, now: Moment) -> list[Authorization]:
        """Return all that the store holds and is about to hold. Raises StoreError."""
        before = self._pending()
        stored = await self._worker.do(self._store.load, now)
        return self._pending().over(before.over(stored))  # what was waiting may have been written behind their back

    async def entries_of(self, client: ClientAddress, now: Moment) -> list[Authorization]:
        """Return all authorizations of one client, in the store or about to be there. Raises StoreError."""
        before = self._pending()
        stored = await self._worker.do(self._store.load_client, client, now)
        found = self._pending().over(before.over(stored))
        return [entry for entry in found if entry.client == client]

    async def keep_maps(self, names: list[str]) -> None:
        """Keep which access maps there are. Raises StoreError."""
        await self._worker.do(self._store.set_maps, names)

    async def progress(self) -> dict[str, Progress]:
        """Return how far each source was read, in the store or about to be there. Raises StoreError."""
        before = self._pending()
        stored = await self._worker.do(self._store.progress)
        return {**stored, **before.progress, **self._pending().progress}

    def _pending(self) -> Batch:
        """Return what is being written, and what is about to be."""
        return self._writing.then(self._batch)

    async def close(self, stopped: datetime | None = None) -> None:
        """Write what is waiting, once, and close the store; ``stopped`` is kept as the time of a wanted end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._in_time(self._write_last(stopped))
        await self._in_time(self._worker.do(self._store.close))
        self._worker.stop()

    async def _write_last(self, stopped: datetime | None) -> None:
        await self._write()
        await self._worker.do(self._store.set_stopped, stopped)

    async def _in_time(self, work: Awaitable[None]) -> None:
        """Do something at the end, but not for ever."""
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await work
        except (StoreError, TimeoutError) as error:
            why = str(error) or "the store could not be written in time"
            maillog.failed(f"{why}; what is missing is read from the log again")

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(_GATHER)
            try:
                await self._write()
            except Exception as error:  # noqa: BLE001 - whatever it is, what was granted must still be kept
                if self.trouble is None:
                    maillog.trouble(str(error))
                self.trouble = str(error)
                await asyncio.sleep(_RETRY)
                continue
            if self.trouble is not None:
                maillog.recovered("the store")
                self.trouble = None

    async def _write(self) -> None:
        async with self._one:
            self._wake.clear()
            if not self._batch:
                return
            self._writing, self._batch = self._batch, Batch()
            try:
                await self._worker.do(self._store.write, self._writing)
            except BaseException:
                self._batch = self._pending()
                self._wake.set()
                raise
            finally:
                self._writing = Batch()
