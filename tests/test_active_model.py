"""The active set against a naive model of it."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.clock import Moment
from popbeforesmtp.model import Authorization
from tests.clocks import FakeClock
from tests.test_active import ONE, THREE, TWO, login, nobody, window


@dataclass
class Model:
    """The active set as simple as can be: both ends of each client's window, looked at one by one."""

    ends: dict[ClientAddress, tuple[datetime, float]] = field(default_factory=dict)

    def left(self, client: ClientAddress, now: Moment) -> float:
        """Say for how many seconds a client may relay."""
        if client not in self.ends:
            return 0.0
        expires_at, deadline = self.ends[client]
        return max(min((expires_at - now.wall).total_seconds(), round(deadline - now.boottime, 6)), 0.0)

    def permits(self, client: ClientAddress, now: Moment) -> bool:
        """Say whether a client may relay."""
        if client not in self.ends:
            return False
        expires_at, deadline = self.ends[client]
        return now.wall < expires_at and round(deadline - now.boottime, 6) > 0

    def grant(self, authorization: Authorization, now: Moment) -> None:
        """Keep whichever window has more left."""
        if authorization.remaining(now) > self.left(authorization.client, now):
            self.ends[authorization.client] = (authorization.expires_at, authorization.deadline)

    def expire(self, now: Moment) -> set[ClientAddress]:
        """Take out all that have ended."""
        ended = {client for client in self.ends if not self.permits(client, now)}
        for client in ended:
            del self.ends[client]
        return ended


@dataclass(frozen=True)
class Login:
    """A login is read, some seconds after it happened."""

    client: ClientAddress
    left: float


@dataclass(frozen=True)
class Restored:
    """A window comes from a store, its two ends some seconds from now."""

    client: ClientAddress
    wall: float
    boottime: float


@dataclass(frozen=True)
class Revoked:
    """A client is revoked."""

    client: ClientAddress


@dataclass(frozen=True)
class Passes:
    """Time goes by."""

    seconds: float


@dataclass(frozen=True)
class Stepped:
    """Somebody sets the wall clock."""

    seconds: float


@dataclass(frozen=True)
class Expires:
    """The timer comes round."""


# Steps are whole seconds: far more than the 0.1 s by which the wall clock may run ahead unnoticed.
clients = st.sampled_from([ONE, TWO, THREE])
seconds = st.integers(0, 100).map(float)
steps = st.lists(
    st.builds(Login, clients, seconds)
    | st.builds(Restored, clients, seconds, seconds)
    | st.builds(Revoked, clients)
    | st.builds(Passes, st.sampled_from([0.0, 0.000001, 0.5, 1.0, 7.0, 60.0, 99.999999, 100.0]) | seconds)
    | st.builds(Stepped, st.integers(-200, 200).map(float))
    | st.builds(Expires),
    max_size=40,
)


@settings(deadline=None, max_examples=300)
@given(steps)
@example([Login(ONE, 100.0), Stepped(50.0), Expires(), Stepped(-50.0), Passes(60.0), Expires()])
@example([Restored(ONE, 10.0, 100.0), Passes(10.0), Expires()])
@example([Stepped(-10.0), Login(ONE, 20.0), Stepped(10.0), Passes(10.0), Expires()])
@example([Login(ONE, 100.0), Passes(10.0), Stepped(-60.0), Login(ONE, 100.0), Stepped(50.0), Passes(50.0), Expires()])
@example([Restored(ONE, 10.0, 100.0), Restored(ONE, 50.0, 50.0), Stepped(-200.0), Passes(50.0), Expires()])
@example([Login(ONE, 10.0), Passes(10.0), Login(ONE, 10.0), Expires(), Passes(10.0), Expires()])
def test_the_set_says_what_a_naive_one_says(events: list[object]) -> None:
    """Grants in any order, any steps of the wall clock: who may relay and who has ended is what the two ends say."""
    clock, model = FakeClock(), Model()
    active = nobody(clock)
    for event in [*events, Expires()]:
        match event:
            case Login(client, left):
                now = clock.now()
                before = active.expires_at(client, now)
                active.grant(login(client, now, left), now)
                model.grant(login(client, now, left), now)
                after = active.expires_at(client, now)
                assert before is None or (after is not None and after >= before)
            case Restored(client, wall, boottime):
                now = clock.now()
                kept = window(client, now.wall + timedelta(seconds=wall), now.boottime + boottime)
                active.grant(kept, now)
                model.grant(kept, now)
            case Revoked(client):
                active.revoke(client)
                model.ends.pop(client, None)
            case Passes(passed):
                clock.advance(passed)
            case Stepped(step):
                clock.step(step)
            case Expires():
                ended = active.expire(clock.now())
                assert len(ended) == len(set(ended))
                assert set(ended) == model.expire(clock.now())
                assert set(active) == set(model.ends)
        now = clock.now()
        for client in (ONE, TWO, THREE):
            assert active.permits(client, now) is model.permits(client, now)
            until = active.expires_at(client, now)
            assert (until is not None) is model.permits(client, now)
            assert until is None or abs((until - now.wall).total_seconds() - model.left(client, now)) < 2e-6
        ends = active.ends(now)
        assert set(ends) == set(active)
        assert {client: end for client, end in ends.items() if end > now.wall} == {
            client: active.expires_at(client, now) for client in active if active.permits(client, now)
        }
        next_end = active.next_end(now)
        assert (next_end is None) <= (len(active) == 0)
        if next_end is not None and any(model.permits(client, now) for client in model.ends):
            assert next_end <= max(model.left(client, now) for client in model.ends) + 0.05  # a tick


@settings(deadline=None)
@given(st.lists(st.tuples(clients, st.integers(1, 100)), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_the_order_and_repetition_of_grants_change_nothing(
    grants: list[tuple[ClientAddress, int]], random: Random
) -> None:
    """The later end wins, whether it is read first or last, once or twice."""
    clock = FakeClock()
    now = clock.now()
    shuffled = grants * 2
    random.shuffle(shuffled)
    in_order, mixed = nobody(clock), nobody(clock)
    for client, left in grants:
        in_order.grant(login(client, now, left), now)
    for client, left in shuffled:
        mixed.grant(login(client, now, left), now)
    for client in (ONE, TWO, THREE):
        longest = max((left for other, left in grants if other == client), default=None)
        end = None if longest is None else now.wall + timedelta(seconds=longest)
        assert in_order.expires_at(client, now) == mixed.expires_at(client, now) == end
