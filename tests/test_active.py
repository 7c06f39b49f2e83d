"""The active set: who may relay until when, on two clocks."""

from datetime import datetime, timedelta

import pytest

from popbeforesmtp.active import ActiveSet, Change
from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.clock import Moment
from popbeforesmtp.model import Authorization, Origin
from tests.clocks import FakeClock

GRACE = timedelta(minutes=30)
ONE, TWO, THREE = (ClientAddress(f"192.0.2.{number}") for number in (1, 2, 3))


def window(client: ClientAddress, expires_at: datetime, deadline: float) -> Authorization:
    """Return an authorization with these two ends."""
    return Authorization(
        client=client,
        expires_at=expires_at,
        deadline=deadline,
        user="alice",
        service="imap",
        login_at=expires_at - GRACE,
        format="dovecot",
        origin=Origin("/var/log/mail.log", 0),
    )


def login(client: ClientAddress, now: Moment, left: float = GRACE.total_seconds()) -> Authorization:
    """Return what a login gives that has some seconds of its window left."""
    return window(client, now.wall + timedelta(seconds=left), now.boottime + left)


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock that stands still."""
    return FakeClock()


def nobody(clock: FakeClock) -> ActiveSet:
    """Return an active set with nobody in it."""
    return ActiveSet()


@pytest.fixture
def active(clock: FakeClock) -> ActiveSet:
    """Return an active set with nobody in it."""
    return nobody(clock)


def test_nobody_may_relay_at_first(active: ActiveSet, clock: FakeClock) -> None:
    """An empty set permits nobody, ends nobody and waits for nothing."""
    assert not active.permits(ONE, clock.now())
    assert active.expires_at(ONE, clock.now()) is None
    assert active.expire(clock.now()) == []
    assert active.next_end(clock.now()) is None
    assert (len(active), list(active), ONE in active) == (0, [], False)


def test_a_window_ends_exactly_when_it_says(active: ActiveSet, clock: FakeClock) -> None:
    """One microsecond before its end a client may relay, at its end it may not, whether or not the timer ran."""
    assert active.grant(login(ONE, clock.now()), clock.now()) is Change.GRANTED
    end = clock.now().wall + GRACE
    assert active.expires_at(ONE, clock.now()) == end
    clock.advance(GRACE.total_seconds(), microseconds=-1)
    assert active.permits(ONE, clock.now())
    assert active.expire(clock.now()) == []
    assert active.expires_at(ONE, clock.now()) == end
    clock.advance(microseconds=1)
    assert not active.permits(ONE, clock.now())
    assert active.expires_at(ONE, clock.now()) is None
    assert ONE in active
    assert active.expire(clock.now()) == [ONE]
    assert ONE not in active


def test_a_client_that_ended_is_returned_once(active: ActiveSet, clock: FakeClock) -> None:
    """Maps hear of an end one time, however often the timer comes round."""
    active.grant(login(ONE, clock.now(), 10), clock.now())
    active.grant(login(TWO, clock.now(), 10), clock.now())
    active.grant(login(THREE, clock.now(), 20), clock.now())
    now = clock.advance(10)
    assert sorted(active.expire(now)) == [ONE, TWO]
    assert active.expire(now) == []
    assert list(active) == [THREE]
    assert active.expire(clock.advance(10)) == [THREE]
    assert active.expire(clock.advance(3600)) == []
    assert len(active) == 0


def test_a_renewal_moves_the_end(active: ActiveSet, clock: FakeClock) -> None:
    """A second login counts from its own time, and the first one's end passes unnoticed."""
    active.grant(login(ONE, clock.now(), 100), clock.now())
    now = clock.advance(60)
    assert active.grant(login(ONE, now, 100), now) is Change.RENEWED
    assert active.expire(clock.advance(40)) == []
    assert active.permits(ONE, clock.advance(59))
    assert active.expire(clock.advance(1)) == [ONE]


def test_an_earlier_end_changes_nothing(active: ActiveSet, clock: FakeClock) -> None:
    """A renewal never shortens: a line read late, or read again, leaves the later end alone."""
    now = clock.now()
    active.grant(login(ONE, now, 100), now)
    assert active.grant(login(ONE, now, 99.999999), now) is Change.NONE
    assert active.grant(login(ONE, now, 100), now) is Change.NONE
    assert active.expires_at(ONE, now) == now.wall + timedelta(seconds=100)


