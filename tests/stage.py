"""A publisher on a stage: with a map in memory that does as it is told, and its active set."""

import threading
from collections.abc import Callable, Collection, Coroutine, Mapping
from datetime import UTC, datetime, timedelta

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.publisher import Publisher
from tests.scenes import LIMIT, play

A, B, C, D = (ClientAddress(f"192.0.2.{number}") for number in range(1, 5))
SOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
LATER = SOON + timedelta(minutes=10)


class SetMap:
    """A map in memory that can be told to fail, or to take its time."""

    name = "set:map"
    interval = 0.0
    timed = False

    def __init__(self) -> None:
        self.holds: set[ClientAddress] | None = None
        self.ends: dict[ClientAddress, datetime] = {}
        self.cannot: set[ClientAddress] = set()
        self.failure: Exception | None = None
        self.attempts: list[tuple[set[ClientAddress], set[ClientAddress]] | set[ClientAddress]] = []
        self.free = threading.Event()
        self.free.set()
        self.closed = False

    def replace(self, clients: Mapping[ClientAddress, datetime]) -> None:
        """Hold exactly these."""
        self._write(set(clients))
        self.holds = set(clients)
        self.ends = dict(clients)

    def change(self, come: Mapping[ClientAddress, datetime], go: Collection[ClientAddress]) -> None:
        """Let some in and others out."""
        self._write((set(come), set(go)))
        assert self.holds is not None
        self.holds = (self.holds | set(come)) - set(go)
        self.ends = {client: end for client, end in (self.ends | come).items() if client in self.holds}

    def shut(self) -> None:
        """Hold nobody, whatever else fails."""
        self.holds = set()

    def lost(self) -> bool:
        """Say whether it is gone."""
        return self.holds is None

    def cannot_hold(self, client: ClientAddress) -> str | None:
        """Refuse some."""
        return "it would let others in" if client in self.cannot else None

    def close(self) -> None:
        """Note that it was let go."""
        self.closed = True

    def _write(self, what: tuple[set[ClientAddress], set[ClientAddress]] | set[ClientAddress]) -> None:
        self.attempts.append(what)
        self.free.wait(LIMIT)
        if self.failure is not None:
            raise self.failure


class Stage:
    """A publisher with its map and its active set."""

    def __init__(self, *clients: ClientAddress) -> None:
        self.map = SetMap()
        self.active = dict.fromkeys(clients, SOON)
        self.publisher = Publisher(self.map, self.active.copy)

    async def begin(self) -> None:
        """Make the map true and publish from then on."""
        await self.publisher.make_true()
        self.publisher.start()

    async def heard(self) -> None:
        """Wait until the publisher has heard of all that the map did: it is told in its order."""
        await self.publisher._worker.do(self.map.free.is_set)

    def come(self, client: ClientAddress) -> None:
        """Let a client in, as the pipeline does."""
        self.active[client] = SOON
        self.publisher.come(client, SOON)

    def renew(self, client: ClientAddress) -> None:
        """Let one that is in stay for longer."""
        self.active[client] = LATER
        self.publisher.renew(client, LATER)

    def go(self, client: ClientAddress) -> None:
        """Let it out."""
        self.active.pop(client, None)
        self.publisher.go(client)


def perform(
    scene: Callable[[Stage], Coroutine[None, None, None]], *clients: ClientAddress, timed: bool = False
) -> None:
    """Play a scene with a publisher that has begun, on a map with ends or without; it is closed behind the scene."""

    async def played() -> None:
        stage = Stage(*clients)
        stage.map.timed = timed
        await stage.begin()
        await scene(stage)
        await stage.publisher.close()

    play(played)
