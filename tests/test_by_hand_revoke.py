"""Revocations: at once, everywhere, and no login of before counts any more."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from popbeforesmtp.errors import DataError
from popbeforesmtp.model import Reason
from tests.clocks import FakeClock
from tests.house import OTHER, BrokenStore, House, at_home, names
from tests.test_pipeline import CLIENT, GRACE, RULES, KeptStore

V6, NET = "2001:db8:1:2::5", "2001:db8:1:2::/64"
NETS = replace(RULES, ipv6_prefix=64)
HELD = replace(RULES, hold=timedelta(hours=8))


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
    store = BrokenStore()

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
