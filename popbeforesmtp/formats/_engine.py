"""Turns messages into session events by the patterns of the formats.

A pattern is tried only on lines of its own server's programs, and must match the whole message. The program name
dispatches, so text that a stranger puts into another program's lines never reaches a login pattern.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

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
_ADDRESSES = 8192
"""Addresses whose canonical text is remembered: clients come again, and it takes ten times as long to find out."""


class Engine:
    """Reads messages by the formats in use.

    ``units`` are the systemd units that journal entries must come from, in place of those that the formats name.
    """

    def __init__(self, formats: Iterable[Format], units: tuple[str, ...] = ()) -> None:
        self.formats = tuple(formats)
        self._units = units
        self._profiles = {known.name: known.journal for known in self.formats}
        self._by_program: dict[bytes | None, list[Format]] = {}
        for known in self.formats:
            keys: tuple[bytes | None, ...] = (*known.programs, None) if known.own_log else known.programs
            for key in keys:
                self._by_program.setdefault(key, []).append(known)

    @property
    def programs(self) -> tuple[bytes, ...]:
        """The syslog tags that some format reads."""
        return tuple(program for program in self._by_program if program is not None)

    def sieve(self, also: tuple[bytes, ...] = ()) -> Sieve:
        """Make a sieve for one log, that passes by what no pattern can match; all lines of programs ``also`` stay."""
        begins = {program: self._begins(program) for program in self.programs}
        return Sieve({**dict.fromkeys(also, ()), **begins}, self._begins(None))

    def read(self, message: LogMessage) -> SessionEvent | None:
        """Return the event that a message reports, or None."""
        found = self.find(message.program, message.text, 0, len(message.text))
        if found is None and message.program is None:  # a log without hosts looks like a server's own
            tagged = split_tag(message.text)
            found = None if tagged is None else self.find(*tagged, 0, len(tagged[1]))
        return None if found is None else self._event(found, message)

    def find(self, program: bytes | None, data: bytes, start: int, end: int) -> Found | None:
        """Match a message that stands in ``data`` from ``start`` to ``end``; None where it means nothing."""
        formats = self._by_program.get(program)
        if formats is None or end - start > LONGEST_LINE:
            return None
        for known in formats:
            for pattern in known.patterns:
                match = pattern.match.fullmatch(data, start, end)
                if match is not None:
                    return _believed(known, pattern, match)
        return None

    def knows(self, program: bytes | None) -> bool:
        """Say whether some format reads the lines of a program."""
        return program in self._by_program

    def _begins(self, program: bytes | None) -> tuple[bytes, ...]:
        """Return what the messages of a program begin with that can mean anything; nothing where that can be all."""
        begins = [known.begins for known in self._by_program.get(program, ())]
        return () if () in begins else tuple(begin for each in begins for begin in each)

    def _event(self, found: Found, message: LogMessage) -> SessionEvent:
        name, kind, match, client = found
        sender, profile = message.sender, self._profiles[name]
        values = {name: value for name, value in match.groupdict().items() if value}
        return SessionEvent(
            kind=kind,
            time=message.time,
            format=name,
            client=client,
            user=_text(values.get("user")),
            service=_text(values.get("service")),
            mechanism=(_text(values.get("mechanism")) or "").upper() or None,
            session=_text(values.get("session")),
            mail_pid=_text(values.get("mail_pid")),
            genuine=sender is None or (profile is not None and profile.fits(sender, self._units)),
        )


def _believed(known: Format, pattern: Pattern, match: re.Match[bytes]) -> Found | None:
    """Say what a line that matches is; None where it may not be believed."""
    if pattern.event is not EventKind.FAILURE:
        text = match[0]
        if len(text) > LONGEST_LOGIN or len(text.translate(None, _CONTROL)) != len(text):
            return None
    address = match[pattern.address] if pattern.address else None
    client = None if address is None else _client(address)
    if client is None and pattern.event is not EventKind.LOGOUT:
        return None
    return Found(known.name, pattern.event, match, client)


@lru_cache(_ADDRESSES)
def _client(text: bytes) -> ClientAddress | None:
    return parse_address(text.decode("ascii", "replace"))


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "surrogateescape")
