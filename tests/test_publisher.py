"""Publisher: a map follows the active set, whatever becomes of a single attempt to write it."""

import asyncio

import pytest

from popbeforesmtp.errors import DataError
from popbeforesmtp.mtas import MapError
from tests.scenes import play, until
from tests.stage import A, B, C, D, Stage, perform

pytestmark = pytest.mark.usefixtures("quick_retries")


def test_the_map_is_made_true_before_anything_else() -> None:
    """Whoever is active is in it, nobody else."""

    async def scene() -> None:
        stage = Stage(A, B)
        stage.map.holds = {C}
        await stage.publisher.make_true()
        assert stage.map.holds == {A, B}
        await stage.publisher.close()

    play(scene)


def test_what_will_not_pass_ends_the_start() -> None:
    """A map of somebody else is the administrator's mistake, and no retry mends it."""

    async def scene() -> None:
        stage = Stage(A)
        stage.map.failure = DataError("not ours")
        with pytest.raises(DataError):
            await stage.publisher.make_true()
        stage.map.failure = None
        await stage.publisher.close()

    play(scene)


def test_what_may_pass_is_tried_again_after_the_start(said: list[str]) -> None:
    """A full disk keeps nobody from starting."""

    async def scene() -> None:
        stage = Stage(A)
        stage.map.failure = MapError("disk full")
        await stage.begin()
        assert stage.publisher.trouble == "disk full"
        stage.map.failure = None
        await until(lambda: stage.map.holds == {A} and stage.publisher.trouble is None)
        await stage.publisher.close()

    play(scene)
    assert len([line for line in said if "disk full" in line]) == 1


def test_who_comes_and_who_goes_is_brought_to_the_map() -> None:
    """By a change, not by writing everybody anew."""

    async def scene(stage: Stage) -> None:
        stage.come(B)
        await until(lambda: stage.map.holds == {A, B})
        stage.go(A)
        await until(lambda: stage.map.holds == {B})
        assert stage.map.attempts == [{A}, ({B}, set()), (set(), {A})]

    perform(scene, A)


def test_what_comes_while_the_map_is_being_written_is_gathered() -> None:
    """A burst costs two writes, and nobody waits for them."""

    async def scene(stage: Stage) -> None:
        stage.map.free.clear()
        stage.come(B)
        await until(lambda: len(stage.map.attempts) == 2)
        for client in (C, D):
            stage.come(client)
            await asyncio.sleep(0)
        stage.go(A)
        stage.map.free.set()
        await until(lambda: stage.map.holds == set(stage.active))
        assert stage.map.attempts == [{A}, ({B}, set()), ({C, D}, {A})]

    perform(scene, A)


def test_what_comes_soon_after_a_publish_is_gathered_where_the_map_asks_for_it() -> None:
    """Each publish of such a map makes the mail server start anew."""

    async def scene() -> None:
        stage = Stage(A)
        stage.map.interval = 0.1
        await stage.begin()
        stage.come(B)
        await until(lambda: stage.map.holds == {A, B})
        await asyncio.sleep(0)
        for client in (C, D):
            stage.come(client)
            await asyncio.sleep(0.001)
        await until(lambda: stage.map.holds == {A, B, C, D})
        assert stage.map.attempts == [{A}, ({B}, set()), ({C, D}, set())]
        await stage.publisher.close()

    play(scene)


def test_the_last_word_on_a_client_counts() -> None:
    """Who came and went in one burst is out, who went and came is in."""

    async def scene() -> None:
        stage = Stage(A)
        await stage.begin()
        stage.come(B)
        stage.go(B)
        stage.go(A)
        stage.come(A)
        await until(lambda: len(stage.map.attempts) == 2)
        await stage.publisher.close()
        assert stage.map.attempts[1] == ({A}, {B})
        assert stage.map.holds == set(stage.active) == {A}

    play(scene)


def test_after_a_failure_and_a_success_the_map_is_the_active_set(said: list[str]) -> None:
    """Nothing that was waiting, or came meanwhile, is lost by the failure."""

    async def scene(stage: Stage) -> None:
        stage.map.failure = MapError("disk full")
        stage.come(B)
        await until(lambda: stage.publisher.trouble is not None)
        stage.go(A)
        stage.come(C)
        assert stage.map.holds == {A}
        stage.map.failure = None
        await until(lambda: stage.map.holds == {B, C} and stage.publisher.trouble is None)
        stage.come(D)
        await until(lambda: stage.map.holds == {B, C, D})

    perform(scene, A)
    assert [line for line in said if "works again" in line]


def test_what_comes_during_an_attempt_that_fails_is_not_lost() -> None:
    """It was neither in that attempt nor forgotten with it."""

    async def scene(stage: Stage) -> None:
        stage.map.free.clear()
        stage.come(A)
        await until(lambda: len(stage.map.attempts) == 2)
        stage.come(B)
        stage.map.failure = MapError("disk full")
        stage.map.free.set()
        await until(lambda: stage.publisher.trouble is not None)
        stage.map.failure = None
        await until(lambda: stage.map.holds == {A, B})

    perform(scene)


