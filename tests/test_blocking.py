"""Who is shut out for failed logins: as many as asked for and no fewer, and for as long."""

from dataclasses import replace
from datetime import timedelta

import pytest

from popbeforesmtp import rules
from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.model import EventKind
from tests.clocks import START
from tests.guard import BAD, GOOD, LIMIT, NEIGHBOUR6, NETWORK6, Guard


def test_an_address_is_blocked_after_so_many_failures_and_not_before() -> None:
    """And nobody else is."""
    guard = Guard()
    guard.fail(times=2)
    guard.fail(GOOD, times=2)
    assert guard.blocked == set()
    guard.fail(times=1)
    assert guard.blocked == {BAD}
    assert guard.windows.counts["blocked"] == 1


def test_nobody_is_blocked_unless_the_administrator_asks_for_it() -> None:
    """Who shares an address with an attacker would be shut out with him."""
    guard = Guard(limit=None)
    guard.fail(times=1000)
    assert guard.blocked == set()


def test_failures_count_only_within_their_time() -> None:
    """Three within ten minutes to the microsecond are too many, three in longer are not."""
    guard = Guard()
    guard.fail(times=2)
    guard.clock.advance(600, microseconds=1)
    guard.fail(times=1)
    assert guard.blocked == set()
    late = Guard()
    late.fail(times=2)
    late.clock.advance(600)
    late.fail(times=1)
    assert late.blocked == {BAD}


def test_a_slow_attacker_is_counted_by_a_sliding_time() -> None:
    """One failure each four minutes: a limit of four in ten minutes lets it be, one of three does not."""
    for after, expected in ((4, set()), (3, {BAD})):
        guard = Guard(replace(LIMIT, after=after))
        for _ in range(20):
            guard.clock.advance(240)
            guard.fail(times=1)
        assert guard.blocked == expected


def test_logs_out_of_order_block_nobody_for_failures_far_apart() -> None:
    """An old log is read beside a new one."""
    guard = Guard()
    for minutes in (0, 40, 20):
        guard.fail(times=1, time=START - timedelta(minutes=minutes))
    assert guard.blocked == set()


def test_a_block_ends_when_it_says() -> None:
    """So long after the failure that brought it, and whatever becomes of the wall clock."""
    guard = Guard()
    guard.fail()
    guard.clock.advance(3 * 3600 - 1)
    guard.blocking.expire()
    assert guard.blocked == {BAD}
    guard.clock.advance(1)
    guard.blocking.expire()
    assert guard.blocked == set()
    back = Guard()
    back.fail()
    back.clock.step(-7200)
    back.clock.advance(3 * 3600)
    back.blocking.expire()
    assert back.blocked == set()


def test_a_block_counts_from_the_stamp_of_the_failure() -> None:
    """What was read late does not shut out for longer."""
    guard = Guard()
    guard.fail(time=START - timedelta(hours=2))
    assert guard.blocking.blocked.expires_at(BAD, guard.clock.now()) == START + timedelta(hours=1)


@pytest.mark.parametrize(
    "changes",
    [
        {"genuine": False},
        {"time": None},
        {"time": START + rules.AHEAD + timedelta(microseconds=1)},
        {"time": START - LIMIT.duration},
        {"kind": EventKind.LOGOUT},
        {"kind": EventKind.OTHER},
        {"client": None},
    ],
    ids=["forged", "no time", "future", "stale", "logout", "other", "no address"],
)
def test_only_genuine_fresh_failures_count(changes: dict[str, object]) -> None:
    """Else whoever can write a line could shut anybody out."""
    guard = Guard()
    guard.fail(times=100, **changes)
    assert guard.blocked == set()


def test_an_ipv6_attacker_is_one_whatever_address_it_takes() -> None:
    """Its /64 is counted and blocked; the next one is somebody else's."""
    guard = Guard()
    for last in range(LIMIT.after):
        guard.fail(ClientAddress(f"2001:db8:1:2::{last + 1}"), times=1)
        guard.fail(ClientAddress(f"2001:db8:1:{last + 3}::1"), times=1)
    assert guard.blocked == {NETWORK6}
    assert guard.blocking.says(NEIGHBOUR6, guard.clock.now()) == "blocked until 2026-11-22T15:00:00+00:00"
    assert guard.blocking.says(ClientAddress("2001:db8:1:3::1"), guard.clock.now()) == "not blocked"


def test_failures_while_blocked_make_the_block_longer() -> None:
    """Where only one port is shut, the attacker goes on at another: each time that the limit is reached counts."""
    guard = Guard()
    guard.fail()
    guard.clock.advance(3600)
    guard.fail(times=2)
    assert guard.blocking.blocked.expires_at(BAD, guard.clock.now()) == START + timedelta(hours=3)
    guard.fail(times=1)
    assert guard.blocking.blocked.expires_at(BAD, guard.clock.now()) == START + timedelta(hours=4)
    assert guard.windows.counts["blocked"] == 2


def test_without_a_limit_all_blocks_end() -> None:
    """Nobody would end them later; another limit leaves them as they are, and counts anew."""
    guard = Guard()
    guard.fail()
    guard.fail(GOOD, times=2)
    guard.blocking.obey(replace(LIMIT, duration=timedelta(minutes=1)))
    assert guard.blocking.blocked.expires_at(BAD, guard.clock.now()) == START + timedelta(hours=3)
    guard.fail(GOOD, times=1)
    assert guard.blocked == {BAD}
    guard.blocking.obey(None)
    assert guard.blocked == set()


def test_the_same_limit_again_forgets_no_failure() -> None:
    """A reload for something else gives no attacker a fresh start."""
    guard = Guard()
    guard.fail(times=2)
    guard.blocking.obey(replace(LIMIT))
    guard.fail(times=1)
    assert guard.blocked == {BAD}
