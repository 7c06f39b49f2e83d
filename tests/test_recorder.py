"""Recorder: what happened reaches the store together with the place in the log behind it, or not yet."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.clock import Moment
from popbeforesmtp.model import Authorization, Origin
from popbeforesmtp.recorder import Recorder
from popbeforesmtp.stores import Batch, StoreError
from popbeforesmtp.stores.memory import MemoryStore
from tests.scenes import LIMIT, play, until
from tests.stores.contract import granted

NOW = Moment(datetime(2026, 11, 22, 7, 14, tzinfo=UTC), 1000.0)
A, B, C = (ClientAddress(f"192.0.2.{number}") for number in range(1, 4))
LOG = "/var/log/mail.log"


class SlowStore(MemoryStore):
    """A store that can be told to fail, or to take its time."""

    def __init__(self) -> None:
        super().__init__()
        self.failure: StoreError | None = None
        self.attempts: list[Batch] = []
        self.pictures: list[tuple[set[ClientAddress], str | None]] = []  # who and how far, after each write
        self.free = threading.Event()
        self.free.set()
        self.closed = False

    def write(self, batch: Batch) -> None:
        """Take a batch, if it may."""
        self.attempts.append(batch)
        self.free.wait(LIMIT)
        if self.failure is not None:
            raise self.failure
        super().write(batch)
        self.pictures.append((self.clients(), self.place()))

    def close(self) -> None:
        """Note that it was let go, and keep what it holds to be looked at."""
        self.closed = True

    def clients(self) -> set[ClientAddress]:
        """Say who is in it."""
        return {grant.client for grant in self.load(NOW)}

    def place(self) -> str | None:
        """Say how far the log was read."""
        progress = self.progress().get(LOG)
        return None if progress is None else progress.checkpoint


def authorization(client: ClientAddress, minutes: int = 30) -> Authorization:
    """Let a client relay for a while."""
    return Authorization(
        client=client,
        expires_at=NOW.wall + timedelta(minutes=minutes),
        deadline=NOW.boottime + 60 * minutes,
        user="alice",
        service="imap",
        login_at=NOW.wall,
        format="dovecot",
        origin=Origin(LOG, 0),
    )


def perform(scene: Callable[[SlowStore, Recorder], Coroutine[None, None, None]]) -> None:
    """Play a scene with a recorder that has begun; it is closed behind the scene."""

    async def played() -> None:
        store = SlowStore()
        recorder = Recorder(store)
        recorder.start()
        await scene(store, recorder)
        await recorder.close()

    play(played)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gather for a moment, and try again after one."""
    monkeypatch.setattr("popbeforesmtp.recorder._GATHER", 0.002)
    monkeypatch.setattr("popbeforesmtp.recorder._RETRY", 0.002)


def test_an_authorization_and_the_place_behind_its_line_are_written_together() -> None:
    """A crash loses both or neither; lost together, the line is read again."""

    async def scene(store: SlowStore, recorder: Recorder) -> None:
        recorder.granted(authorization(A))
        recorder.read_to(LOG, "1", NOW.wall)
        await until(lambda: store.place() == "1")
        assert store.pictures == [({A}, "1")]
        assert store.progress()[LOG].time == NOW.wall

    perform(scene)


def test_the_store_never_holds_a_place_without_what_its_lines_granted() -> None:
    """At no moment, however writes and lines fall together."""
    clients = [ClientAddress(f"198.51.100.{number}") for number in range(200)]

    async def scene() -> None:
        store = SlowStore()
        recorder = Recorder(store)
        recorder.start()
        for number, client in enumerate(clients):
            recorder.granted(authorization(client))
            recorder.read_to(LOG, str(number), None)
            if number % 5 == 0:
                await asyncio.sleep(0.0005)
        await recorder.close()
        assert len(store.pictures) > 1
        for held, place in store.pictures:
            assert place is not None
            assert held == set(clients[: int(place) + 1])
        assert store.clients() == set(clients)

    play(scene)


def test_a_burst_is_gathered_into_few_writes() -> None:
    """Each write costs the disk a transaction."""

    async def scene(store: SlowStore, recorder: Recorder) -> None:
        store.free.clear()
        recorder.granted(authorization(A))
        await until(lambda: len(store.attempts) == 1)
        recorder.granted(authorization(B))
        await asyncio.sleep(0)
        recorder.granted(authorization(C))
        recorder.ended(A)
        store.free.set()
        await until(lambda: store.clients() == {B, C})
        assert len(store.attempts) == 2

    perform(scene)


def test_nothing_is_lost_by_a_failure(said: list[str]) -> None:
    """A full disk keeps what is waiting, and what comes meanwhile is written with it."""

    async def scene(store: SlowStore, recorder: Recorder) -> None:
        store.failure = StoreError("disk full")
        recorder.granted(authorization(A))
        recorder.granted(authorization(B))
        recorder.read_to(LOG, "1", None)
        await until(lambda: recorder.trouble is not None)
        recorder.ended(A)
        recorder.granted(authorization(C))
        recorder.read_to(LOG, "2", None)
        assert store.pictures == []
        store.failure = None
        await until(lambda: store.place() == "2" and recorder.trouble is None)
        assert store.clients() == {B, C}

    perform(scene)
    assert len([line for line in said if "works again" in line]) == 1


