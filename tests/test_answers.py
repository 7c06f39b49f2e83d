"""What the daemon answers to ``list``, and while it starts."""

import asyncio
from dataclasses import replace

import pytest

from popbeforesmtp import answers
from popbeforesmtp.answers import Answers
from popbeforesmtp.errors import DataError
from tests.clocks import FakeClock
from tests.house import OTHER, BrokenStore, House, at_home
from tests.scenes import play
from tests.test_pipeline import CLIENT, RULES


def test_the_list_says_each_reason_that_somebody_may_relay() -> None:
    """And none that has ended, though another one of the same address goes on and the store is behind."""
    store = BrokenStore()

    async def scene(house: House) -> None:
        await house.login(user="bob", ago=1799)
        await house.login(user="alice\u202e")
        await house.ask("grant", address=OTHER, until=house.until(60), reason="r")
        listed = await house.ask("list")
        assert {(entry["address"], entry["rule"]) for entry in listed} == {(CLIENT, "grace"), (OTHER, "by hand")}
        assert len(listed) == 3
        house.clock.advance(1)
        assert {entry["user"] for entry in await house.ask("list")} == {"alice\u202e", ""}
        by_hand = next(entry for entry in listed if entry["rule"] == "by hand")
        assert (by_hand["uid"], by_hand["reason"]) == (0, "r")

    at_home(scene, store=store)


def test_a_long_list_keeps_no_mail_server_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others have their turn all the while."""
    monkeypatch.setattr(answers, "_AT_ONCE", 2)

    async def scene(house: House) -> None:
        for number in range(20):
            await house.login(f"192.0.2.{number}")
        await house.kept()
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        entries = await house.recorder.entries(house.clock.now())

        async def known(_: object) -> object:
            return entries

        monkeypatch.setattr(house.recorder, "entries", known)
        task = asyncio.create_task(others())
        assert len(await house.ask("list")) == 20
        task.cancel()
        assert turns >= 10

    at_home(scene)


def test_a_daemon_that_is_starting_says_so() -> None:
    """To whoever wants something done; there is nobody to list or check."""

    async def scene() -> None:
        known = Answers(FakeClock()).by_name()
        for command in ("grant", "revoke", "explain"):
            with pytest.raises(DataError, match="still starting"):
                await known[command]({"address": CLIENT, "uid": 0})
        assert await known["list"]({}) == []
        assert await known["check"]({"address": CLIENT}) == {"expires_at": None}

    play(scene)


def test_an_account_is_explained_with_what_each_output_says_of_its_addresses() -> None:
    """Of a network that it opened too, by its first address; of nobody's where it opened none."""

    async def scene(house: House) -> None:
        for client in (CLIENT, "2001:db8:1:2::5"):
            await house.login(client)
        await house.login(OTHER, "bob")
        said = (await house.ask("explain", who="Alice"))["outputs"]
        assert {(each["address"], each["name"], each["says"]) for each in said} == {
            (address, "set", "may relay") for address in (CLIENT, "2001:db8:1:2::")
        }
        assert (await house.ask("explain", who="carol"))["outputs"] == []

    at_home(scene, replace(RULES, ipv6_prefix=64))
