"""Turns messages into session events by the patterns of the formats.

A pattern is tried only on lines of its own server's programs, and must match the whole message. The program name
dispatches, so text that a stranger puts into another program's lines never reaches a login pattern.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TypedDict

from popbeforesmtp.addresses import ClientAddress, parse_address
from popbeforesmtp.formats import Found
from popbeforesmtp.formats._format import Format, Pattern
from popbeforesmtp.header import split_tag
from popbeforesmtp.model import EventKind, LogMessage, SessionEvent
from popbeforesmtp.sieve import Sieve

LONGEST_LOGIN = 2048
"""Bytes of the longest message that can be a login or a logout; no server writes longer ones, forgers do."""

LONGEST_LINE = 16384
"""Bytes of the longest message that is looked at."""

_CONTROL = bytes((*range(32), 127))
_PID = re.compile(rb"\[[0-9]{1,10}\]: ")
_ADDRESSES = 8192
"""Addresses whose canonical text is remembered: clients come again, and it takes ten times as long to find out."""


class Engine:
    """Reads messages by the formats in use.

    ``units`` are the systemd units that journal entries must come from, in place of those that the formats name;
    ``insecure`` believes servers' own logs that strangers can write lines into.
    """

    def __init__(self, formats: Iterable[Format], units: tuple[str, ...] = (), *, insecure: bool = False) -> None:
        self.formats = tuple(formats)
        self._units = units
        self._formats = {known.name: known for known in self.formats}
        self._by_program: dict[bytes | None, list[Format]] = {}
        for known in self.formats:
            keys: tuple[bytes | None, ...] = known.programs
            if known.own_log and (insecure or not known.forgeable):
                keys = (*keys, None)
            for key in keys:
                self._by_program.setdefault(key, []).append(known)
        self._together = frozenset(key for key, formats in self._by_program.items() if any(f.together for f in formats))

    @property
    def programs(self) -> tuple[bytes, ...]:
        """The syslog tags that some format reads."""
        return tuple(program for program in self._by_program if program is not None)

    @property
    def owners(self) -> tuple[str, ...]:
        """The users who may own a log that a server keeps by itself."""
        return tuple(owner for known in self.formats for owner in known.owners)

    def forgeable(self, message: LogMessage) -> str | None:
        """Say why a line of a server's own log cannot be believed, where it is one of those; else None."""
        if message.program is not None:
            return None
        for known in self.formats:
            if known.forgeable and any(pattern.match.fullmatch(message.text) for pattern in known.patterns):
                return known.forgeable
        return None

    def sieve(self, also: tuple[bytes, ...] = ()) -> Sieve:
        """Make a sieve for one log, that passes by what no pattern can match; all lines of programs ``also`` stay."""
        begins = {program: self._begins(program) for program in self.programs}
        return Sieve({**dict.fromkeys(also, ()), **begins}, self._begins(None))

    def read(self, message: LogMessage) -> SessionEvent | None:
        """Return the event that a message reports, or None."""
        program, text = message.program, message.text
        found = self.find(program, text, 0, len(text))
        if found is None and program is None:  # a log without hosts looks like a server's own
            tagged = split_tag(text)
            if tagged is None:
                return None
            program, text = tagged
            found = self.find(program, text, 0, len(text))
        if found is not None:
            return self._event(found, message)
        together = next((known for known in self._by_program.get(program, ()) if known.together), None)
        return None if together is None else self._other(together, message)

    def find(self, program: bytes | None, data: bytes, start: int, end: int) -> Found | None:
        """Match a message that stands in ``data`` from ``start`` to ``end``; None where it means nothing."""
        if end - start > LONGEST_LINE:
            return None
        for known in self._by_program.get(program, ()):
            for pattern in known.patterns:
                match = pattern.match.fullmatch(data, start, end)
                if match is not None and (not pattern.once or pattern.is_once(data, start, end)):
                    return _believed(known, pattern, match, program)
        return None

    def knows(self, program: bytes | None) -> bool:
        """Say whether some format reads the lines of a program."""
        return program in self._by_program

    def reads_together(self, program: bytes | None) -> bool:
        """Say whether a program's lines tell enough only together with others: `find` does not do for them."""
        return program in self._together

    def _begins(self, program: bytes | None) -> tuple[bytes, ...]:
        """Return what the messages of a program begin with that can mean anything; nothing where that can be all."""
        begins = [known.begins for known in self._by_program.get(program, ())]
        return () if () in begins else tuple(begin for each in begins for begin in each)

    def _event(self, found: Found, message: LogMessage) -> SessionEvent:
        known = self._formats[found.format]
        values = {name: value for name, value in found.match.groupdict().items() if value}
        return SessionEvent(
            kind=found.event,
            time=message.time,
            format=known.name,
            client=found.client,
            user=_text(values.get("user")),
            service=found.service,
            mechanism=(_text(values.get("mechanism")) or "").upper() or None,
            session=_text(values.get("session")),
            mail_pid=_text(values.get("mail_pid")),
            genuine=self._is_genuine(known, message),
            key=_key(found, values, message.writer),
            **_order(known, message),
        )

    def _other(self, known: Format, message: LogMessage) -> SessionEvent:
        """Make an event of a line that means nothing by itself, but stands between others that do."""
        return SessionEvent(
            kind=EventKind.OTHER,
            time=message.time,
            format=known.name,
            genuine=self._is_genuine(known, message),
            key=_process(message.writer),
            **_order(known, message),
        )

    def _is_genuine(self, known: Format, message: LogMessage) -> bool:
        sender = message.sender
        return sender is None or (known.journal is not None and known.journal.fits(sender, self._units))


class _Order(TypedDict):
    writer: bytes
    cut: bool
    ends: bool


def _order(known: Format, message: LogMessage) -> _Order:
    """Say what must be known of a line to read it together with others."""
    if not known.together:
        return {"writer": b"", "cut": False, "ends": False}
    ends = known.cut is not None and known.cut.ends.search(message.text) is not None
    cut = known.cut is not None and not ends and message.text.startswith(known.cut.begins)
    return {"writer": message.writer, "cut": cut, "ends": ends}


def _key(found: Found, values: Mapping[str, bytes], writer: bytes) -> str | None:
    """Name the session that a line belongs to, by the first of the things that may name it and that the line has."""
    for join in found.join:
        if join == "pid":
            return _process(writer)
        value = values.get(join)
        if join == "port" and value is not None:  # the server does not tell two sessions of one client apart otherwise
            value = b"%b:%b" % ((found.client or "").encode(), value)
        if value is not None:
            return f"{join} {_text(value)}"
    return None


def _process(writer: bytes) -> str | None:
    """Name the process that wrote a line; None where its header does not."""
    return f"process {_text(writer)}" if _PID.search(writer) else None


def _believed(known: Format, pattern: Pattern, match: re.Match[bytes], program: bytes | None) -> Found | None:
    """Say what a line that matches is; None where it may not be believed."""
    if pattern.event is not EventKind.FAILURE:
        text = match[0]
        if len(text) > LONGEST_LOGIN or len(text.translate(None, _CONTROL)) != len(text):
            return None
    client = None
    if pattern.address:
        client = _client(match[pattern.address] or b"")
        if client is None and pattern.event is not EventKind.LOGOUT:
            return None
    called = match[pattern.service] if pattern.service else None
    service = known.services.get(called or program or b"") or _text(called)
    return Found(known.name, pattern.event, match, client, service, pattern.join)


@lru_cache(_ADDRESSES)
def _client(text: bytes) -> ClientAddress | None:
    return parse_address(text.decode("ascii", "replace"))


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "surrogateescape")
