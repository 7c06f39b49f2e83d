"""What every store promises; each store's tests inherit it."""

from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta

import pytest

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.clock import Moment
from popbeforesmtp.model import Authorization, Origin, Tombstone
from popbeforesmtp.stores import Batch, Progress, Store
from tests.clocks import START, FakeClock

ONE, TWO, SIX = ClientAddress("192.0.2.1"), ClientAddress("192.0.2.2"), ClientAddress("2001:db8::6")
MICRO = timedelta(microseconds=1)


def grant(
    client: ClientAddress, now: Moment, left: float = 1800.0, user: str = "alice", *, why: str = ""
) -> Authorization:
    """Return what a login half an hour before its end gives, some seconds of which are left."""
    expires_at = now.wall + timedelta(seconds=left)
    return Authorization(
        client=client,
        expires_at=expires_at,
        deadline=now.boottime + left,
        user=user,
        service="imap",
        login_at=expires_at - timedelta(minutes=30),
        format="dovecot",
        origin=Origin("/var/log/mail.log", 4711),
        why=why,
    )


def granted(
    *grants: Authorization,
    ended: Collection[ClientAddress] = (),
    progress: Mapping[str, Progress] | None = None,
) -> Batch:
    """Return a batch of grants, behind the ends of some."""
    batch = Batch(ended=set(ended), progress=dict(progress or {}))
    for each in grants:
        batch.grant(each)
    return batch


def by_client(grants: Iterable[Authorization]) -> list[Authorization]:
    """Sort what a store returns, which promises no order."""
    return sorted(grants, key=lambda grant: grant.client)


