"""The fault bench's model: what it says must and may be live."""

from tests.faults.clock import Moment
from tests.faults.lines import Login
from tests.faults.model import Model, Window, evaluate, granted

GRACE = 20.0
ADDRESS = "192.0.2.1"


def moment(seconds: float, *, wall: float = 0.0) -> Moment:
    """Return a moment so long after the beginning; the wall clock was stepped by so much."""
    return Moment(1_000_000.0 + seconds + wall, 500.0 + seconds)


def login(stamp: float, user: str = "u1") -> Login:
    """Return a login that was written so long after the beginning."""
    return Login(ADDRESS, user, 1_000_000.0 + stamp, in_map=True)


def started() -> Model:
    """Return a model of a daemon that has just begun."""
    model = Model(GRACE, moment(0))
    model.began(moment(0), moment(0))
    return model


def read(model: Model, stamp: float, user: str = "u1") -> Login:
    """Write a login, and let the daemon act on it."""
    entry = login(stamp, user)
    model.written(entry, moment(stamp))
    model.settled(moment(stamp + 0.01), at=stamp + 0.01)
    return entry


def test_a_login_holds_for_its_grace() -> None:
    """Neither longer nor shorter."""
    model = started()
    model.written(login(1), moment(1))
    assert model.due(moment(1)) == [ADDRESS]
    model.settled(moment(1.1), at=1.1)
    client = model.clients[ADDRESS]
    assert client.least(moment(2)) == client.most(moment(2)) == 19.0
    assert client.most(moment(21.5)) == -0.5


def test_a_clock_that_is_set_stretches_nothing() -> None:
    """Back: CLOCK_BOOTTIME ends the window. Forward: the wall clock does."""
    model = started()
    read(model, 1)
    client = model.clients[ADDRESS]
    assert client.most(moment(2, wall=-10)) == 19.0
    assert client.least(moment(2, wall=10)) == 9.0


def test_what_ended_while_the_daemon_looked_stays_over() -> None:
    """Also where the wall clock is set back afterwards."""
    model = started()
    read(model, 1)
    model.looked(moment(2, wall=30), at=2)
    assert model.clients[ADDRESS].most(moment(3)) < 0


def test_what_was_not_committed_may_be_read_again_later() -> None:
    """Killed before its commit, and the clock set back: either window may be the one that holds."""
    model = started()
    read(model, 5)
    model.killed(moment(5.1), at=5.1)
    model.began(moment(6, wall=-3), moment(6, wall=-3))
    assert model.due(moment(6, wall=-3)) == [ADDRESS]
    model.settled(moment(6, wall=-3), at=6)
    client = model.clients[ADDRESS]
    now = moment(6, wall=-3)
    assert client.least(now) == 19.0
    assert client.most(now) == 20.0


def test_what_was_committed_long_ago_is_not_read_again() -> None:
    """Its window is the one of before the crash, exactly."""
    model = started()
    read(model, 1)
    model.killed(moment(9), at=9)
    model.began(moment(10, wall=-3), moment(10, wall=-3))
    model.settled(moment(10, wall=-3), at=10)
    client = model.clients[ADDRESS]
    assert client.least(moment(11, wall=-3)) == client.most(moment(11, wall=-3)) == 10.0


def test_a_line_that_lies_nowhere_any_more_need_not_be_read_again() -> None:
    """Truncated away before the commit: it may be live, and need not."""
    model = started()
    entry = read(model, 5)
    entry.destroyed = True
    model.killed(moment(5.1), at=5.1)
    model.began(moment(6), moment(6))
    assert model.due(moment(6)) == []
    model.settled(moment(6), at=6)
    client = model.clients[ADDRESS]
    assert client.least(moment(7)) == 0
    assert client.most(moment(7)) == 18.0


def test_a_machine_that_was_started_anew_goes_by_the_wall_clock() -> None:
    """CLOCK_BOOTTIME begins anew, and no window is longer than its grace."""
    model = started()
    read(model, 1)
    model.killed(moment(5), at=5)
    model.rebooted = True
    fresh = Moment(moment(6).wall, 3.0)
    model.began(fresh, fresh)
    model.settled(fresh, at=6)
    assert model.clients[ADDRESS].most(fresh) == 15.0


def test_stamps_of_the_future_and_of_the_past_open_nothing() -> None:
    """More than a minute ahead, or older than the grace."""
    now = moment(100)
    assert evaluate(now.wall + 61, now, GRACE) is None
    assert evaluate(now.wall - 21, now, GRACE) is None
    assert evaluate(now.wall + 59, now, GRACE) == Window(now.wall + GRACE, now.boottime + GRACE)


