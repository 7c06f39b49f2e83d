"""Sessions that are open, of one source: while one is, ``hold`` keeps its client authorized.

A session whose end is not seen would stretch its client's window to all that ``hold`` allows. So it is in force for a
format only once that format's logouts are being seen, and no longer when many logins come and no logout among them.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator

from popbeforesmtp.clock import Moment
from popbeforesmtp.model import Authorization

_SILENT = 100
"""Logins of one format without a logout among them, from which on nobody can tell any more that sessions end."""

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
        self._logins: Counter[str] = Counter()  # of each format, since its last logout
        self._seen: set[str] = set()  # formats whose logouts are seen

    def __len__(self) -> int:
        return len(self._open)

    def in_force(self, format_name: str) -> bool:
        """Say whether a format's sessions are held."""
        return format_name in self._seen

    def unheld(self) -> list[str]:
        """Return the formats of which so many logins came without a logout that somebody should know."""
        return sorted(name for name, count in self._logins.items() if count >= _SILENT and name not in self._seen)

    def restore(self, held: Authorization) -> None:
        """Take up a session that was held before a restart."""
        self._seen.add(held.format)
        self._open[held.origin.source, held.session] = held

    def login(self, format_name: str) -> list[Authorization]:
        """Count a login; where that makes too many without a logout, return all that is held no longer."""
        self._logins[format_name] += 1
        if self._logins[format_name] < _SILENT or format_name not in self._seen:
            return []
        self._seen.discard(format_name)
        for session in [session for session, held in self._waiting.items() if held.format == format_name]:
            del self._waiting[session]
        gone = [session for session, held in self._open.items() if held.format == format_name]
        return [self._open.pop(session) for session in gone]

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
            self._logins[format_name] = 0
        self._waiting.pop((log, session), None)
        return self._open.pop((log, session), None)

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
