"""What the daemon answers to commands that decide: grant, revoke."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from popbeforesmtp.clock import Moment
from popbeforesmtp.errors import DataError
from popbeforesmtp.model import Reason
from popbeforesmtp.stores import Batch, StoreError
from popbeforesmtp.stores.sqlite import open_store
from tests.clocks import FakeClock
from tests.house import OTHER, House, at_home, names
from tests.test_pipeline import CLIENT, GRACE, RULES, KeptStore
from tests.test_rules import networks

V6, NET = "2001:db8:1:2::5", "2001:db8:1:2::/64"
NETS = replace(RULES, ipv6_prefix=64)
HELD = replace(RULES, hold=timedelta(hours=8))


class Broken(KeptStore):
    """A store on a disk that fails when it is told to."""

    broken = False

    def write(self, batch: Batch) -> None:
        """Write, or fail."""
        if self.broken:
            raise StoreError("disk I/O error")
        super().write(batch)

    def load(self, now: Moment) -> list[object]:  # type: ignore[override]
        """Read, or fail."""
        if self.broken:
            raise StoreError("disk I/O error")
        return super().load(now)  # type: ignore[return-value]


# grant


def test_a_grant_is_on_the_disk_before_it_is_confirmed() -> None:
    """With who did it and why; it ends to the second, whatever the accounts there do."""

    async def scene(house: House) -> None:
        answer = await house.ask("grant", address=CLIENT, until=house.until(3600), reason="printer", uid=1000)
        assert answer == {"address": CLIENT, "expires_at": house.until(3600), "logins_refused": False}
        (kept,) = house.store.load(house.clock.now())
        assert (kept.rule, kept.uid, kept.why) == ("by hand", 1000, "printer")
        house.clock.advance(3599.999999)
        assert house.ends() is not None
        house.clock.advance(microseconds=1)
        assert house.ends() is None

    at_home(scene)


@pytest.mark.parametrize(
    ("question", "complaint"),
    [
        ({"address": "host.example"}, "that is no IPv4 or IPv6 address"),
        ({"address": "192.0.2.0/24"}, "that is no IPv4 or IPv6 address"),
        ({"address": "127.0.0.1"}, "127.0.0.1 cannot be authorized: never-authorized network"),
        ({"address": "198.51.100.1"}, "198.51.100.1 cannot be authorized: never-authorized network"),
        ({"until": 0}, "the end of the window has come already"),
        ({"until": 65535 * 60 + 1}, "a window can be 65535 minutes long at most"),
        ({"until": "2026-11-23T12:00:00"}, "a window can be 65535 minutes long at most"),
        ({"until": "soon"}, "that is no time"),
        ({"until": None}, "that is no time"),
        ({"reason": "\ud800"}, "that reason is no text"),
    ],
)
def test_a_grant_that_cannot_be_is_one_sentence(question: dict[str, object], complaint: str) -> None:
    """And nothing changes."""

    async def scene(house: House) -> None:
        end = question.get("until", 3600)
        until = house.until(end) if isinstance(end, int) else end
        with pytest.raises(DataError) as raised:
            await house.ask("grant", **{"address": CLIENT, **question, "until": until})
        assert str(raised.value) == complaint
        assert len(house.windows.active) == 0

    at_home(scene, replace(RULES, never=networks("198.51.100.0/24")))


def test_a_grant_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """It holds now, and the administrator knows that a restart would undo it."""
    store = Broken()

    async def scene(house: House) -> None:
        store.broken = True
        with pytest.raises(DataError, match="granted now, but a restart would undo it"):
            await house.ask("grant", address=CLIENT, until=house.until(60))
        assert house.ends() == 60
        store.broken = False
        assert names(await house.kept()) == {(CLIENT, "", "by hand")}

    at_home(scene, store=store)


@pytest.mark.parametrize("reason", ["caf\udce9 \udcff", "a\nb\x1b[31m\u202e\0", "x" * 5000])
def test_no_reason_keeps_the_store_from_being_written(reason: str, tmp_path: Path) -> None:
    """Bytes that are no UTF-8 come from every terminal; what was granted with them survives a restart."""
    store = open_store(clock=FakeClock(), path=tmp_path / "state.sqlite")

    async def scene(house: House) -> None:
        await house.ask("grant", address=CLIENT, until=house.until(60), reason=reason)
        await house.ask("revoke", address=OTHER, reason=reason)
        await house.ask("revoke", user="caf\udce9", reason=reason)
        (kept,) = store.load(house.clock.now())
        assert kept.why == reason.replace("\udce9", "\\xe9").replace("\udcff", "\\xff")
        assert {(each.kind, each.name) for each in store.tombstones()} == {("address", OTHER), ("user", "caf\udce9")}

    at_home(scene, store=store)


@pytest.mark.parametrize(
    ("revoked", "refused"),
    [({"address": CLIENT}, True), ({"all": True}, True), ({"user": "alice"}, False), ({"address": OTHER}, False)],
)
def test_a_grant_by_hand_holds_while_logins_are_refused(revoked: dict[str, object], refused: bool) -> None:
    """Whoever grants is told; a login from there still opens nothing."""

    async def scene(house: House) -> None:
        await house.ask("revoke", **revoked, until=house.until(7200))
        house.clock.advance(1)
        answer = await house.ask("grant", address=CLIENT, until=house.until(60))
        assert answer["logins_refused"] is refused
        await house.login(user="bob")
        assert house.ends() == (60 if refused else 1800)

    at_home(scene)


# revoke


def test_a_revoked_address_is_out_everywhere_at_once(tmp_path: Path) -> None:
    """Answers, map, store; what comes with the same stamp opens nothing, and the next login does."""

    async def scene(house: House) -> None:
        await house.login()
        await house.login(OTHER)
        answer = await house.ask("revoke", address=CLIENT, uid=1000, reason="stolen")
        assert answer == {"ended": [CLIENT], "until": None}
        assert (house.ends(), house.ends(OTHER)) == (None, 1800)
        assert set(await house.in_map()) == {OTHER}
        assert {kept.client for kept in house.store.load(house.clock.now())} == {OTHER}
        await house.login()
        assert house.ends() is None
        assert house.windows.counts[f"refused: {Reason.REVOKED}"] == 1
        house.clock.advance(1)
        await house.login()
        assert house.ends() == 1800
        await house.ask("grant", address=CLIENT, until=house.until(60))
        house.clock.advance(1)
        await house.ask("grant", address=CLIENT, until=house.until(60))
        ids = [each["id"] for each in house.trail() if each["source"] == "by hand"]
        assert len(set(ids)) == len(ids) == 3
        events = [(each["event"], each.get("rule"), each.get("uid")) for each in house.trail()]
        assert ("revoke", str(Reason.REVOKED), 1000) in events
        assert [each["ended"] for each in house.trail() if "ended" in each] == [1]

    at_home(scene, audit=tmp_path / "audit")


def test_for_a_while_new_logins_are_refused_too() -> None:
    """To the microsecond, and over a restart."""
    store, clock = KeptStore(), FakeClock()

    async def scene(house: House) -> None:
        await house.login()
        answer = await house.ask("revoke", address=CLIENT, until=house.until(86400))
        assert answer["until"] == house.until(86400)

    async def after(house: House) -> None:
        clock.advance(86399.999999)
        await house.login()
        assert house.ends() is None
        clock.advance(microseconds=1)
        await house.login()
        assert house.ends() == 1800

    at_home(scene, store=store, clock=clock)
    at_home(after, store=store, clock=clock)


def test_the_answer_says_how_long_logins_are_refused_in_truth() -> None:
    """A later revocation that is shorter takes nothing from one that stands."""

    async def scene(house: House) -> None:
        await house.ask("revoke", user="alice", until=house.until(86400))
        for until in (None, house.until(60)):
            assert (await house.ask("revoke", user="alice", until=until))["until"] == house.until(86400)

    at_home(scene)


def test_revoking_an_account_leaves_the_others_on_its_addresses() -> None:
    """The window of another account goes on, to its own end; the map hears of that."""

    async def scene(house: House) -> None:
        await house.login(user="bob", ago=600)
        await house.login(user="alice")
        await house.login(OTHER, "ALICE")
        await house.ask("grant", address="192.0.2.12", until=house.until(60))
        assert await house.ask("revoke", user="Alice") == {"ended": [OTHER], "until": None}
        assert (house.ends(), house.ends(OTHER), house.ends("192.0.2.12")) == (1200, None, 60)
        assert await house.in_map() == {CLIENT: 1200, "192.0.2.12": 60}
        assert names(await house.kept()) == {(CLIENT, "bob", "grace"), ("192.0.2.12", "", "by hand")}

    at_home(scene)


def test_revoking_everybody_ends_what_was_granted_by_hand_too() -> None:
    """Nobody is left anywhere."""

    async def scene(house: House) -> None:
        await house.login()
        await house.ask("grant", address=OTHER, until=house.until(60))
        assert await house.ask("revoke", all=True) == {"ended": [CLIENT, OTHER], "until": None}
        assert (len(house.windows.active), await house.in_map(), await house.kept()) == (0, {}, [])

    at_home(scene)


def test_revoking_an_address_ends_its_open_sessions_for_good() -> None:
    """Their logouts change nothing, and neither does a restart."""
    store, clock = KeptStore(), FakeClock()

    async def scene(house: House) -> None:
        await house.live()
        await house.login(OTHER, "zoe", "Z")
        await house.logout("Z", "zoe")
        await house.login(session="A")
        await house.ask("revoke", address=CLIENT)
        house.clock.advance(1)
        await house.login(session="B")
        await house.logout("A")
        assert house.ends() == 8 * 3600

    async def after(house: House) -> None:
        assert house.ends() == 8 * 3600
        await house.logout("B")
        assert house.ends() == 1800

    at_home(scene, HELD, store=store, clock=clock)
    at_home(after, HELD, store=store, clock=clock)


@pytest.mark.parametrize("whom", [{"address": CLIENT}, {"all": True}])
def test_a_store_that_cannot_be_read_keeps_nobody_from_revoking(whom: dict[str, object]) -> None:
    """It takes effect at once, and the administrator hears that a restart would undo it."""
    store = Broken()

    async def scene(house: House) -> None:
        await house.login()
        await house.recorder.flush()
        store.broken = True
        with pytest.raises(DataError, match="revoked now, but a restart would undo it"):
            await house.ask("revoke", **whom)
        assert house.ends() is None
        store.broken = False
        assert await house.kept() == []

    at_home(scene, store=store)


@pytest.mark.parametrize(
    "whom", [{"address": CLIENT}, {"user": "alice"}, {"all": True}], ids=["address", "user", "all"]
)
def test_a_revocation_that_was_lifted_refuses_only_what_came_before_it(whom: dict[str, object]) -> None:
    """Also after a restart; windows stay ended, and nothing is lifted that does not stand."""
    store, clock = KeptStore(), FakeClock()

    async def before(house: House) -> None:
        await house.login()
        with pytest.raises(DataError, match="no revocation of that kind"):
            await house.ask("revoke", **whom, lift=True)
        await house.ask("revoke", **whom, until=house.until(86400))
        old = house.clock.now().wall
        house.clock.advance(60)
        await house.login()
        assert house.ends() is None
        assert await house.ask("revoke", **whom, lift=True, reason="a mistake") == {"ended": [], "until": None}
        assert house.ends() is None
        assert {each.until for each in store.tombstones()} == {house.clock.now().wall}
        assert {each.at for each in store.tombstones()} == {old}

    async def after(house: House) -> None:
        house.clock.advance(60)
        await house.login()
        assert house.ends() == GRACE.total_seconds()

    at_home(before, store=store, clock=clock)
    at_home(after, store=store, clock=clock)


@pytest.mark.parametrize("exact", [False, True])
def test_an_address_is_revoked_with_the_prefix_that_it_opened(exact: bool) -> None:
    """Whoever comes from there; and what was granted by hand to an address in it."""

    async def scene(house: House) -> None:
        if exact:
            await house.ask("grant", address=V6, until=house.until(60))
        else:
            await house.login("2001:db8:1:2::99")
        assert await house.ask("revoke", address=V6, until=house.until(60)) == {
            "ended": [V6 if exact else NET],
            "until": house.until(60),
        }
        house.clock.advance(1)
        await house.login("2001:db8:1:2::77")
        await house.login("2001:db8:1:3::1")
        assert (house.ends(V6), house.ends("2001:db8:1:3::1")) == (None, 1800)

    at_home(scene, NETS)


def test_where_the_prefix_is_not_granted_only_the_address_is_revoked() -> None:
    """The host itself is in that network, and so are others."""

    async def scene(house: House) -> None:
        await house.login(V6)
        await house.login("2001:db8:1:2::6")
        assert (await house.ask("revoke", address=V6, until=house.until(60)))["ended"] == [V6]
        house.clock.advance(1)
        await house.login("2001:db8:1:2::6")
        await house.login(V6)
        assert (house.ends(V6), house.ends("2001:db8:1:2::6")) == (None, 1800)

    at_home(scene, replace(NETS, own=frozenset((type(CLIENT)("2001:db8:1:2::1"),))))


@pytest.mark.parametrize(
    ("question", "complaint"),
    [
        ({}, "that is no IPv4 or IPv6 address"),
        ({"user": ""}, "that is no account's name"),
        ({"user": " "}, "that is no account's name"),
        ({"user": "\ud800"}, "that is no account's name"),
        ({"address": CLIENT, "until": "never"}, "that is no time"),
    ],
)
def test_a_revocation_that_cannot_be_is_one_sentence(question: dict[str, object], complaint: str) -> None:
    """And nothing changes, least of all the store."""

    async def scene(house: House) -> None:
        with pytest.raises(DataError) as raised:
            await house.ask("revoke", **question)
        assert str(raised.value) == complaint
        assert not house.pipeline.rules.tombstones
        await house.recorder.flush()

    at_home(scene)


def test_a_later_revocation_makes_no_earlier_one_shorter() -> None:
    """Of the same name the later moments count."""

    async def scene(house: House) -> None:
        until = house.until(86400)
        await house.ask("revoke", address=CLIENT, until=until)
        house.clock.advance(5)
        await house.ask("revoke", address=CLIENT)
        (tombstone,) = house.store.tombstones()
        assert (tombstone.at, tombstone.until.isoformat()) == (house.clock.now().wall, until)

    at_home(scene)
