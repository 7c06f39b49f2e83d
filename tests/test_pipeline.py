"""The loop: what a line does, in which order, and what a bad one must not do."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest

from popbeforesmtp import maillog, wiring
from popbeforesmtp.active import ActiveSet
from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.audit import Audit
from popbeforesmtp.following import Followed, Reading
from popbeforesmtp.formats import Formats
from popbeforesmtp.formats._engine import Engine
from popbeforesmtp.header import HeaderReader
from popbeforesmtp.model import Block, LogMessage, SessionEvent
from popbeforesmtp.pipeline import Pipeline
from popbeforesmtp.publisher import Publisher
from popbeforesmtp.recorder import Recorder
from popbeforesmtp.rules import Rules
from popbeforesmtp.sight import SYSLOGDS
from popbeforesmtp.sources import SourceReport
from popbeforesmtp.stores.memory import MemoryStore
from popbeforesmtp.windows import Windows
from tests.clocks import FakeClock

CLIENT = ClientAddress("192.0.2.10")
GRACE = timedelta(minutes=30)
RULES = Rules(GRACE)


class ListSource:
    """Hands over the blocks it was given, then ends."""

    name = "list"

    def __init__(self, *blocks: bytes | OSError | None) -> None:
        self.blocks = list(blocks)
        self.offset = 0

    def watch(self, ring: Callable[[], None]) -> None:
        """Ring once: there is something to read."""
        ring()

    def read(self) -> Block | None:
        """Return the next block, or raise it; None says that there is nothing at present."""
        if not self.blocks:
            return None
        block = self.blocks.pop(0)
        if isinstance(block, OSError):
            raise block
        if block is None:
            return None
        self.offset += len(block)
        return Block(block, self.offset - len(block), str(self.offset))

    def notices(self) -> list[str]:
        """Return nothing."""
        return []

    def ended(self) -> bool:
        """Say whether all blocks were handed over."""
        return not self.blocks

    def report(self) -> SourceReport:
        """Say nothing of interest."""
        return SourceReport(self.name, "reading")

    def close(self) -> None:
        """Do nothing."""


class SetMap:
    """An access map in memory."""

    name = "set"
    interval = 0.0
    timed = False

    def __init__(self) -> None:
        self.clients: dict[ClientAddress, datetime] = {}
        self.changes = 0

    def replace(self, clients: Mapping[ClientAddress, datetime]) -> None:
        """Hold exactly these."""
        self.clients = dict(clients)

    def change(self, come: Mapping[ClientAddress, datetime], go: Collection[ClientAddress]) -> None:
        """Add some and take some out."""
        self.changes += 1
        self.clients = {client: end for client, end in (self.clients | dict(come)).items() if client not in go}

    def shut(self) -> None:
        """Hold nobody."""
        self.clients = {}

    def lost(self) -> bool:
        """Say no."""
        return False

    def cannot_hold(self, client: ClientAddress) -> str | None:
        """Say that everybody fits."""
        return None

    def close(self) -> None:
        """Do nothing."""


class KeptStore(MemoryStore):
    """A store that can still be asked after it was closed."""

    def close(self) -> None:
        """Keep everything."""


class Parts:
    """A pipeline on small real parts."""

    def __init__(self, clock: FakeClock, *blocks: bytes | OSError | None, rules: Rules = RULES) -> None:
        self.clock = clock
        self.rules = rules
        self.source = ListSource(*blocks)
        self.store = KeptStore()
        self.map = SetMap()
        self.active = ActiveSet()

    def run(
        self,
        more: Callable[[Pipeline], None] = lambda pipeline: None,
        formats: Formats | None = None,
    ) -> Pipeline:
        """Run until the source ends, then something more, then close."""
        return asyncio.run(self._run(more, formats or wiring.engine()))

    async def _run(self, more: Callable[[Pipeline], None], formats: Formats) -> Pipeline:
        recorder = Recorder(self.store)
        publisher = Publisher(self.map, lambda: self.active.ends(self.clock.now()))
        pipeline = Pipeline(
            followed=[Followed(self.source, formats, lambda: Reading(HeaderReader(), formats.sieve(SYSLOGDS)))],
            rules=self.rules,
            windows=Windows(
                active=self.active,
                recorder=recorder,
                publishers=[publisher],
                clock=self.clock,
                audit=Audit(""),
                limits=self.rules.limits,
                prefix=self.rules.ipv6_prefix,
            ),
            clock=self.clock,
        )
        async with asyncio.timeout(10):
            await pipeline.run()
        more(pipeline)
        await publisher.close()
        await recorder.close()
        return pipeline


def login(clock: FakeClock, client: str = CLIENT, *, ago: float = 0.0, user: str = "alice") -> bytes:
    """Write a login line as Dovecot does."""
    stamp = (clock.now().wall - timedelta(seconds=ago)).isoformat()
    return (
        f"{stamp} mx1 dovecot: imap-login: Login: user=<{user}>, method=PLAIN, rip={client}, lip=198.51.100.1,"
        f" mpid=1, session=<AAAA>\n"
    ).encode()


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still."""
    maillog.open_log("stderr", debug=True)
    return FakeClock()


