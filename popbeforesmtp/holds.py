"""Sessions that are open, of one source: while one is, ``hold`` keeps its client authorized.

A session whose end is not seen would stretch its client's window to all that ``hold`` allows. So it is in force for a
format only once that format's logouts are being seen, and no longer when many logins come and no logout among them;
nor for one account of which that is true.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.clock import Moment
from popbeforesmtp.model import Authorization
from popbeforesmtp.text import escape

_SILENT = 100
"""Logins of one format without a logout among them, from which on nobody can tell any more that sessions end."""

_SHARE = 10
"""How many of them one account may make: one that opens a hundred sessions ends what it holds itself, nobody else's."""

_NONE: Counter[str] = Counter()  # of a format that nobody logged in to

Session = tuple[str, str]
"""The log that a session's lines stand in, and its name there: format, blank, key."""


def session_name(format_name: str, key: str) -> str:
    """Name a session among those of one log."""
    return f"{format_name} {key}"


class Holds:
    """What open sessions authorize."""

    def __init__(self) -> None:
        self._open: OrderedDict[Session, Authorization] = OrderedDict()  # the oldest login first
        self._waiting: dict[Session, Authorization] = {}  # not authorized yet: their end may come in what is read next
        self._logins: dict[str, Counter[str]] = {}  # of each account of a format, since the last logout there
        self._seen: set[str] = set()  # formats whose logouts are seen

    def __len__(self) -> int:
        return len(self._open)

    def in_force(self, format_name: str, user: str) -> bool:
        """Say whether an account's sessions are held."""
        return format_name in self._seen and self._logins.get(format_name, _NONE)[user.casefold()] < _SILENT

    def unheld(self) -> list[str]:
        """Say of whom so many logins came without a logout that somebody should know: formats, and accounts."""
        formats = sorted(name for name in self._logins if name not in self._seen and self._is_silent(name))
        accounts = sorted(
            f"{name}'s account {escape(user)}"
            for name in self._seen
            for user, count in self._logins.get(name, _NONE).items()
            if count >= _SILENT
        )
        return formats + accounts

    def restore(self, held: Authorization) -> None:
        """Take up a session that was held before a restart."""
        self._seen.add(held.format)
        self._open[held.origin.source, held.session] = held

    def login(self, format_name: str, user: str) -> list[Authorization]:
        """Count a login; where that makes too many without a logout, return all that is held no longer."""
        user, logins = user.casefold(), self._logins.setdefault(format_name, Counter())
        if format_name not in self._seen:
            if not self._is_silent(format_name):
                logins[user] += 1
            return []
        logins[user] += 1
        if self._weight(format_name) >= _SILENT:
            self._seen.discard(format_name)
            return self._take_back(lambda held: held.format == format_name)
        if logins[user] != _SILENT:
            return []
        return self._take_back(lambda held: held.format == format_name and held.user.casefold() == user)

    def hold(self, held: Authorization, now: Moment, *, live: bool) -> Authorization | None:
        """Remember an open session; return another one's that had its name, and is over.

        While the past of a log is read (``live`` is false) its end may stand in the next line: it waits for ``due``.
        """
        while self._open and next(iter(self._open.values())).remaining(now) <= 0:
            self._open.popitem(last=False)
        session = held.origin.source, held.session
        before = self._open.get(session)
        same = before is None or (before.client, before.key) == (held.client, held.key)
        if live or not same:
            self._open.pop(session, None)
        if live:
            self._open[session] = held
        else:
            self._waiting[session] = held
        return None if same else before

    def due(self) -> Iterator[Authorization]:
        """Give, once, those that waited and are open still."""
        waiting, self._waiting = self._waiting, {}
        for session, held in waiting.items():
            self._open[session] = held
            yield held

    def logout(self, log: str, format_name: str, session: str, *, known: bool = True) -> Authorization | None:
        """Take in that a session has ended; return what it held.

        Only one whose login was seen (``known``) shows that logouts are: anybody could make up another, and so stretch
        windows.
        """
        if known:
            self._seen.add(format_name)
            self._logins.pop(format_name, None)
        self._waiting.pop((log, session), None)
        return self._open.pop((log, session), None)

    def taken(self, session: Session, client: ClientAddress, user: str) -> Authorization | None:
        """Take in that a login has this session's name; return what another held that had it, and is over."""
        for known in (self._waiting, self._open):
            held = known.get(session)
            if held is not None and (held.client, held.user) != (client, user):
                del known[session]
                if known is self._open:
                    return held
        return None

    def forget(self, ended: Callable[[Authorization], bool]) -> None:
        """Forget the sessions whose windows were ended before their time."""
        self._open = OrderedDict((session, held) for session, held in self._open.items() if not ended(held))
        self._waiting = {session: held for session, held in self._waiting.items() if not ended(held)}

    def all(self) -> list[Authorization]:
        """Forget and return all that is held."""
        gone = list(self._open.values())
        self._open.clear()
        self._waiting.clear()
        return gone

    def _weight(self, format_name: str) -> int:
        """Return how many logins came since the last logout, of no account more than its share."""
        return sum(min(count, _SHARE) for count in self._logins.get(format_name, _NONE).values())

    def _is_silent(self, format_name: str) -> bool:
        """Say whether so many logins of a format, or of one account there, came without a logout."""
        most = max(self._logins.get(format_name, _NONE).values(), default=0)
        return most >= _SILENT or self._weight(format_name) >= _SILENT

    def _take_back(self, gone: Callable[[Authorization], bool]) -> list[Authorization]:
        """Forget some sessions; return those that were held."""
        found = [held for held in self._open.values() if gone(held)]
        self.forget(gone)
        return found
