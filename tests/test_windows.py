"""Who may relay, and that everybody hears of it: map, store, counts, audit trail."""

import asyncio
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.model import Reason
from popbeforesmtp.rules import by_hand
from popbeforesmtp.stores import StoreError
from tests.house import House, at_home, names
from tests.test_pipeline import CLIENT, RULES, KeptStore
from tests.test_rules import networks

V6, NET = ClientAddress("2001:db8:1:2::5"), ClientAddress("2001:db8:1:2::/64")
"""An IPv6 client, and its network."""


# By hand


@pytest.mark.parametrize("length", [600, 1800, 7200])
def test_a_grant_by_hand_is_said_and_kept_whatever_else_goes_on(length: int, tmp_path: Path) -> None:
    """Also where a login's window ends later, so that nothing changes now."""

    async def scene(house: House) -> None:
        await house.login()
        now = house.clock.now()
        house.windows.grant_by_hand(
            by_hand(CLIENT, now.wall + timedelta(seconds=length), now, 1000, "printer"), await house.kept(), now
        )
        assert house.ends() == max(length, 1800)
        assert names(await house.kept()) == {(CLIENT, "alice", "grace"), (CLIENT, "", "by hand")}
        last = house.trail()[-1]
        assert (last["event"], last["rule"], last["uid"], last["reason"]) == ("grant", "by hand", 1000, "printer")
        assert sum("granted" in said and 'rule="by hand"' in said for said in house.ear.said) == 1
        assert await house.in_map() == {CLIENT: max(length, 1800)}

    at_home(scene, audit=tmp_path / "audit")


@pytest.mark.parametrize("login", [False, True])
def test_a_later_grant_by_hand_takes_the_place_of_the_earlier_one(login: bool) -> None:
    """Also where it is shorter: the map hears of the earlier end."""

    async def scene(house: House) -> None:
        if login:
            await house.login()
        for length, expected in ((7200, 7200), (60, 1800 if login else 60)):
            await house.ask("grant", address=CLIENT, until=house.until(length))
            assert house.ends() == expected
            assert await house.in_map() == {CLIENT: expected}
        assert len(await house.kept()) == 1 + login

    at_home(scene)


def test_every_login_is_in_the_audit_trail_also_where_nothing_changes(tmp_path: Path) -> None:
    """Another account's login on an address is a decision of its own."""

    async def scene(house: House) -> None:
        await house.login(user="alice")
        await house.login(user="bob", ago=60)
        await house.login(user="alice", ago=-1)
        assert [(each["event"], each["account"]) for each in house.trail()] == [
            ("grant", "alice"),
            ("renew", "bob"),
            ("renew", "alice"),
        ]
        assert len({each["id"] for each in house.trail()}) == 3
        house.clock.advance(1800)
        await house.read()
        assert house.trail()[-1]["event"] == "expire"

    at_home(scene, audit=tmp_path / "audit")


# Settling


def test_what_was_taken_back_is_tried_again_while_the_store_cannot_be_read() -> None:
    """The window stays as it is meanwhile, and ends at its time at the latest."""

    class Broken(KeptStore):
        broken = False

        def load_client(self, client: ClientAddress, now: object) -> list[object]:  # type: ignore[override]
            if self.broken:
                raise StoreError("disk I/O error")
            return super().load_client(client, now)  # type: ignore[arg-type,return-value]

    store = Broken()

    async def scene(house: House) -> None:
        await house.login()
        (kept,) = await house.kept()
        store.broken = True
        house.windows.close(kept)
        with pytest.raises(StoreError):
            await house.windows.settle()
        assert (house.ends(), house.windows.unsettled) == (1800, True)
        store.broken = False
        await house.windows.settle()
        assert (house.ends(), house.windows.unsettled) == (None, False)

    at_home(scene, store=store)


def test_many_logouts_on_one_address_are_settled_together() -> None:
    """Each settling reads all that is left of the address; while one takes long, others gather for the next."""

    class Slow(KeptStore):
        asked = 0

        def load_client(self, client: ClientAddress, now: object) -> list[object]:  # type: ignore[override]
            self.asked += 1
            threading.Event().wait(0.02)
            return super().load_client(client, now)  # type: ignore[arg-type,return-value]

    store = Slow()

    async def scene(house: House) -> None:
        for number in range(60):
            await house.login(user=f"u{number}")
        kept = await house.kept()
        began = asyncio.get_running_loop().time()
        for gone in kept:
            house.windows.close(gone)
            house.pipeline._settle()
            await asyncio.sleep(0.002)

        await house.settled()
        assert store.asked <= 2 + (asyncio.get_running_loop().time() - began) / 0.1
        assert house.ends() is None

    at_home(scene, store=store)


def test_a_login_that_comes_while_a_window_is_settled_counts() -> None:
    """Settling asks the store in a thread; who logs in meanwhile is among what is left."""

    class Slow(KeptStore):
        between = staticmethod(lambda: None)

        def load_client(self, client: ClientAddress, now: object) -> list[object]:  # type: ignore[override]
            found = super().load_client(client, now)  # type: ignore[arg-type]
            self.between()
            return found  # type: ignore[return-value]

    store = Slow()

    async def scene(house: House) -> None:
        await house.login(user="alice")
        (kept,) = await house.kept()
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def grant() -> None:
            house.windows.grant(kept._replace(user="bob"), house.clock.now())
            done.set()

        def between() -> None:
            asyncio.run_coroutine_threadsafe(_call(grant), loop).result(5)

        store.between = between  # type: ignore[assignment]
        house.windows.close(kept)
        await house.windows.settle()
        assert done.is_set()
        assert house.ends() == 1800
        assert names(await house.kept()) == {(CLIENT, "bob", "grace")}

    at_home(scene, store=store)


async def _call(work: object) -> None:
    assert callable(work)
    work()


# Prefixes and networks


def test_a_prefix_is_one_client_to_whoever_asks() -> None:
    """Each address in it may relay, none beside it."""

    async def scene(house: House) -> None:
        await house.login(V6)
        assert list(house.windows.active) == [NET]
        assert house.windows.permits(ClientAddress("2001:db8:1:2:ffff::1"))
        assert not house.windows.permits(ClientAddress("2001:db8:1:3::1"))
        assert house.ends("2001:db8:1:2:ffff::1") == 1800
        house.pipeline.obey(replace(RULES, ipv6_prefix=128))
        assert (house.ends(V6), await house.in_map(), await house.kept()) == (None, {}, [])
        assert house.windows.counts[f"revoked: {Reason.PREFIX}"] == 1

    at_home(scene, replace(RULES, ipv6_prefix=64))


def test_a_never_network_takes_back_what_lies_in_it() -> None:
    """Prefixes that only touch it too; everybody else stays."""

    async def scene(house: House) -> None:
        for client in (CLIENT, "198.51.100.9", V6):
            await house.login(client)
        house.pipeline.obey(replace(house.pipeline.rules, never=networks("192.0.2.0/24", "2001:db8:1:2:8000::/65")))
        assert list(house.windows.active) == ["198.51.100.9"]

    at_home(scene, replace(RULES, ipv6_prefix=64))