def test_a_login_reaches_the_active_set_the_map_and_the_store(clock: FakeClock) -> None:
    """With the end that the rules say, and the place in the log behind it."""
    line = login(clock)
    parts = Parts(clock, line)
    pipeline = parts.run()
    assert pipeline.windows.permits(CLIENT)
    assert parts.map.clients == {CLIENT: clock.now().wall + GRACE}
    (kept,) = parts.store.load(clock.now())
    assert (kept.client, kept.expires_at, kept.user) == (CLIENT, clock.now().wall + GRACE, "alice")
    assert parts.store.progress()["list"].checkpoint == str(len(line))


def test_what_the_log_holds_is_read_before_there_is_a_map(clock: FakeClock) -> None:
    """Where it is asked for: the first map made then lacks nobody; what comes later is read by the loop."""
    source = ListSource(login(clock, ago=1), login(clock, "192.0.2.11"), None, login(clock, "192.0.2.12"))
    store, active, engine = KeptStore(), ActiveSet(), wiring.engine()

    async def start() -> list[ClientAddress]:
        recorder = Recorder(store)
        pipeline = Pipeline(
            followed=[Followed(source, engine, lambda: Reading(HeaderReader(), engine.sieve(SYSLOGDS)))],
            rules=RULES,
            windows=Windows(
                active=active,
                recorder=recorder,
                publishers=[],
                clock=clock,
                audit=Audit(""),
                limits=RULES.limits,
                prefix=RULES.ipv6_prefix,
            ),
            clock=clock,
        )
        await pipeline.catch_up()
        found = list(active)
        await recorder.close()
        return found

    assert asyncio.run(start()) == [CLIENT, "192.0.2.11"]
    assert len(source.blocks) == 1


def test_a_window_ends_without_another_line(clock: FakeClock) -> None:
    """The timer ends it everywhere; one microsecond before, it still holds."""
    parts = Parts(clock, login(clock))

    def later(pipeline: Pipeline) -> None:
        clock.advance(GRACE.total_seconds() - 0.000001)
        pipeline.windows.expire()
        assert pipeline.windows.permits(CLIENT)
        clock.advance(0.000001)
        assert not pipeline.windows.permits(CLIENT)
        pipeline.windows.expire()

    pipeline = parts.run(later)
    assert (len(parts.active), pipeline.windows.counts["expired"]) == (0, 1)
    assert parts.map.clients == {}
    assert parts.store.load(clock.now()) == []


