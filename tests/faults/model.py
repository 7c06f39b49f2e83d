"""Who must be live, and who may be, at any moment: a second, slower telling of what the daemon promises.

Where the bench cannot know what the daemon did in time (it was killed, and a clock was stepped before it came back), a
client has several states that are possible. It must be live where it is live in all of them, and may be where it is
in one.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.faults.clock import Moment
from tests.faults.lines import Login

AHEAD = 60.0  # seconds that a stamp may lie in the future
COMMITTED_AFTER = 1.5  # seconds after which the store surely holds what was acted on
SLACK = 0.3  # seconds around an end in which both answers are right, for the bench's own steps take time
_SAME = 0.02  # seconds within which two ends are one
_BRANCHES = 64


@dataclass(frozen=True, slots=True)
class Window:
    """The two ends of one leave."""

    expires: float
    deadline: float

    def left(self, now: Moment) -> float:
        """Say for how many seconds it holds."""
        return min(self.expires - now.wall, self.deadline - now.boottime)


State = Window | None
Span = tuple[Moment, Moment]
"""The first and the last moment at which a line can have been read."""


def evaluate(stamp: float, now: Moment, grace: float) -> State:
    """Say what a login opens that is read at a moment."""
    if stamp > now.wall + AHEAD or stamp + grace <= now.wall:
        return None
    expires = min(stamp, now.wall) + grace
    return Window(expires, now.boottime + expires - now.wall)


def granted(state: State, window: State, now: Moment) -> list[State]:
    """Return what a client's state may be behind a grant: the later end wins, and of two that are near, either."""
    if window is None or window.left(now) <= 0:
        return [state]
    if state is None:
        return [window]
    gained = window.left(now) - state.left(now)
    if abs(gained) < _SAME:
        return [state, window]
    return [window] if gained > 0 else [state]


def distinct(states: Iterable[State]) -> list[State]:
    """Leave out states that are the same."""
    found: dict[tuple[int, int] | None, State] = {}
    for state in states:
        found.setdefault(None if state is None else (round(state.expires * 20), round(state.deadline * 20)), state)
    return list(found.values())


@dataclass(slots=True)
class _Step:
    """What became of a client at some time, for the case that it is lost in a crash."""

    at: float  # monotonic
    states: list[State]  # behind it
    logins: list[Login]  # that made it


@dataclass(slots=True)
class _Branch:
    """What the store may hold of a client after a crash, and what is read again if that is so."""

    states: list[State]
    logins: list[Login]


@dataclass(slots=True)
class Client:
    """One address, and all that its state may be."""

    in_map: bool
    states: list[State] = field(default_factory=lambda: [None])
    steps: list[_Step] = field(default_factory=list)
    branches: list[_Branch] = field(default_factory=list)  # only between a crash and the next time that all is read

    def least(self, now: Moment) -> float:
        """Say for how many seconds it surely holds; zero or less for none."""
        return min(0.0 if state is None else state.left(now) for state in self.states)

    def most(self, now: Moment) -> float:
        """Say for how many seconds it may hold, or, below zero, since when it may not."""
        return max((state.left(now) for state in self.states if state is not None), default=-1e9)


