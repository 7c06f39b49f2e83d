"""Joins the lines of one session: a logout carries no address, its login did.

Dovecot names the session on both lines (2.3 and later), or at least the process that served it. The logout may be
written before its own login, for two processes write them; it then has no address, and nothing is lost.
"""

from collections import OrderedDict
from dataclasses import replace

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.model import EventKind, SessionEvent

_OPEN_SESSIONS = 100_000
"""How many open sessions are remembered at most; the oldest is forgotten first."""


class Sessions:
    """The sessions of one source that are open."""

    def __init__(self, limit: int = _OPEN_SESSIONS) -> None:
        self._limit = limit
        self._clients: OrderedDict[tuple[str, str, str], ClientAddress] = OrderedDict()

    def join(self, event: SessionEvent) -> SessionEvent:
        """Remember a login's address, and give it to its logout."""
        key = _key(event)
        if key is None or not event.genuine:
            return event
        if event.kind is EventKind.LOGIN and event.client is not None:
            self._clients[key] = event.client
            self._clients.move_to_end(key)
            if len(self._clients) > self._limit:
                self._clients.popitem(last=False)
        elif event.kind is EventKind.LOGOUT and event.client is None:
            return replace(event, client=self._clients.pop(key, None))
        return event


def _key(event: SessionEvent) -> tuple[str, str, str] | None:
    """Name the session that a line belongs to; the session id where there is one, for process ids come again."""
    if event.session:
        return (event.format, "session", event.session)
    if event.mail_pid:
        return (event.format, "pid", event.mail_pid)
    return None