def test_a_renewal_reaches_the_maps_that_keep_ends(clock: FakeClock) -> None:
    """With the later end, gathered."""
    early, late = login(clock, ago=60), login(clock)
    parts = Parts(clock, early + late)
    parts.map.timed = True
    parts.run()
    assert parts.map.clients == {CLIENT: clock.now().wall + GRACE}
    assert parts.map.changes == 1


def test_a_renewal_touches_no_map(clock: FakeClock) -> None:
    """A renewal changes only the end; the same line again changes nothing."""
    early, late = login(clock, ago=60), login(clock)
    parts = Parts(clock, early + late + late + early)
    pipeline = parts.run()
    assert (pipeline.windows.counts["granted"], pipeline.windows.counts["renewed"]) == (1, 1)
    assert parts.map.clients == {CLIENT: clock.now().wall + GRACE - timedelta(seconds=60)}
    assert pipeline.windows.active.expires_at(CLIENT, clock.now()) == clock.now().wall + GRACE


def test_a_line_that_breaks_the_program_stops_nothing(clock: FakeClock, capsys: pytest.CaptureFixture[str]) -> None:
    """It is counted, said and passed by; the next line counts, and reading goes on behind both."""

    class Poisoned(Engine):
        def read(self, message: LogMessage, *, ends: bool = True) -> SessionEvent | None:
            if b"poison" in message.text:
                raise RuntimeError("a fault of the program")
            return super().read(message, ends=ends)

    lines = login(clock, user="poison") + login(clock)
    parts = Parts(clock, lines)
    pipeline = parts.run(formats=Poisoned(wiring.engine().formats))
    assert pipeline.windows.counts["errors"] == 1
    assert pipeline.windows.permits(CLIENT)
    assert parts.store.progress()["list"].checkpoint == str(len(lines))


def test_a_source_that_fails_is_tried_again(clock: FakeClock) -> None:
    """An unreadable log is said, and read when it can be."""
    pipeline = Parts(clock, OSError(13, "Permission denied"), login(clock)).run()
    assert pipeline.windows.permits(CLIENT)
    assert pipeline.followed[0].trouble is None


def test_junk_is_counted_and_passed_by(clock: FakeClock) -> None:
    """Lines without a header, empty lines and control bytes are no logins, and no errors either."""
    junk = b"\x00\xff\n\nno header\nNov 99 99:99:99 x y: z\n" + login(clock, user="a\tb") + login(clock, "300.1.1.1")
    pipeline = Parts(clock, junk).run()
    assert len(pipeline.windows.active) == 0
    assert pipeline.windows.counts["errors"] == 0
    assert pipeline.followed[0].counts["unknown headers"] == 3


@pytest.mark.parametrize(
    ("ago", "granted"), [(GRACE.total_seconds(), 0), (GRACE.total_seconds() - 1, 1), (-60, 1), (-61, 0)]
)
def test_only_a_login_within_its_grace_counts(clock: FakeClock, ago: float, granted: int) -> None:
    """Neither a stale one nor one from the future; a stamp ahead of us never reaches past now and grace."""
    pipeline = Parts(clock, login(clock, ago=ago)).run()
    assert len(pipeline.windows.active) == granted
    ends = [pipeline.windows.active.expires_at(client, clock.now()) for client in pipeline.windows.active]
    assert all(end is not None and end <= clock.now().wall + GRACE for end in ends)


def test_lines_that_take_long_keep_nobody_waiting_for_more_than_a_block_of_them(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger may write lines on which a pattern of the administrator's takes all the time that it is given."""
    parts, at = Parts(clock), 0.0

    def read(pipeline: Pipeline) -> None:
        def take(*_: object) -> None:
            nonlocal at
            at += 3.0

        monkeypatch.setattr(pipeline, "_loop", SimpleNamespace(time=lambda: at))
        monkeypatch.setattr(pipeline, "_take", take)
        parts.source.blocks = [b"line\n"] * 5
        assert pipeline._read(pipeline.followed[0])
        assert len(parts.source.blocks) == 4

    parts.run(read)
    assert at == 3.0