class Model:
    """All clients, by their addresses."""

    def __init__(self, grace: float, start: Moment) -> None:
        self.clients: dict[str, Client] = {}
        self.waiting: dict[Login, list[Span]] = {}  # written, and not known to be read; when it may have been
        self.frozen_at: float | None = None  # monotonic; since when the store may hold nothing new
        self.rebooted = False  # and the daemon was not started since
        self._grace = grace
        self._began = start

    def written(self, login: Login, now: Moment) -> None:
        """A login's line is whole in a file; from now on it may be read."""
        self.clients.setdefault(login.client, Client(login.in_map))
        self.waiting[login] = [(now, now)]

    def began(self, first: Moment, now: Moment) -> None:
        """The daemon was started: it forgets what is over, and reads what is waiting, from the first moment on."""
        self._began = first
        for spans in self.waiting.values():
            spans.append((first, now))
        for client in self.clients.values():
            client.states = self._loaded(client.states, now)
            for branch in client.branches:
                branch.states = self._loaded(branch.states, now)
            if self.rebooted:
                client.steps.clear()
        self.rebooted = False

    def due(self, now: Moment) -> list[str]:
        """Return the addresses that must be live when all is read that was written."""
        concerned = {login.client for login in self.waiting}
        concerned.update(address for address, client in self.clients.items() if client.branches)
        return [
            address
            for address in concerned
            if min(0.0 if state is None else state.left(now) for state in self._foreseen(address, now)) > SLACK
        ]

    def settled(self, now: Moment, at: float) -> None:
        """All that was waiting is read, at this moment at the latest (``at`` is monotonic)."""
        read: dict[str, list[Login]] = {address: [] for address, client in self.clients.items() if client.branches}
        for login in self.waiting:
            read.setdefault(login.client, []).append(login)
        for address, logins in read.items():
            client = self.clients[address]
            again = [login for branch in client.branches for login in branch.logins]
            states = self._foreseen(address, now)
            client.branches = []
            self._set(client, states, list(dict.fromkeys([*again, *logins])), at)
        self.waiting.clear()

    def give_up(self, address: str) -> list[Login]:
        """Take a client out whose logins were not acted on, so that it is counted once; return the logins."""
        client = self.clients.pop(address)
        again = [login for branch in client.branches for login in branch.logins]
        logins = [login for login in self.waiting if login.client == address]
        for login in logins:
            del self.waiting[login]
        return list(dict.fromkeys([*again, *logins]))

    def looked(self, now: Moment, at: float) -> None:
        """The daemon has looked at the clocks: what is over stays over."""
        for client in self.clients.values():
            states = _ended(client.states, now)
            if states != client.states:
                self._set(client, states, [], at)

    def killed(self, now: Moment, at: float) -> None:
        """The daemon died: what it acted on last is read again, unless it was in the store."""
        since = self._sure_until(at)
        for login, spans in self.waiting.items():
            self.waiting[login] = [*spans[:-1], (spans[-1][0], now)]
        for client in self.clients.values():
            if client.branches:  # it died before all was read again
                span = [(self._began, now)]
                client.branches = [
                    _Branch(self._fold(branch.states, branch.logins[:count], now, span), branch.logins[count:])
                    for branch in client.branches
                    for count in range(len(branch.logins) + 1)
                ][:_BRANCHES]
                continue
            late = [step for step in client.steps if step.at > since]
            if not late:
                continue
            early = [step for step in client.steps if step.at <= since]
            nothing: list[State] = [None]
            bases = [early[-1].states if early else nothing, *(step.states for step in late)]
            client.branches = [
                _Branch(base, [login for step in late[index:] for login in step.logins])
                for index, base in enumerate(bases)
            ]
            client.steps = [_Step(since, distinct(state for base in bases for state in base), [])]

    def prune(self, at: float) -> list[str]:
        """Forget what no crash can bring back; return the addresses of which nothing is left."""
        since = self._sure_until(at)
        over = []
        busy = {login.client for login in self.waiting}
        for address, client in self.clients.items():
            client.steps = [step for step in client.steps if step.at <= since][-1:] + [
                step for step in client.steps if step.at > since
            ]
            alive = any(client.states) or client.branches or any(any(step.states) for step in client.steps)
            if not alive and address not in busy:
                over.append(address)
        for address in over:
            del self.clients[address]
        return over

    def uncommitted(self, at: float) -> list[Login]:
        """Return the logins that were acted on, and may not be in the store yet."""
        since = self._sure_until(at)
        steps = (step for client in self.clients.values() for step in client.steps if step.at > since)
        branches = (branch for client in self.clients.values() for branch in client.branches)
        parts = (*(step.logins for step in steps), *(branch.logins for branch in branches))
        return [login for part in parts for login in part]

    def _sure_until(self, at: float) -> float:
        return (at if self.frozen_at is None else min(at, self.frozen_at)) - COMMITTED_AFTER

    def _foreseen(self, address: str, now: Moment) -> list[State]:
        """Return what a client's state may be when all is read."""
        client = self.clients[address]
        states = client.states
        if client.branches:
            span = [(self._began, now)]
            states = [
                state for branch in client.branches for state in self._fold(branch.states, branch.logins, now, span)
            ]
        for login, spans in self.waiting.items():
            if login.client == address:
                states = self._fold(states, [login], now, [*spans[:-1], (spans[-1][0], now)])
        return distinct(states)

    def _fold(self, states: list[State], logins: list[Login], now: Moment, spans: list[Span]) -> list[State]:
        """Return what states may become of these when logins are read, each at some time in the spans."""
        for login in logins:
            windows = distinct(evaluate(login.stamp, moment, self._grace) for span in spans for moment in span)
            behind = [kept for state in states for window in windows for kept in granted(state, window, now)]
            states = distinct([*behind, *states] if not login.sure or login.destroyed else behind)
        return states

    def _loaded(self, states: list[State], now: Moment) -> list[State]:
        if self.rebooted:  # the wall clock says what is left
            states = [
                state and Window(state.expires, now.boottime + min(state.expires - now.wall, self._grace))
                for state in states
            ]
        return _ended(states, now)

    def _set(self, client: Client, states: list[State], logins: list[Login], at: float) -> None:
        client.states = states
        client.steps.append(_Step(at, states, logins))


def _ended(states: list[State], now: Moment) -> list[State]:
    """Return the states behind a look at the clocks."""
    kept: list[State] = []
    for state in states:
        left = 0.0 if state is None else state.left(now)
        kept += [state] if left > -SLACK else []
        kept += [None] if left < SLACK else []
    return distinct(kept)