def test_what_comes_during_an_attempt_that_fails_is_not_lost() -> None:
    """It was neither in that attempt nor forgotten with it, and its word is the later one."""

    async def scene(store: SlowStore, recorder: Recorder) -> None:
        store.free.clear()
        recorder.granted(authorization(A))
        recorder.ended(B)
        await until(lambda: len(store.attempts) == 1)
        recorder.ended(A)
        recorder.granted(authorization(B))
        store.failure = StoreError("disk full")
        store.free.set()
        await until(lambda: recorder.trouble is not None)
        store.failure = None
        await until(lambda: store.clients() == {B})

    perform(scene)


def test_trouble_is_said_once(said: list[str]) -> None:
    """However often it is tried."""

    async def scene(store: SlowStore, recorder: Recorder) -> None:
        store.failure = StoreError("disk full")
        recorder.granted(authorization(A))
        await until(lambda: len(store.attempts) > 5)
        store.failure = None

    perform(scene)
    assert len([line for line in said if "disk full" in line]) == 1


Step = tuple[str, ClientAddress]
STEPS = st.lists(
    st.tuples(st.sampled_from(["granted", "closed", "ended", "read"]), st.sampled_from([A, B, C])), max_size=8
)


@given(STEPS, STEPS)
def test_two_batches_in_one_leave_the_store_as_one_after_the_other_would(
    earlier: list[Step], later: list[Step]
) -> None:
    """A failure changes nothing in what is written in the end."""

    def batch(steps: list[Step], first: int) -> Batch:
        recorder = Recorder.__new__(Recorder)  # without its thread
        recorder._batch, recorder._wake = Batch(), asyncio.Event()
        for number, (what, client) in enumerate(steps, start=first):
            if what == "granted":
                recorder.granted(authorization(client, minutes=number))
            elif what == "ended":
                recorder.ended(client)
            elif what == "closed":
                recorder.closed(client, authorization(client).key)
            else:
                recorder.read_to(client, str(number), None)
        return recorder._batch

    apart, together = MemoryStore(), MemoryStore()
    apart.write(batch(earlier, 1))
    apart.write(batch(later, 100))
    together.write(batch(earlier, 1).then(batch(later, 100)))
    assert sorted(map(repr, together.load(NOW))) == sorted(map(repr, apart.load(NOW)))
    assert together.progress() == apart.progress()


# Questions


def test_what_is_about_to_be_stored_counts_as_stored() -> None:
    """Whoever asks sees what is decided, not what the disk has."""

    async def scene() -> None:
        store = SlowStore()
        store.write(granted(authorization(A), authorization(B)))
        recorder = Recorder(store)
        recorder.ended(A)
        recorder.granted(authorization(C))
        recorder.read_to(LOG, "7", None)
        assert {grant.client for grant in await recorder.entries(NOW)} == {B, C}
        assert (await recorder.progress())[LOG].checkpoint == "7"
        recorder.granted(authorization(A, minutes=60))
        grants = {grant.client: grant for grant in await recorder.entries(NOW)}
        assert grants[A].expires_at == NOW.wall + timedelta(minutes=60)
        await recorder.close()

    play(scene)


def test_what_is_being_written_counts_as_stored_too() -> None:
    """Also where that write fails in the end."""

    async def scene(store: SlowStore, recorder: Recorder) -> None:
        for failure in (None, StoreError("disk full")):
            store.failure = failure
            store.free.clear()
            attempts = len(store.attempts)
            client = B if failure else A
            recorder.granted(authorization(client))
            await until(lambda attempts=attempts: len(store.attempts) > attempts)  # type: ignore[misc]
            asking = asyncio.create_task(recorder.entries(NOW))
            await asyncio.sleep(0)
            store.free.set()
            assert client in {grant.client for grant in await asking}
        store.failure = None

    perform(scene)


# The end


def test_closing_writes_what_is_waiting_and_lets_go_of_the_store() -> None:
    """Also while a write is under way."""

    async def scene() -> None:
        store = SlowStore()
        recorder = Recorder(store)
        recorder.start()
        store.free.clear()
        recorder.granted(authorization(A))
        await until(lambda: len(store.attempts) == 1)
        recorder.granted(authorization(B))
        recorder.read_to(LOG, "2", None)
        closing = asyncio.create_task(recorder.close())
        await asyncio.sleep(0)
        store.free.set()
        await closing
        assert store.clients() == {A, B}
        assert store.place() == "2"
        assert store.closed

    play(scene)


def test_closing_where_the_store_fails_says_so_and_ends(said: list[str]) -> None:
    """What is missing is read from the log again, and the sentence says so."""

    async def scene() -> None:
        store = SlowStore()
        recorder = Recorder(store)
        store.failure = StoreError("disk full")
        recorder.granted(authorization(A))
        await recorder.close()

    play(scene)
    assert "disk full" in said[-1]
    assert "read from the log again" in said[-1]


def test_closing_where_the_store_takes_too_long_says_so_and_ends(
    said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop must not hang, and the sentence names the reason."""
    monkeypatch.setattr("popbeforesmtp.recorder._CLOSE_SECONDS", 0.02)

    async def scene() -> None:
        store = SlowStore()
        recorder = Recorder(store)
        store.free.clear()
        recorder.granted(authorization(A))
        await recorder.close()
        store.free.set()

    play(scene)
    assert "in time" in said[-1]
