"""The loop, of sessions that stay open (``hold``), when their sources come, go or cannot be read."""

import pytest

from popbeforesmtp import wiring
from popbeforesmtp.following import Followed, Reading, share
from popbeforesmtp.header import HeaderReader
from popbeforesmtp.model import Origin
from tests.clocks import FakeClock
from tests.house import OTHER, House, Log, at_home
from tests.test_pipeline import KeptStore
from tests.test_pipeline_hold import HELD, HOLD, seen


def test_a_source_that_is_followed_no_longer_holds_nothing() -> None:
    """Nobody would see its sessions end."""

    async def scene(house: House) -> None:
        await seen(house)
        await house.login(session="A")
        house.pipeline.follow([])
        await house.windows.settle()
        assert house.ends() == 1800
        assert house.log.closed

    at_home(scene, HELD)


@pytest.mark.parametrize(("reads", "left"), [({"dovecot"}, HOLD), ({"courier"}, 1800)])
def test_a_source_that_takes_anothers_place_takes_over_the_sessions_that_are_open_there(
    reads: set[str], left: float
) -> None:
    """It goes on in the same log, by other settings; where it cannot read their logouts, they are held no longer."""

    async def scene(house: House) -> None:
        await seen(house)
        await house.login(session="A")
        await house.login(OTHER, session="B")
        house.log, old = Log(), house.log
        house.followed = Followed(
            house.log, wiring.engine(), lambda: Reading(HeaderReader(), None), reads=frozenset(reads)
        )
        house.pipeline.follow([house.followed])
        await house.read()
        assert old.closed
        assert (house.ends(), house.ends(OTHER)) == (left, left)
        await house.logout("A")
        assert (house.ends(), house.ends(OTHER)) == (1800, left)

    at_home(scene, HELD)


def test_while_a_log_cannot_be_read_nobody_is_held_for_longer_than_a_grace_period() -> None:
    """Nobody would see the sessions end; a gap that is shorter, as in a rotation, changes nothing."""

    async def scene(house: House) -> None:
        await seen(house)
        await house.login(session="A")
        for broken, passed, left in (
            (True, 0, HOLD),
            (True, 1799.999999, HOLD - 1799.999999),
            (False, 60, HOLD - 1859.999999),
            (True, 60, HOLD - 1919.999999),
            (True, 1799.999999, HOLD - 3719.999998),
            (True, 0.001, None),
        ):
            house.log.broken = broken
            house.clock.advance(passed)
            await house.read()
            house.pipeline._check_at = 0.0
            house.pipeline._look_after()
            await house.settled()
            assert house.ends() == (None if left is None else pytest.approx(left, abs=1e-6))
        assert any("its open sessions are held no longer" in said for said in house.ear.said)

    at_home(scene, HELD)


def test_of_two_sources_the_one_that_is_followed_no_longer_takes_back_its_own_sessions_alone() -> None:
    """After a restart too, before anything was read of either."""
    store, clock = KeptStore(), FakeClock()

    async def before(house: House) -> None:
        await seen(house)
        await house.login(session="A")

    async def after(house: House) -> None:
        log = Log()
        log.name = "another"
        another = Followed(log, wiring.engine(), lambda: Reading(HeaderReader(), None))
        foreign = house.followed.held[0]._replace(client=OTHER, origin=Origin("a third", 0))
        house.pipeline.follow([house.followed, another])
        assert share([*house.followed.held, foreign], [house.followed, another]) == [foreign]
        house.pipeline.follow([house.followed])
        await house.windows.settle()
        assert house.ends() == HOLD
        house.pipeline.follow([])
        await house.windows.settle()
        assert house.ends() == 1800

    at_home(before, HELD, store=store, clock=clock)
    at_home(after, HELD, store=store, clock=clock)


def test_a_source_of_several_logs_is_given_the_sessions_of_all_of_them() -> None:
    """It is named by a pattern."""

    async def scene(house: House) -> None:
        await seen(house)
        await house.login(session="A")
        held = [each._replace(origin=Origin("/var/log/mail/a.log", 0)) for each in house.followed.holds.all()]
        house.log.name = "/var/log/mail/*.log"
        assert share(held, [house.followed]) == []
        assert house.followed.held == held

    at_home(scene, HELD)
