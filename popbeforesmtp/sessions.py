"""Reads the lines of one session together.

A logout carries no address, its login did. Some servers write the address on a line of its own, before the login. And a
logger that cuts long records may make a line of what a stranger sent; what follows a cut record is not believed until
the logger cannot but be in step again.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.model import EventKind, SessionEvent

_OPEN = 100_000  # open sessions that are remembered at most, 250 bytes each; the oldest is forgotten first
_WAITING = 10_000  # connections whose login is waited for at most
_PATIENCE = timedelta(seconds=120)  # from a connection to its login
_DISORDER = timedelta(seconds=2)  # from a logout to its login, where other processes write them (measured: Dovecot 2.3)
_REST = 2  # records that a line makes behind its first one, which was cut; the last has three bytes at most
_HELD = 3  # records behind a silence that may be of a line which the logger held back all the while
_SILENCE = timedelta(seconds=5)  # for which no logger keeps anything back that it could write
_AHEAD = 65536  # bytes that a logger can be behind, all in all: what a pipe takes

_Key = tuple[str, str]
K = TypeVar("K")
V = TypeVar("V")


class _Connection(NamedTuple):
    """A client that has not logged in yet."""

    client: ClientAddress
    time: datetime


@dataclass(slots=True)
class _Doubt:
    """A writer whose records may be pieces of lines, and what it has written since the last one that surely was."""

    time: datetime | None  # of its last record
    rest: int = _REST  # records that may be the rest of the cut one
    records: int = 0
    size: int = 0  # bytes
    held: int | None = None  # records that may have been held back; None before it has fallen silent

    def clears(self, event: SessionEvent) -> bool:
        """Say whether a record is whole for sure, for the writer must be in step again; else take it in.

        formats/courier.toml says how long a logger can be out of step. Whoever is silent waits for more to write: then
        it has no more than what it held back, in three records.
        """
        silent = self.time is not None and event.time is not None and event.time - self.time >= _SILENCE
        if silent and self.held is None and self.records >= _REST:
            self.held = _HELD
        if self.held == 0 or self.size >= _AHEAD:
            return True
        if self.held is not None:
            self.held -= 1
        self.time = event.time
        self.records += 1
        self.size += event.size
        return False


class Sessions:
    """The sessions of one source."""

    def __init__(self, limit: int = _OPEN) -> None:
        self._limit = limit  # open sessions that are remembered at most
        self._open: OrderedDict[_Key, ClientAddress] = OrderedDict()
        self._early: OrderedDict[_Key, datetime] = OrderedDict()  # logouts whose login may still come
        self._waiting: OrderedDict[_Key, _Connection] = OrderedDict()
        self._doubted: OrderedDict[bytes, _Doubt] = OrderedDict()  # by writer
        self._met: set[bytes] | None = None  # writers since lines were passed by; None where none were

    @property
    def unsettled(self) -> bool:
        """Whether what comes next may mean something only because of lines that were read before."""
        return bool(self._waiting or self._doubted)

    @property
    def doubted(self) -> list[bytes]:
        """The writers whose records may be pieces of lines."""
        return list(self._doubted)

    def doubt(self, writers: Iterable[bytes]) -> None:
        """Doubt these, as before a restart."""
        for writer in writers:
            _remember(self._doubted, writer, _Doubt(None), _WAITING)

    def pass_gap(self) -> None:
        """Take in that lines were passed by: any writer that is met from now on may have been cut in them."""
        self._met = set()

    def reopen(self, format_name: str, key: str, client: ClientAddress) -> None:
        """Remember a session that was open before a restart."""
        _remember(self._open, (format_name, key), client, self._limit)

    def mind_ends(self, *, ends: bool) -> None:
        """Say whether it matters from now on when a session ends: else none that is open need be remembered."""
        self._limit = _OPEN if ends else 0
        if not ends:
            self._open.clear()
            self._early.clear()

    def forget(self, time: datetime | None) -> None:
        """Forget connections that have waited too long for their login, by the time of the log."""
        while self._waiting and time is not None and time - next(iter(self._waiting.values())).time > _PATIENCE:
            self._waiting.popitem(last=False)

    def join(self, event: SessionEvent) -> SessionEvent | None:
        """Say what a line means together with those before it; None where it means nothing, or is not believed."""
        if not event.genuine:
            return event if event.kind in (EventKind.LOGIN, EventKind.LOGOUT, EventKind.FAILURE) else None
        if event.writer and not self._is_whole(event):
            return None
        if event.cut:  # its end, where the server writes the address, is missing: what stands there is a name's
            event = event._replace(client=None)
        key = None if event.key is None else (event.format, event.key)
        match event.kind:
            case EventKind.CONNECT:
                self._connect(key, event)
                return None
            case EventKind.OTHER:
                if key is not None:
                    self._waiting.pop(key, None)
                return None
            case EventKind.LOGIN:
                return self._login(key, event)
            case EventKind.LOGOUT if key is not None:
                client = self._open.pop(key, None)
                if client is None:
                    if event.time is not None:
                        _remember(self._early, key, event.time, min(_WAITING, self._limit))
                    return None if event.joined else event
                return event._replace(client=event.client or client, known=True)
            case EventKind.FAILURE if event.client is None and key is not None:
                waiting = self._waiting.get(key)
                return event if waiting is None else event._replace(client=waiting.client)
        return event

    def _is_whole(self, event: SessionEvent) -> bool:
        """Say whether a record cannot be a piece of a line that was cut; remember where such pieces may follow.

        A failure lets nobody in, so it is doubted only where it may be the rest of the very line that was cut.
        """
        doubt = self._doubted.get(event.writer)
        if doubt is not None and doubt.clears(event):
            del self._doubted[event.writer]
            doubt = None
        elif doubt is None and self._may_have_been_cut(event):
            doubt = _Doubt(None)
            doubt.clears(event)
            _remember(self._doubted, event.writer, doubt, _WAITING)
        rest = doubt is not None and doubt.rest > 0
        if event.cut:
            _remember(self._doubted, event.writer, _Doubt(event.time), _WAITING)
        elif doubt is not None:
            doubt.rest = 0 if event.ends else max(0, doubt.rest - 1)
        return doubt is None or (event.kind is EventKind.FAILURE and not rest)

    def _may_have_been_cut(self, event: SessionEvent) -> bool:
        """Say whether nobody has seen what a writer wrote before, of those whose records may be cut."""
        if self._met is None or not (event.cut or event.ends) or event.writer in self._met:
            return False
        if len(self._met) >= _WAITING:
            self._met.clear()
        self._met.add(event.writer)
        return True

    def _connect(self, key: _Key | None, event: SessionEvent) -> None:
        if key is None or event.client is None or event.time is None:
            return
        self.forget(event.time)
        self._open.pop(key, None)  # the process serves somebody else now
        _remember(self._waiting, key, _Connection(event.client, event.time), _WAITING)

    def _login(self, key: _Key | None, event: SessionEvent) -> SessionEvent | None:
        """Give a login its connection's address, if it has none; remember it for its logout."""
        waiting = None if key is None else self._waiting.pop(key, None)
        if event.client is None:
            if waiting is None or event.time is None or not timedelta() <= event.time - waiting.time <= _PATIENCE:
                return None
            event = event._replace(client=waiting.client)
        if key is not None and event.client is not None and self._limit:
            early = self._early.pop(key, None)
            if early is not None and event.time is not None and abs(event.time - early) <= _DISORDER:
                return event._replace(ended=True)
            _remember(self._open, key, event.client, self._limit)
        return event


def _remember(remembered: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    """Remember something, and forget what is oldest."""
    remembered[key] = value
    remembered.move_to_end(key)
    if len(remembered) > most:
        remembered.popitem(last=False)