class StoreContract:
    """The promises; a subclass gives the ``store`` fixture."""

    @pytest.fixture
    def clock(self) -> FakeClock:
        """Return a clock that stands still."""
        return FakeClock()

    @pytest.fixture
    def store(self, clock: FakeClock) -> Store:
        """Return an empty store."""
        raise NotImplementedError

    def test_a_new_store_is_empty(self, store: Store, clock: FakeClock) -> None:
        """Nobody may relay and nothing has been read."""
        assert store.load(clock.now()) == []
        assert dict(store.progress()) == {}

    def test_what_was_granted_is_loaded_as_it_was(self, store: Store, clock: FakeClock) -> None:
        """Every field comes back, to the microsecond."""
        odd = grant(SIX, clock.now(), 1799.999999, user="Ünï çode, with 'quotes' and \"more\"")._replace(
            service="",
            rule="by hand",
            origin=Origin("/var/log/with blank.log", 2**40),
        )
        store.write(granted(grant(ONE, clock.now()), odd))
        assert by_client(store.load(clock.now())) == [grant(ONE, clock.now()), odd]

    def test_what_has_ended_is_not_loaded(self, store: Store, clock: FakeClock) -> None:
        """A window is there a microsecond before its end, and gone at its end, on the wall clock as on the other."""
        now = clock.now()
        store.write(
            granted(
                grant(ONE, now, 100),
                grant(TWO, now, 100)._replace(expires_at=now.wall + timedelta(seconds=5000)),
                grant(SIX, now, 100)._replace(deadline=now.boottime + 5000),
            )
        )
        clock.advance(100, microseconds=-1)
        assert {entry.client for entry in store.load(clock.now())} == {ONE, TWO, SIX}
        clock.advance(microseconds=1)
        assert store.load(clock.now()) == []

    def test_purge_takes_out_what_has_ended_and_nothing_else(self, store: Store, clock: FakeClock) -> None:
        """Ended rows are gone for good, even for a clock that is set back afterwards; the others stay."""
        now = clock.now()
        store.write(granted(grant(ONE, now, 100), grant(TWO, now, 101)))
        store.purge(clock.advance(100, microseconds=-1))
        assert {entry.client for entry in store.load(now)} == {ONE, TWO}
        store.purge(clock.advance(microseconds=1))
        assert [entry.client for entry in store.load(now)] == [TWO]

    def test_an_ended_client_is_forgotten(self, store: Store, clock: FakeClock) -> None:
        """What the active set ended is not there at the next start; ending one that is not there is no error."""
        store.write(granted(grant(ONE, clock.now()), grant(TWO, clock.now())))
        store.write(Batch(ended={ONE, SIX}))
        assert store.load(clock.now()) == [grant(TWO, clock.now())]

    def test_each_account_on_an_address_has_its_own(self, store: Store, clock: FakeClock) -> None:
        """One is taken back, and the other, and those of other addresses, stay as they are."""
        now = clock.now()
        alice, bob = grant(ONE, now), grant(ONE, now, 900, user="bob")
        held = alice._replace(rule="hold", session="dovecot session abc")
        store.write(granted(alice, bob, held, grant(TWO, now)))
        assert len(store.load(now)) == 4
        assert sorted(map(repr, store.load_client(ONE, now))) == sorted(map(repr, (alice, bob, held)))
        store.write(Batch(closed={ONE: {alice.key}, SIX: {("nobody", "")}}))
        assert sorted(map(repr, store.load_client(ONE, now))) == sorted(map(repr, (bob, held)))
        assert store.load_client(TWO, now) == [grant(TWO, now)]

    def test_bytes_that_are_no_utf_8_keep_nothing_from_being_kept(self, store: Store, clock: FakeClock) -> None:
        """In a log's name, a session, a cursor, a reason: they come back as they were, and are found by them."""
        now, odd = clock.now(), "caf\udce9 \udcff\u202e"
        held = grant(ONE, now, user=odd)._replace(
            rule="hold",
            session=f"uw process {odd}",
            service=odd,
            origin=Origin(f"/var/log/{odd}.log", 1, odd),
            why=odd,
        )
        tombstone = Tombstone("user", odd, now.wall, now.wall, 0, odd)
        progress = {f"/var/log/{odd}.log": Progress("{}", now.wall)}
        for _ in range(2):
            store.write(Batch(granted={ONE: {held.key: held}}, tombstones=[tombstone], progress=progress))
            assert store.load(now) == store.load_client(ONE, now) == [held]
            assert (store.tombstones(), store.progress()) == ([tombstone], progress)
        store.write(Batch(closed={ONE: {held.key}}))
        assert store.load(now) == []

    def test_of_one_client_too_only_what_has_not_ended_is_returned(self, store: Store, clock: FakeClock) -> None:
        """To the microsecond."""
        store.write(granted(grant(ONE, clock.now(), 100), grant(ONE, clock.now(), 200, user="bob")))
        assert [entry.user for entry in store.load_client(ONE, clock.advance(100))] == ["bob"]

    def test_a_revocation_is_kept_for_as_long_as_an_older_login_could_count(
        self, store: Store, clock: FakeClock
    ) -> None:
        """And the newest of one name counts."""
        now = clock.now()
        first = Tombstone("user", "m\udce9l", now.wall, now.wall)
        second = first._replace(until=now.wall + timedelta(days=1), uid=0, why="lost \u202e phone")
        everybody = Tombstone("all", "", now.wall, now.wall)
        for each in (first, second, everybody):
            store.write(Batch(tombstones=[each]))
        assert sorted(map(repr, store.tombstones())) == sorted(map(repr, (second, everybody)))
        store.purge(clock.advance(65535 * 60 - 1))
        assert len(store.tombstones()) == 2
        store.purge(clock.advance(2))
        assert store.tombstones() == [second]

    def test_who_ended_and_was_granted_again_in_one_batch_is_there(self, store: Store, clock: FakeClock) -> None:
        """Within a batch the end comes first, so a new login after it is kept, even with an earlier end."""
        store.write(granted(grant(ONE, clock.now(), 1800)))
        again = grant(ONE, clock.now(), 900, user="bob")
        store.write(granted(again, ended=[ONE]))
        assert store.load(clock.now()) == [again]

    def test_the_later_end_wins_in_any_order(self, store: Store, clock: FakeClock) -> None:
        """A line that is read again or late never shortens what was granted, and a later login replaces it whole."""
        now = clock.now()
        early, late = grant(ONE, now, 900, why="early"), grant(ONE, now, 1800, why="late")
        store.write(granted(early))
        store.write(granted(late))
        assert store.load(now) == [late]
        store.write(granted(early))
        assert store.load(now) == [late]
        store.write(granted(late))
        assert store.load(now) == [late]

    def test_a_login_after_the_wall_clock_was_set_back_wins(self, store: Store, clock: FakeClock) -> None:
        """Its end looks earlier on the wall clock, but CLOCK_BOOTTIME knows that it is the later one."""
        store.write(granted(grant(ONE, clock.now(), why="before")))
        clock.advance(60)
        clock.step(-3600)
        after = grant(ONE, clock.now(), why="after")
        store.write(granted(after))
        assert store.load(clock.now()) == [after]

    def test_an_end_that_is_later_on_the_wall_clock_alone_wins(self, store: Store, clock: FakeClock) -> None:
        """Either clock may be the one that tells two ends apart."""
        now = clock.now()
        first = grant(ONE, now)
        later = first._replace(expires_at=first.expires_at + MICRO, why="later")
        store.write(granted(first))
        store.write(granted(later))
        assert store.load(now) == [later]

    def test_how_far_a_log_was_read_is_kept(self, store: Store) -> None:
        """Each source has its own place, the last one written, with or without a time."""
        store.write(Batch(progress={"/var/log/mail.log": Progress("inode=1 offset=10", START)}))
        store.write(Batch(progress={"journal": Progress("s=abc;i=1", None)}))
        later = Progress("inode=1 offset=20", START + MICRO)
        store.write(Batch(progress={"/var/log/mail.log": later}))
        assert dict(store.progress()) == {"/var/log/mail.log": later, "journal": Progress("s=abc;i=1", None)}
        store.write(Batch(progress={"/var/log/mail.log": Progress("inode=2 offset=0", None)}))
        assert store.progress()["/var/log/mail.log"] == Progress("inode=2 offset=0", None)

    def test_an_empty_batch_changes_nothing(self, store: Store, clock: FakeClock) -> None:
        """Writing nothing is allowed."""
        store.write(granted(grant(ONE, clock.now())))
        store.write(Batch())
        assert store.load(clock.now()) == [grant(ONE, clock.now())]

    def test_what_was_returned_does_not_change_with_the_store(self, store: Store, clock: FakeClock) -> None:
        """A caller may keep what it got, for the store is used by another thread meanwhile."""
        store.write(granted(grant(ONE, clock.now()), progress={"log": Progress("1", None)}))
        loaded, progress = store.load(clock.now()), store.progress()
        store.write(granted(ended=[ONE], progress={"log": Progress("2", None)}))
        assert loaded == [grant(ONE, clock.now())]
        assert dict(progress) == {"log": Progress("1", None)}