def test_the_later_end_wins() -> None:
    """Order changes nothing."""
    now = moment(0)
    short, long = Window(now.wall + 5, now.boottime + 5), Window(now.wall + 9, now.boottime + 9)
    assert granted(short, long, now) == granted(long, short, now) == [long]


def test_clients_that_are_over_are_forgotten_when_no_crash_can_bring_them_back() -> None:
    """Not before: the store may not have heard of their end."""
    model = started()
    read(model, 1)
    model.looked(moment(30), at=30)
    assert model.prune(at=30.5) == []
    assert model.prune(at=40) == [ADDRESS]
    assert model.clients == {}


def test_of_two_logins_the_one_with_more_time_left_holds_and_list_shows_the_latest_end() -> None:
    """Where the clock was set back in between, each ends later on one of the clocks; a new start looks at both."""
    model = started()
    read(model, 1, "u1")
    model.written(Login(ADDRESS, "u2", moment(5, wall=-10).wall, in_map=True), moment(5, wall=-10))
    model.settled(moment(5, wall=-10), at=5)
    (state,) = model.clients[ADDRESS].states
    assert state == Window(1_000_015.0, 525.0, (Window(1_000_021.0, 521.0),))
    assert state.shown(moment(6, wall=-10)) == 1_000_015.0
    forward = moment(8, wall=5)
    assert state.left(forward) == 2.0
    assert state.shown(forward) == 1_000_021.0
    model.killed(moment(8), at=8)
    model.began(forward, forward)
    model.settled(forward, at=8)
    assert model.clients[ADDRESS].least(forward) == model.clients[ADDRESS].most(forward) == 8.0


def test_a_window_that_ended_before_the_clock_was_set_back_stays_over() -> None:
    """The daemon has seen it a second after the end at the latest; until then both may be."""
    for ended, possible in ((0.5, 2), (1.5, 1)):
        model = started()
        read(model, 1)
        model.looked(moment(2, wall=19 + ended), at=2, late=1.0)
        assert len(model.clients[ADDRESS].states) == possible
        assert None in model.clients[ADDRESS].states


def test_a_login_that_opened_nothing_may_be_read_again_too() -> None:
    """The place behind it was not in the store when the daemon died, however often it died."""
    model = started()
    stale = login(-30)
    model.written(stale, moment(1))
    model.settled(moment(1), at=1)
    model.frozen_at = 1.0  # the disk is full
    assert model.prune(at=9) == []
    assert model.uncommitted(at=9) == [stale]
    model.killed(moment(9), at=9)
    assert model.uncommitted(at=99) == [stale]
    model.frozen_at = None
    model.settled(moment(9), at=9)
    assert model.uncommitted(at=10) == [stale]
    assert model.uncommitted(at=11) == []
    assert model.prune(at=11) == [ADDRESS]


def test_a_login_that_was_stale_may_open_something_when_it_is_read_again() -> None:
    """The clock was set back behind its first reading, and the daemon died before the place behind it was kept."""
    for kept in (True, False):
        model = started()
        model.written(login(1), moment(1))
        model.settled(moment(2, wall=30), at=2)
        model.frozen_at = None if kept else 2.1  # the disk is full
        late = 4 if kept else 3
        model.looked(moment(late), at=late)
        assert model.prune(at=late) == ([ADDRESS] if kept else [])
        if kept:
            continue
        model.killed(moment(late), at=late)
        model.frozen_at = None
        model.began(moment(late), moment(late))
        model.settled(moment(late), at=late)
        client = model.clients[ADDRESS]
        assert (client.least(moment(late)), client.most(moment(late))) == (0.0, 18.0)


def test_what_was_in_the_store_at_one_crash_need_not_be_read_again_at_the_next() -> None:
    """Nobody knows whether it was; so it may hold from the first time that it was read on, or from the second."""
    model = started()
    read(model, 5)
    for seconds in (6, 7):
        now = moment(seconds, wall=-3)
        model.killed(now, at=seconds)
        model.began(now, now)
        model.settled(now, at=seconds + 0.1)
    now = moment(7, wall=-3)
    client = model.clients[ADDRESS]
    assert client.least(now) == 18.0
    assert client.most(now) == 20.0


def test_a_window_that_ended_is_not_brought_back_by_another_of_its_client() -> None:
    """A daemon that starts takes out each that is over, also where another holds on; no reboot makes it longer."""
    model = started()
    read(model, 1, "u1")
    model.written(Login(ADDRESS, "u2", moment(5, wall=-10).wall, in_map=True), moment(5, wall=-10))
    model.settled(moment(5, wall=-10), at=5)
    model.killed(moment(22, wall=-10), at=22)
    model.began(moment(22, wall=-10), moment(22, wall=-10))
    (state,) = model.clients[ADDRESS].states
    assert state == Window(1_000_015.0, 525.0)