def test_a_window_that_has_ended_already_is_none(active: ActiveSet, clock: FakeClock) -> None:
    """A grant whose end is now or behind us lets nobody in."""
    now = clock.now()
    assert active.grant(login(ONE, now, 0), now) is Change.NONE
    assert active.grant(window(TWO, now.wall + GRACE, now.boottime), now) is Change.NONE
    assert active.grant(window(THREE, now.wall, now.boottime + 1800), now) is Change.NONE
    assert len(active) == 0


def test_a_login_right_after_the_end_is_a_new_grant(active: ActiveSet, clock: FakeClock) -> None:
    """Where the window ended before the timer saw it, the next login is a grant, not a renewal, and ends once."""
    active.grant(login(ONE, clock.now(), 10), clock.now())
    now = clock.advance(10)
    assert active.grant(login(ONE, now, 10), now) is Change.GRANTED
    assert active.expire(now) == []
    assert active.permits(ONE, now)
    assert active.expire(clock.advance(10)) == [ONE]


def test_a_revoked_client_may_relay_no_more(active: ActiveSet, clock: FakeClock) -> None:
    """A revocation ends a window at once, is no end to be told again, and a later login opens a new one."""
    active.revoke(ONE)
    active.grant(login(ONE, clock.now(), 100), clock.now())
    active.grant(login(TWO, clock.now(), 100), clock.now())
    active.revoke(ONE)
    assert not active.permits(ONE, clock.now())
    assert list(active) == [TWO]
    now = clock.advance(50)
    assert active.grant(login(ONE, now, 100), now) is Change.GRANTED
    assert active.expire(clock.advance(50)) == [TWO]
    assert active.expire(clock.advance(50)) == [ONE]


def test_a_suspended_machine_extends_nothing(active: ActiveSet, clock: FakeClock) -> None:
    """Time that the machine slept counts, so after a long sleep the window has ended."""
    active.grant(login(ONE, clock.now(), 100), clock.now())
    clock.suspend(100)
    assert not active.permits(ONE, clock.now())
    assert active.expire(clock.now()) == [ONE]


def test_a_wall_clock_set_back_extends_nothing(active: ActiveSet, clock: FakeClock) -> None:
    """The window still ends when it has run for its time."""
    active.grant(login(ONE, clock.now(), 100), clock.now())
    clock.advance(50)
    now = clock.step(-86400)
    assert active.expires_at(ONE, now) == now.wall + timedelta(seconds=50)
    assert active.expire(now) == []
    assert active.permits(ONE, clock.advance(50, microseconds=-1))
    now = clock.advance(microseconds=1)
    assert not active.permits(ONE, now)
    assert active.expire(now) == [ONE]


def test_a_login_after_the_wall_clock_was_set_back_counts_in_full(active: ActiveSet, clock: FakeClock) -> None:
    """What is left is compared, not what the clocks once said, so a new login renews though its end looks earlier."""
    active.grant(login(ONE, clock.now(), 100), clock.now())
    clock.advance(50)
    now = clock.step(-3600)
    assert active.grant(login(ONE, now, 100), now) is Change.RENEWED
    assert active.permits(ONE, clock.advance(100, microseconds=-1))
    assert active.expire(clock.advance(microseconds=1)) == [ONE]


@pytest.mark.parametrize("step", [0.05, 0.2, 1, 40, 99, 100, 86400])
def test_a_wall_clock_set_forward_ends_windows_within_a_tenth_of_a_second(
    active: ActiveSet, clock: FakeClock, step: float
) -> None:
    """The end on the wall clock is an end: answers know at once, maps hear of it within 0.1 s."""
    active.grant(login(ONE, clock.now(), 100), clock.now())
    active.grant(login(TWO, clock.now(), 100 + 86400), clock.now())
    clock.step(step)
    clock.advance(max(100 - step, 0), microseconds=-1 if step < 100 else 0)
    if step < 100:
        assert active.permits(ONE, clock.now())
        assert active.expire(clock.now()) == []
        clock.advance(microseconds=1)
    assert not active.permits(ONE, clock.now())
    ended = active.expire(clock.now())
    ended += active.expire(clock.advance(0.1))
    assert ended == ([ONE] if step < 86400 else [ONE, TWO][: len(ended)])
    assert ONE not in active


