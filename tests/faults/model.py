"""Who must be live, and who may be, at any moment: a second, slower telling of what the daemon promises.

Where the bench cannot know what the daemon did in time (it was killed, and a clock was stepped before it came back), a
client has several states that are possible. It must be live where it is live in all of them, and may be where it is
in one.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from tests.faults.clock import Moment
from tests.faults.lines import Login

AHEAD = 60.0  # seconds that a stamp may lie in the future
COMMITTED_AFTER = 1.5  # seconds after which the store surely holds what was acted on
SLACK = 0.3  # seconds around an end in which both answers are right, for the bench's own steps take time
_SAME = 0.02  # seconds within which two ends are one
_BRANCHES = 64


@dataclass(frozen=True, slots=True)
class Window:
    """The two ends of one leave, and other leaves of the same client that lie in the store beside it.

    Where a clock was set between two logins, each may end later on one of the clocks. The daemon goes by the one that
    had more time left when the later came; ``list`` shows both, and a daemon that is started goes by what is left then.
    """

    expires: float
    deadline: float
    others: tuple["Window", ...] = ()
    made: frozenset[Login] = field(default=frozenset(), compare=False)  # by these: they need not be read again

    def left(self, now: Moment) -> float:
        """Say for how many seconds it holds."""
        return min(self.expires - now.wall, self.deadline - now.boottime)

    def all(self) -> tuple["Window", ...]:
        """Return this and the others, each by itself."""
        return (Window(self.expires, self.deadline), *self.others)

    def shown(self, now: Moment) -> float:
        """Say what ``list`` shows as the latest end, on the wall clock as it goes now."""
        return now.wall + max(window.left(now) for window in self.all())


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
    both, made = (*state.all(), *window.all()), state.made | window.made
    if abs(gained) < _SAME:
        return [_beside(state, both, made), _beside(window, both, made)]
    return [_beside(window if gained > 0 else state, both, made)]


def _beside(active: Window, windows: Iterable[Window], made: frozenset[Login]) -> Window:
    """Return a window with those beside it that end later than it on one of the clocks, and than each other."""
    kept = [Window(active.expires, active.deadline)]
    for window in windows:
        if not any(
            window.expires < other.expires + _SAME and window.deadline < other.deadline + _SAME for other in kept
        ):
            kept.append(window)
    return Window(active.expires, active.deadline, tuple(kept[1:]), made)


def distinct(states: Iterable[State]) -> list[State]:
    """Leave out states that are the same."""
    found: dict[tuple[object, ...], State] = {}
    for state in states:
        windows = () if state is None else state.all()
        ends = tuple((round(each.expires * 20), round(each.deadline * 20)) for each in windows)
        found.setdefault((ends, None if state is None else state.made), state)
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
        self._read: list[tuple[float, Login]] = []  # monotonic; what was acted on of late, also where it opened nothing
        self._again: list[Login] = []  # what a daemon that died had acted on, and may not be in the store

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
        self._read += [(at, login) for login in (*self._again, *self.waiting)]
        self._again = []
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

    def looked(self, now: Moment, at: float, late: float = SLACK) -> None:
        """The daemon has looked at the clocks: what is over stays over, surely if it is so for ``late`` seconds."""
        for client in self.clients.values():
            states = _ended(client.states, now, late)
            if states != client.states:
                self._set(client, states, [], at)
            for branch in client.branches:
                branch.states = _ended(branch.states, now, late)

    def killed(self, now: Moment, at: float) -> None:
        """The daemon died: what it acted on last is read again, unless it was in the store."""
        since = self._sure_until(at)
        self._again = list(self.uncommitted(at))
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
        self._read = [(read_at, login) for read_at, login in self._read if read_at > since]
        over = []
        busy = {
            login.client for login in (*self.waiting, *self.uncommitted(at))
        }  # what is read again may open something
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
        return list(dict.fromkeys([*self._again, *(login for read_at, login in self._read if read_at > since)]))

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
            made = [window and replace(window, made=frozenset([login])) for window in windows]
            behind = [kept for state in states for window in made for kept in granted(state, window, now)]
            unread = [state for state in states if _need_not(login, state)]
            states = distinct([*behind, *unread])
        return states

    def _loaded(self, states: list[State], now: Moment) -> list[State]:
        loaded: list[State] = []
        for state in states:
            windows = () if state is None else state.all()
            if self.rebooted:  # the wall clock says what is left
                windows = tuple(
                    Window(window.expires, now.boottime + min(window.expires - now.wall, self._grace))
                    for window in windows
                )
            for late in (-SLACK, SLACK):  # each that has ended is taken out by itself
                left = [window for window in windows if window.left(now) > late]
                longest = max(left, key=lambda window: window.left(now), default=None)
                loaded.append(state and longest and _beside(longest, left, state.made))
        return _ended(loaded, now)

    def _set(self, client: Client, states: list[State], logins: list[Login], at: float) -> None:
        client.states = states
        client.steps.append(_Step(at, states, logins))


def _need_not(login: Login, state: State) -> bool:
    """Say whether a login need not be read on top of a state: it lies nowhere any more, or has done its work."""
    return not login.sure or login.destroyed or (state is not None and login in state.made)


def _ended(states: list[State], now: Moment, late: float = SLACK) -> list[State]:
    """Return the states behind a look at the clocks, which may have been so many seconds ago."""
    kept: list[State] = []
    for state in states:
        left = 0.0 if state is None else state.left(now)
        kept += [state] if left > -late else []
        kept += [None] if left < SLACK else []
    return distinct(kept)
