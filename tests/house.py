"""A daemon's inside without its outside: a pipeline on a clock, a log and a map that a test keeps by hand."""

import json
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from popbeforesmtp import maillog, wiring
from popbeforesmtp.active import ActiveSet
from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.answers import Answers
from popbeforesmtp.audit import Audit
from popbeforesmtp.clock import Moment
from popbeforesmtp.following import Followed, Reading
from popbeforesmtp.header import HeaderReader
from popbeforesmtp.model import Authorization, Block
from popbeforesmtp.pipeline import Pipeline
from popbeforesmtp.publisher import Publisher
from popbeforesmtp.recorder import Recorder
from popbeforesmtp.revocations import newest
from popbeforesmtp.rules import Rules
from popbeforesmtp.stores import Batch, StoreError
from popbeforesmtp.stores.memory import MemoryStore
from popbeforesmtp.windows import Windows
from tests.clocks import FakeClock
from tests.scenes import Ear, play, until
from tests.test_pipeline import CLIENT, RULES, KeptStore, ListSource, SetMap

OTHER = ClientAddress("192.0.2.11")


class Log(ListSource):
    """A log that goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False
        self.broken = False

    def read(self) -> Block | None:
        """Return the next lines, or fail."""
        if self.broken:
            raise PermissionError(13, "Permission denied")
        return super().read()

    def ended(self) -> bool:
        """Say no."""
        return False

    def close(self) -> None:
        """Be closed."""
        self.closed = True


class BrokenStore(KeptStore):
    """A store on a disk that fails when it is told to."""

    broken = False

    def write(self, batch: Batch) -> None:
        """Write, or fail."""
        if self.broken:
            raise StoreError("disk I/O error")
        super().write(batch)

    def load(self, now: Moment) -> list[Authorization]:
        """Read, or fail."""
        if self.broken:
            raise StoreError("disk I/O error")
        return super().load(now)


class House:
    """All that decides, and a map that keeps ends."""

    def __init__(
        self,
        rules: Rules = RULES,
        *,
        clock: FakeClock | None = None,
        store: MemoryStore | None = None,
        audit: Path | None = None,
    ) -> None:
        self.clock = clock or FakeClock()
        self.store = store or KeptStore()
        self.ear = Ear()
        maillog.open_log("stderr", debug=True)
        maillog._log.addHandler(self.ear)
        self.audit = audit
        self.recorder = Recorder(self.store)
        active = ActiveSet()
        self.map = SetMap()
        self.map.timed = True
        self.publisher = Publisher(self.map, lambda: active.ends(self.clock.now()))
        self.windows = Windows(
            active=active,
            recorder=self.recorder,
            publishers=[self.publisher],
            clock=self.clock,
            audit=Audit("" if audit is None else str(audit)),
            limits=rules.limits,
            prefix=rules.ipv6_prefix,
        )
        held: list[Authorization] = []
        for kept in self.store.load(self.clock.now()):
            self.windows.restore(kept, self.clock.now())
            held += [kept] if kept.rule == "hold" else []
        engine = wiring.engine()
        self.log = Log()
        self.followed = Followed(self.log, engine, lambda: Reading(HeaderReader(), None), held=held)
        if store is not None:
            rules = replace(rules, tombstones=newest(self.store.tombstones()))
        self.pipeline = Pipeline(followed=[self.followed], rules=rules, windows=self.windows, clock=self.clock)
        self.answers = Answers(self.clock)
        self.answers.pipeline = self.pipeline
        self.sessions = 0

    async def live(self) -> None:
        """Let so much time go by that the past of the log has been read."""
        await self.read()
        self.clock.advance(6)
        await self.read()
        assert self.followed.live

    async def read(self, *lines: str) -> None:
        """Write lines into the log, with the time in front, and do all that follows from them."""
        for line in lines:
            stamp = self.clock.now().wall.isoformat()
            self.log.blocks.append(
                f"{line if line[:2] == '20' else f'{stamp} mx1 dovecot: {line}'}\n".encode("utf-8", "surrogateescape")
            )
        while self.pipeline._read(self.followed):
            pass
        self.pipeline._settle()
        self.windows.expire()
        await self.settled()

    async def settled(self) -> None:
        """Let the pipeline turn until all that was taken back has been settled."""

        def turn() -> bool:
            self.pipeline._settle()
            return not self.windows.unsettled

        await until(turn)

    async def login(self, client: str = CLIENT, user: str = "alice", session: str = "", ago: float = 0) -> None:
        """Write a login."""
        self.sessions += 1
        session = session or f"S{self.sessions}"
        which = f"rip={client}, lip=198.51.100.1, mpid=7, session=<{session}>"
        text = f"imap-login: Login: user=<{user}>, method=PLAIN, {which}"
        stamp = self.clock.now().wall - timedelta(seconds=ago)
        await self.read(f"{stamp.isoformat()} mx1 dovecot: {text}")

    async def logout(self, session: str, user: str = "alice") -> None:
        """Write a logout."""
        await self.read(f"imap({user})<7><{session}>: Disconnected: Logged out in=26 out=818")

    async def failure(self, client: str = CLIENT, user: str = "bob") -> None:
        """Write a failed login."""
        await self.read(
            "imap-login: Disconnected (auth failed, 1 attempts in 2 secs): "
            f"user=<{user}>, method=PLAIN, rip={client}, lip=198.51.100.1, session=<F>"
        )

    async def ask(self, command: str, **question: object) -> Any:
        """Ask as a command does, as root."""
        return json.loads(json.dumps(await self.answers.by_name()[command]({"uid": 0, **question})))

    def ends(self, client: str = CLIENT) -> float | None:
        """Return in how many seconds a client's leave ends; None where it has none."""
        end = self.windows.expires_at(ClientAddress(client))
        return None if end is None else (end - self.clock.now().wall).total_seconds()

    async def in_map(self) -> dict[str, float]:
        """Return the map's clients, and in how many seconds each leave ends, once all it was told is published."""
        await self.publisher._publish()
        return {client: (end - self.clock.now().wall).total_seconds() for client, end in self.map.clients.items()}

    async def kept(self) -> list[Authorization]:
        """Return what the store holds, once all is written."""
        await self.recorder.flush()
        return self.store.load(self.clock.now())

    def trail(self) -> list[dict[str, Any]]:
        """Return the audit trail."""
        assert self.audit is not None
        return [json.loads(line) for line in self.audit.read_text().splitlines()]

    def until(self, seconds: float) -> str:
        """Return a time to come as commands send it."""
        return (self.clock.now().wall + timedelta(seconds=seconds)).isoformat()

    async def close(self) -> None:
        """End."""
        await self.publisher.close()
        await self.recorder.close()
        self.windows.audit.close()


def at_home(scene: Callable[[House], Coroutine[None, None, None]], rules: Rules = RULES, **more: Any) -> None:
    """Play a scene in a new house."""

    async def played() -> None:
        house = House(rules, **more)
        try:
            await scene(house)
        finally:
            await house.close()

    play(played)


def names(entries: Iterable[Authorization]) -> set[tuple[str, str, str]]:
    """Return client, account and rule of authorizations."""
    return {(entry.client, entry.user, entry.rule) for entry in entries}