def test_a_wall_clock_set_forward_and_back_again_takes_nothing_away(active: ActiveSet, clock: FakeClock) -> None:
    """Somebody's slip of the hand ends no window early: what had not ended meanwhile runs to its own end."""
    active.grant(login(ONE, clock.now(), 1800), clock.now())
    assert active.expire(clock.step(600)) == []
    assert active.expire(clock.step(-600)) == []
    assert active.expires_at(ONE, clock.now()) == clock.now().wall + GRACE
    assert active.permits(ONE, clock.advance(1800, microseconds=-1))
    assert active.expire(clock.now()) == []
    assert active.expire(clock.advance(microseconds=1)) == [ONE]


def test_a_wall_clock_set_back_and_forward_again_ends_what_was_granted_between(
    active: ActiveSet, clock: FakeClock
) -> None:
    """A window granted while the wall clock was behind ends on the wall clock once it is right again."""
    now = clock.step(-600)
    active.grant(login(ONE, now, 1800), now)
    clock.step(600)
    assert active.expire(clock.advance(1200, microseconds=-1)) == []
    assert active.expire(clock.advance(0.1)) == [ONE]


def test_a_restored_window_ends_on_whichever_clock_comes_first(active: ActiveSet, clock: FakeClock) -> None:
    """What a store kept from before a clock was set has two ends apart, and is taken out at the nearer one."""
    now = clock.now()
    active.grant(window(ONE, now.wall + timedelta(seconds=10), now.boottime + 1000), now)
    active.grant(window(TWO, now.wall + timedelta(seconds=1000), now.boottime + 20), now)
    active.grant(window(THREE, now.wall - timedelta(seconds=1), now.boottime + 1000), now)
    assert sorted(active) == [ONE, TWO]
    assert active.next_end(now) == pytest.approx(10)
    assert active.expire(clock.advance(10, microseconds=-1)) == []
    assert active.expire(clock.advance(microseconds=1)) == [ONE]
    assert active.next_end(clock.now()) == pytest.approx(10)
    assert active.expire(clock.advance(10)) == [TWO]
    assert active.next_end(clock.now()) is None


def test_the_next_end_is_never_too_late(active: ActiveSet, clock: FakeClock) -> None:
    """Who sleeps for as long as ``next_end`` says, and expires, finds every window at its end."""
    for number, left in enumerate([50, 10, 30, 20, 40]):
        active.grant(login(ClientAddress(f"192.0.2.{number}"), clock.now(), left), clock.now())
    now = clock.now()
    active.grant(login(ClientAddress("192.0.2.1"), now, 60), now)
    seen: list[tuple[str, float]] = []
    start = now.boottime
    while (wait := active.next_end(clock.now())) is not None:
        assert wait > 0
        now = clock.advance(wait)
        seen += [(client, now.boottime - start) for client in active.expire(now)]
    assert [client for client, _ in seen] == [f"192.0.2.{number}" for number in (3, 2, 4, 0, 1)]
    assert [ended for _, ended in seen] == pytest.approx([20, 30, 40, 50, 60])


def test_many_renewals_leave_the_set_as_small_as_it_was(active: ActiveSet, clock: FakeClock) -> None:
    """A client that logs in all day is one client, and is returned once when it stays away."""
    for _ in range(5000):
        now = clock.advance(1)
        active.grant(login(ONE, now, 100), now)
        assert active.expire(now) == []
    assert len(active) == 1
    assert active.expire(clock.advance(100)) == [ONE]
    assert active.next_end(clock.now()) is None


def test_ends_are_those_of_the_moment_they_were_asked_for() -> None:
    """Another thread may take its time with them."""
    clock = FakeClock()
    now = clock.now()
    active = nobody(clock)
    active.grant(login(ONE, now), now)
    ends = active.ends(now)
    active.revoke(ONE)
    active.grant(login(TWO, now), now)
    assert dict(ends) == {ONE: now.wall + GRACE}


def test_windows_that_are_made_shorter_again_and_again_take_no_memory(active: ActiveSet, clock: FakeClock) -> None:
    """An office whose sessions come and go all day: each end of one settles its window, which never closes."""
    for _ in range(10_000):
        now = clock.now()
        active.grant(login(ONE, now, 86400.0), now)
        assert active.settle(ONE, [login(ONE, now)], now)
        assert active.expire(now) == []
        clock.advance(0.5)
    assert len(active._by_wall) < 2000
    assert len(active._by_boottime) < 2000
    left = active.next_end(clock.now())
    assert left is not None
    assert left <= GRACE.total_seconds()
    clock.advance(GRACE.total_seconds())
    assert active.expire(clock.now()) == [ONE]
