"""``type = "sqlite"``: when a window ends that was stored before a restart of the daemon, or of the machine."""

import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from popbeforesmtp.stores.sqlite import open_store
from tests.clocks import FakeClock
from tests.stores.contract import ONE, TWO, grant, granted


def test_many_restarts_within_a_boot_leave_the_end_where_it_was(path: Path, clock: FakeClock) -> None:
    """However often it is opened, the window ends when CLOCK_BOOTTIME says, also where the wall clock is set back."""
    first = open_store(clock=clock, path=path)
    first.write(granted(grant(ONE, clock.now(), 100)))
    first.close()
    clock.step(-86400)
    for _ in range(9):
        again = open_store(clock=clock, path=path)
        (entry,) = again.load(clock.now())
        assert entry.deadline == FakeClock().now().boottime + 100
        again.close()
        clock.advance(10)
    last = open_store(clock=clock, path=path)
    assert len(last.load(clock.advance(10, microseconds=-1))) == 1
    assert last.load(clock.advance(microseconds=1)) == []
    last.close()


def test_after_a_reboot_the_wall_clock_says_what_is_left(path: Path, clock: FakeClock) -> None:
    """The time that the machine was off counts; the rest is measured on the new boot's CLOCK_BOOTTIME."""
    store = open_store(clock=clock, path=path)
    store.write(granted(grant(ONE, clock.now(), 100), grant(TWO, clock.now(), 65)))
    store.close()
    now = clock.reboot(off=60, up=5)
    again = open_store(clock=clock, path=path)
    (entry,) = again.load(now)
    assert entry.client == ONE
    assert entry.expires_at == now.wall + timedelta(seconds=35)
    assert entry.deadline == pytest.approx(now.boottime + 35)
    assert len(again.load(clock.advance(35, microseconds=-1))) == 1
    assert again.load(clock.advance(microseconds=1)) == []
    again.close()


def test_a_clock_that_lost_the_time_at_a_reboot_gives_no_more_than_the_whole_window(
    path: Path, clock: FakeClock
) -> None:
    """A machine without a battery wakes up years ago; then a window is at most as long as it was at its login."""
    store = open_store(clock=clock, path=path)
    store.write(granted(grant(ONE, clock.now(), 100)))
    store.close()
    now = clock.reboot(off=-50 * 365 * 86400.0)
    again = open_store(clock=clock, path=path)
    (entry,) = again.load(now)
    assert entry.remaining(now) == pytest.approx(1800)
    again.close()


def test_a_restart_after_such_a_reboot_gives_no_second_whole_window(path: Path, clock: FakeClock) -> None:
    """What was left at the first start of this boot is what is left, less the time gone by, at every later one.

    A start is what the daemon and the sweep do: purge, then load.
    """
    store = open_store(clock=clock, path=path)
    store.write(granted(grant(ONE, clock.now(), 100)))
    store.close()
    clock.reboot(off=-50 * 365 * 86400.0)
    for passed in (0, 600, 1200, 1799):
        again = open_store(clock=clock, path=path)
        again.purge(clock.now())
        (entry,) = again.load(clock.now())
        assert entry.remaining(clock.now()) == pytest.approx(1800 - passed)
        again.close()
        clock.advance({0: 600, 600: 600, 1200: 599, 1799: 1}[passed])
    last = open_store(clock=clock, path=path)
    assert last.load(clock.now()) == []
    last.close()


def test_a_login_after_such_a_reboot_is_kept(path: Path, clock: FakeClock) -> None:
    """Its end looks earlier than that of the earlier boot's row, but it is the login that counts now."""
    store = open_store(clock=clock, path=path)
    store.write(granted(grant(ONE, clock.now(), why="before")))
    store.close()
    clock.reboot(off=-50 * 365 * 86400.0)
    again = open_store(clock=clock, path=path)
    again.purge(clock.now())
    clock.advance(60)
    after = grant(ONE, clock.now(), why="after")
    again.write(granted(after))
    assert again.load(clock.now()) == [after]
    again.close()


def test_a_login_after_a_reboot_replaces_the_row_of_the_earlier_boot(path: Path, clock: FakeClock) -> None:
    """CLOCK_BOOTTIME started anew, so its smaller number is no earlier end."""
    store = open_store(clock=clock, path=path)
    store.write(granted(grant(ONE, clock.now(), why="before")))
    store.close()
    clock.reboot(off=60)
    again = open_store(clock=clock, path=path)
    after = grant(ONE, clock.now(), why="after")
    assert after.deadline < grant(ONE, FakeClock().now()).deadline + 1800
    again.write(granted(after))
    assert again.load(clock.now()) == [after]
    again.close()


@pytest.mark.parametrize("purged", [False, True])
def test_an_older_login_that_is_read_again_after_a_reboot_shortens_nothing(
    path: Path, clock: FakeClock, purged: bool
) -> None:
    """The new boot's CLOCK_BOOTTIME may be the greater number, yet the row of the earlier boot ends later."""
    store = open_store(clock=clock, path=path)
    store.write(granted(grant(ONE, clock.now(), 1800, why="later")))
    store.close()
    now = clock.reboot(off=-4900, up=5000)
    again = open_store(clock=clock, path=path)
    if purged:
        again.purge(now)
    again.write(granted(grant(ONE, now, 900, why="earlier")))
    (entry,) = again.load(now)
    assert entry.why == "later"
    assert entry.remaining(now) == pytest.approx(1700)
    again.close()


def test_purge_asks_the_wall_clock_alone_about_earlier_boots(path: Path, clock: FakeClock) -> None:
    """The deadline of an earlier boot means nothing in this one, however long this one has run."""
    store = open_store(clock=clock, path=path)
    store.write(granted(grant(ONE, clock.now(), 10_000), grant(TWO, clock.now(), 50)))
    store.close()
    now = clock.reboot(off=-5000, up=5050)  # up for longer than the earlier boot's deadlines
    assert now.boottime > FakeClock().now().boottime + 50
    again = open_store(clock=clock, path=path)
    again.purge(now)
    assert [entry.client for entry in again.load(now)] == [ONE]
    again.close()
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT client FROM authorizations").fetchall() == [(ONE,)]
    database.close()
