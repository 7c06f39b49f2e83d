"""The two clocks."""

from datetime import UTC, datetime, timedelta

import pytest

from popbeforesmtp.clock import Clock, SystemClock
from tests.clocks import START, FakeClock


def test_the_wall_clock_is_utc_and_boottime_never_goes_back() -> None:
    """The system's clock gives aware UTC times that lie between two readings, and a boottime that only grows."""
    clock = SystemClock()
    before = datetime.now(UTC)
    first, second = clock.now(), clock.now()
    after = datetime.now(UTC)
    assert first.wall.utcoffset() == timedelta()
    assert before <= first.wall <= after
    assert 0 < first.boottime <= second.boottime


def test_every_clock_of_one_boot_names_the_same_boot() -> None:
    """Two clocks of one machine agree on the boot, or deadlines could not be carried across a restart."""
    assert SystemClock().boot_id == SystemClock().boot_id
    assert SystemClock().boot_id.strip() == SystemClock().boot_id != ""


def test_a_moment_cannot_be_changed() -> None:
    """A moment travels through the pipeline, so nobody may change it on the way."""
    moment = FakeClock().now()
    with pytest.raises(AttributeError):
        moment.boottime = 0.0  # type: ignore[misc]


def test_the_fake_clock_keeps_its_two_clocks_apart() -> None:
    """The tests' clock moves both clocks, or the wall clock alone, and starts boottime anew at a boot."""
    clock = FakeClock(boottime=10.0)
    as_clock: Clock = clock
    assert (clock.now().wall, clock.now().boottime) == (START, 10.0)
    clock.advance(5, microseconds=1)
    assert (clock.now().wall, clock.now().boottime) == (START + timedelta(seconds=5, microseconds=1), 15.000001)
    clock.step(-3600)
    assert clock.now().wall == START + timedelta(seconds=5 - 3600, microseconds=1)
    assert clock.now().boottime == 15.000001
    clock.suspend(100)
    assert clock.now().boottime == 115.000001
    assert as_clock.boot_id == "first boot"
    wall = clock.now().wall
    clock.reboot(off=60, up=2)
    assert (clock.now().wall, clock.now().boottime) == (wall + timedelta(seconds=62), 2.0)
    assert as_clock.boot_id == "second boot"