def test_trouble_is_said_once(said: list[str]) -> None:
    """However often it is tried, and again when it is another trouble."""

    async def scene(stage: Stage) -> None:
        stage.map.failure = MapError("disk full")
        stage.come(A)
        await until(lambda: len(stage.map.attempts) > 5)
        stage.map.failure = MapError("lock held")
        await until(lambda: stage.publisher.trouble == "lock held")
        stage.map.failure = None
        await until(lambda: stage.publisher.trouble is None)

    perform(scene)
    assert len([line for line in said if "disk full" in line]) == 1
    assert len([line for line in said if "lock held" in line]) == 1
    assert len([line for line in said if "works again" in line]) == 1


def test_a_map_that_is_gone_is_made_again(said: list[str]) -> None:
    """It is said once, and nobody has to log in anew."""

    async def scene(stage: Stage) -> None:
        stage.map.holds = None
        stage.publisher.check()
        stage.publisher.check()
        await until(lambda: stage.map.holds == {A, B} and stage.publisher.trouble is None)
        stage.publisher.check()
        assert stage.map.attempts == [{A, B}, {A, B}]

    perform(scene, A, B)
    assert len([line for line in said if "gone" in line]) == 1


def test_a_look_at_a_map_that_is_as_it_was_wakes_nobody() -> None:
    """Each second of each idle day it is one; and however often it is asked for, one waits."""

    async def scene() -> None:
        stage = Stage(A)
        await stage.begin()
        looks: list[bool] = []
        stage.map.lost = lambda: looks.append(True) or False  # type: ignore[method-assign, func-returns-value]
        for _ in range(3):
            stage.publisher.check()
        await stage.publisher._worker.do(lambda: None)
        assert looks
        assert not stage.publisher._wake.is_set()
        stage.publisher.check()
        await stage.publisher._worker.do(lambda: None)
        assert len(looks) > 1
        await stage.publisher.close()
        assert stage.map.attempts == [{A}]

    play(scene)


def test_a_look_that_ends_after_the_end_changes_nothing(said: list[str]) -> None:
    """Who closed the map is not told that it is gone."""

    async def scene() -> None:
        stage = Stage(A)
        await stage.begin()
        await stage.publisher.close()
        stage.map.holds = None
        stage.publisher._look(asyncio.get_running_loop())  # as its thread may, which ends a little later
        await asyncio.sleep(0)
        assert stage.publisher.trouble is None

    play(scene)
    assert not [line for line in said if "gone" in line]


def test_a_map_that_cannot_be_told_again_is_owed_all(monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    """It may have lost more than what failed; that is trouble as any other, and mended as any other."""

    async def scene() -> None:
        stage = Stage(A, B)
        await stage.begin()
        with monkeypatch.context() as patched:
            patched.setattr(stage.map, "lost", _no_such_table)
            stage.publisher.check()
            await until(lambda: any("no such table" in line for line in said))
        await until(lambda: stage.publisher.trouble is None)
        assert stage.map.attempts == [{A, B}, {A, B}]
        await stage.publisher.close()

    play(scene)
    assert len([line for line in said if "no such table" in line]) == 1


def _no_such_table() -> bool:
    raise MapError("no such table")


def test_who_cannot_be_held_is_not_brought_to_the_map_and_said(said: list[str]) -> None:
    """The administrator hears why the map leaves a client out."""

    async def scene() -> None:
        stage = Stage()
        stage.map.cannot = {B}
        await stage.begin()
        stage.come(B)
        stage.come(A)
        await until(lambda: stage.map.holds == {A})
        stage.go(B)
        stage.go(A)
        await until(lambda: stage.map.holds == set())
        assert stage.map.attempts == [set(), ({A}, set()), (set(), {A})]
        await stage.publisher.close()

    play(scene)
    assert [line for line in said if B in line and "it would let others in" in line]


@pytest.mark.parametrize("ended", [True, False], ids=["somebody's window ended", "nobody's did"])
def test_a_map_that_cannot_be_written_shuts_out_all_before_it_keeps_somebody_in(
    monkeypatch: pytest.MonkeyPatch, said: list[str], ended: bool
) -> None:
    """Long enough after his end; a failure that keeps nobody in only keeps the map as it is."""
    monkeypatch.setattr("popbeforesmtp.publisher._SHUT_AFTER", 0.01)

    async def scene(stage: Stage) -> None:
        stage.map.failure = MapError("disk full")
        stage.go(A) if ended else stage.come(C)
        await until(lambda: stage.publisher.trouble is not None)
        await asyncio.sleep(0.05)
        assert stage.map.holds == (set() if ended else {A, B})
        stage.map.failure = None
        await until(lambda: stage.map.holds == set(stage.active))

    perform(scene, A, B)
    assert any("holds nobody until it can be written again" in line for line in said) == ended
