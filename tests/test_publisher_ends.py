"""Publisher: what a map hears of the ends of windows, and what it is left with when the daemon ends."""

import asyncio

import pytest

from popbeforesmtp.mtas import MapError
from tests.scenes import play, until
from tests.stage import LATER, SOON, A, B, C, Stage, perform

pytestmark = pytest.mark.usefixtures("quick_retries")


# Ends of windows


def test_a_map_hears_until_when() -> None:
    """At the start, and whenever somebody comes."""

    async def scene(stage: Stage) -> None:
        stage.come(B)
        await until(lambda: stage.map.ends == {A: SOON, B: SOON})

    perform(scene, A)


def test_a_renewal_is_no_matter_of_a_map_without_ends() -> None:
    """Each publish costs, and this one would change nothing."""

    async def scene() -> None:
        stage = Stage(A)
        await stage.begin()
        stage.renew(A)
        stage.publisher.check()
        stage.come(B)
        await until(lambda: stage.map.holds == {A, B})
        await stage.heard()
        await stage.publisher.close()
        assert stage.map.attempts == [{A}, ({B}, set())]

    play(scene)


def test_renewals_reach_a_map_with_ends_at_the_next_look_all_at_once() -> None:
    """They are not urgent: the old end has not come."""

    async def scene(stage: Stage) -> None:
        for client in (A, B, A):
            stage.renew(client)
            await asyncio.sleep(0.001)
        assert stage.map.attempts == [{A, B}]
        stage.publisher.check()
        await until(lambda: stage.map.ends == {A: LATER, B: LATER})
        assert stage.map.attempts == [{A, B}, ({A, B}, set())]

    perform(scene, A, B, timed=True)


def test_who_goes_after_a_renewal_is_out_and_who_is_renewed_after_coming_has_the_later_end() -> None:
    """The last word counts."""

    async def scene(stage: Stage) -> None:
        stage.renew(A)
        stage.go(A)
        stage.come(B)
        stage.renew(B)
        await until(lambda: stage.map.ends == {B: LATER})
        assert stage.map.attempts[1:] == [({B}, {A})]

    perform(scene, A, timed=True)


def test_a_renewal_that_is_waiting_is_published_at_the_end() -> None:
    """Or the window would be shorter than it was said to be."""

    async def scene() -> None:
        stage = Stage(A)
        stage.map.timed = True
        await stage.begin()
        stage.renew(A)
        await stage.publisher.close()
        assert stage.map.ends == {A: LATER}

    play(scene)


def test_a_failure_loses_no_renewal() -> None:
    """All is brought anew, with the ends that hold then."""

    async def scene(stage: Stage) -> None:
        stage.map.failure = MapError("disk full")
        stage.renew(A)
        stage.publisher.check()
        await until(lambda: stage.publisher.trouble is not None)
        stage.map.failure = None
        await until(lambda: stage.map.ends == {A: LATER})

    perform(scene, A, timed=True)


# The end


def test_closing_publishes_what_is_waiting_and_lets_go_of_the_map() -> None:
    """Also while the map is being written."""

    async def scene() -> None:
        stage = Stage(A)
        await stage.begin()
        stage.map.free.clear()
        stage.come(B)
        await until(lambda: len(stage.map.attempts) == 2)
        stage.come(C)
        closing = asyncio.create_task(stage.publisher.close())
        await asyncio.sleep(0)
        stage.map.free.set()
        await closing
        assert stage.map.holds == {A, B, C}
        assert stage.map.closed

    play(scene)


def test_closing_makes_up_for_a_failure() -> None:
    """It does not wait for the next attempt to be due."""

    async def scene() -> None:
        stage = Stage()
        await stage.begin()
        stage.map.failure = MapError("disk full")
        stage.come(A)
        await until(lambda: stage.publisher.trouble is not None)
        stage.map.failure = None
        await stage.publisher.close()
        assert stage.map.holds == {A}

    play(scene)


def test_closing_an_empty_map_leaves_nobody_in_it() -> None:
    """Where the administrator wants no relay without the daemon."""

    async def scene() -> None:
        stage = Stage(A)
        await stage.begin()
        stage.come(B)
        await stage.publisher.close(empty=True)
        assert stage.map.holds == set()
        assert stage.map.closed

    play(scene)


def test_closing_where_the_map_fails_says_so_and_ends(said: list[str]) -> None:
    """Nothing can be done any more but to tell."""

    async def scene(stage: Stage) -> None:
        stage.map.failure = MapError("disk full")
        stage.come(A)

    perform(scene)
    assert "disk full" in said[-1]


def test_closing_where_the_map_takes_too_long_says_so_and_ends(
    said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop must not hang, and the sentence names the reason."""
    monkeypatch.setattr("popbeforesmtp.publisher._CLOSE_SECONDS", 0.02)

    async def scene() -> None:
        stage = Stage()
        await stage.begin()
        stage.map.free.clear()
        stage.come(A)
        await stage.publisher.close()
        stage.map.free.set()

    play(scene)
    assert "in time" in said[-1]
