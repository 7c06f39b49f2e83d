"""What the daemon answers while it starts, and to ``list``."""

import pytest

from popbeforesmtp.answers import Answers
from popbeforesmtp.errors import DataError
from tests.clocks import FakeClock
from tests.house import OTHER, BrokenStore, House, at_home
from tests.scenes import play
from tests.test_pipeline import CLIENT


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


def test_a_daemon_that_is_starting_says_so() -> None:
    """To whoever wants something done; there is nobody to list or check."""

    async def scene() -> None:
        answers = Answers(FakeClock()).by_name()
        for command in ("grant", "revoke", "explain"):
            with pytest.raises(DataError, match="still starting"):
                await answers[command]({"address": CLIENT, "uid": 0})
        assert await answers["list"]({}) == []
        assert await answers["check"]({"address": CLIENT}) == {"expires_at": None}

    play(scene)
