"""Turns messages into session events by the patterns of the formats.

A pattern is tried only on lines of its own server's programs, and must match the whole message. The program name
dispatches, so text that a stranger puts into another program's lines never reaches a login pattern.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from typing import TypedDict

from popbeforesmtp.addresses import ClientAddress, parse_address
from popbeforesmtp.entry import EntryReader
from popbeforesmtp.formats import LONGEST_LOGIN, Blend, Found, Kind
from popbeforesmtp.formats._blend import blend
from popbeforesmtp.formats._format import Format, Pattern
from popbeforesmtp.header import process_of, split_tag
from popbeforesmtp.model import EventKind, LogMessage, Sender, SessionEvent
from popbeforesmtp.sieve import EntrySieve, Sieve

LONGEST_LINE = 16384
"""Bytes of the longest message that is looked at."""

_CONTROL = bytes((*range(32), 127))
_PID = re.compile(rb"\[[0-9]{1,10}\]: ")
_ADDRESSES = 2048
"""Addresses whose canonical text is remembered: clients come again, and it takes five times as long to find out."""
_LOGOUT = SessionEvent(EventKind.LOGOUT, None, "")
_found = partial(tuple.__new__, Found)  # in half the time that Found(…) takes


_Groups = Mapping[str, bytes | None]
_Tries = list[tuple[Callable[[bytes, int, int], re.Match[bytes] | None], Pattern, Format]]


class _Order(TypedDict, total=False):
    writer: bytes
    cut: bool
    ends: bool
    size: int


class Engine:
    """Reads messages by the formats in use.

    ``units`` are the systemd units that journal entries must come from, in place of those that the formats name, and
    ``host`` the only host, None for any; ``insecure`` believes servers' own logs that strangers can write lines into.
    """

    def __init__(
        self,
        formats: Iterable[Format],
        units: tuple[str, ...] = (),
        *,
        host: str | None = None,
        insecure: bool = False,
    ) -> None:
        self.formats = tuple(formats)
        self._units = units
        self._host = host
        self._insecure = insecure
        self._formats = {known.name: known for known in self.formats}
        self._by_program: dict[bytes | None, list[Format]] = {}
        for known in self.formats:
            keys: tuple[bytes | None, ...] = known.programs
            if known.own_log and (insecure or not known.forgeable):
                keys = (*keys, None)
            for key in keys:
                self._by_program.setdefault(key, []).append(known)
        self._tries: dict[bytes | None, _Tries] = {}  # of the programs that were met so far
        self.alone = frozenset(
            key for key, formats in self._by_program.items() if all(known.alone for known in formats)
        )

    @property
    def programs(self) -> tuple[bytes, ...]:
        """The syslog tags that some format reads."""
        return tuple(program for program in self._by_program if program is not None)

    @property
    def marks(self) -> tuple[bytes, ...]:
        """What stands in the lines of servers whose records may have been cut: only those before tell of them."""
        return tuple(known.cut.mark for known in self.formats if known.cut is not None)

    @property
    def owners(self) -> tuple[str, ...]:
        """The users who may own a log that a server keeps by itself."""
        return tuple(owner for known in self.formats for owner in known.owners)

    @property
    def refused(self) -> tuple[str, ...]:
        """The names of servers' logs that strangers can write lines into."""
        return tuple(name for known in self.formats for name in known.refused)

    def warning(self, name: str) -> str:
        """Say what nobody can exclude who reads a format's log; empty where that is nothing of its own."""
        return self._formats[name].warning

    def forgeable(self, message: LogMessage) -> str | None:
        """Say why a line of a server's own log cannot be believed, where it is one of those; else None."""
        if message.program is not None or self._insecure:
            return None
        for known in self.formats:
            if known.forgeable and (
                (known.sign is not None and known.sign.match(message.text))
                or any(pattern.match.fullmatch(message.text) for pattern in known.patterns)
            ):
                return known.forgeable
        return None

    def sieve(self, also: tuple[bytes, ...] = ()) -> Sieve:
        """Make a sieve for one log, that passes by what no pattern can match; all lines of programs ``also`` stay."""
        begins, logins = (
            dict.fromkeys(also, ()) | {program: self._begins(program, ends=ends) for program in self.programs}
            for ends in (True, False)
        )
        return Sieve(begins, logins)

    def entry_sieve(self, reader: EntryReader) -> EntrySieve:
        """Make the same for the journal that ``reader`` reads."""
        return EntrySieve({program: self._begins(program) for program in self.programs}, reader)

    def read(self, message: LogMessage, *, ends: bool = True) -> SessionEvent | None:
        """Return the event that a message reports, or None.

        Where not asked for ``ends`` of sessions, a logout in a log may be no more than that.
        """
        program, text = message.program, message.text
        found = self.find(program, text, 0, len(text))
        if found is None and program is None:  # a log without hosts looks like a server's own
            tagged = split_tag(text)
            if tagged is None:
                return None
            program, text = tagged
            found = self.find(program, text, 0, len(text))
        if found is not None:
            if not ends and found.kind.event is EventKind.LOGOUT and program in self.alone and message.sender is None:
                return _LOGOUT
            return self._event(found, program, message)
        together = next((known for known in self._by_program.get(program, ()) if known.together), None)
        return None if together is None else self._other(together, program, message)

    def find(self, program: bytes | None, data: bytes, start: int, end: int) -> Found | None:
        """Match a message that stands in ``data`` from ``start`` to ``end``; None where it means nothing."""
        length = end - start
        if length > LONGEST_LINE:
            return None
        tries = self._tries.get(program)
        for fullmatch, pattern, known in self._new_tries(program) if tries is None else tries:
            match = fullmatch(data, start, end)
            if match is None or (pattern.once and not pattern.is_once(data, start, end)):
                continue
            if (length > LONGEST_LOGIN or pattern.admits_control) and not _may_be(pattern, match[0]):
                return None
            client = _client(match[pattern.address] or b"") if pattern.address else None
            if client is None and pattern.address and pattern.event is not EventKind.LOGOUT:
                return None
            called = match[pattern.service] if pattern.service else None
            kind = pattern.kinds.get(called or program) or _kind(known, pattern, program, called)
            return _found((kind, match, client))
        return None

    def blend(self, program: bytes, before: int) -> Blend | None:
        """Put the patterns that a program's lines have matched so far into one expression, where that can be done.

        They are all up to the last one that was met, for the first that matches a line says what it means. So many
        groups will stand before it.
        """
        tries = [(pattern, known) for _, pattern, known in self._tries.get(program, ())]
        while tries and not tries[-1][0].kinds:
            tries.pop()
        return blend([(pattern, partial(_kind, known, pattern, program)) for pattern, known in tries], before)

    def of(self, program: bytes | None) -> list[Format]:
        """Return the formats that read a program's lines."""
        return self._by_program.get(program, [])

    def knows(self, program: bytes | None) -> bool:
        """Say whether some format reads the lines of a program."""
        return program in self._by_program

    def _new_tries(self, program: bytes | None) -> _Tries:
        """Return what to try on the lines of a program that was not met before; strangers' programs are not kept."""
        formats = self._by_program.get(program)
        if formats is None:
            return []
        tries: _Tries = [(pattern.match.fullmatch, pattern, known) for known in formats for pattern in known.patterns]
        self._tries[program] = tries
        return tries

    def _begins(self, program: bytes | None, *, ends: bool = True) -> tuple[bytes, ...]:
        """Return what the messages of a program begin with that can mean anything; nothing where that can be all.

        Where not asked for ``ends`` of sessions, without what only logouts begin with.
        """
        formats = self._by_program.get(program, ())
        if any(not known.begins for known in formats):
            return ()
        return tuple(begin for known in formats for begin in known.begins if ends or begin not in known.logouts)

    def _event(self, found: Found, program: bytes | None, message: LogMessage) -> SessionEvent:
        kind, match, client = found
        groups = match.groupdict()
        mechanism = _told(groups, "mechanism")
        event = SessionEvent(
            kind=kind.event,
            time=message.time,
            format=kind.format,
            client=client,
            user=_told(groups, "user") or self._formats[kind.format].account or None,
            service=kind.service,
            mechanism=mechanism and mechanism.upper(),
            tls=any(groups[name] for name in kind.tls) if kind.tls else None,
            session=_told(groups, "session"),
            mail_pid=_told(groups, "mail_pid"),
            genuine=message.sender is None or self._is_genuine(kind.format, message.sender),
            key=_key(kind, groups, client, message.writer),
            joined=len(kind.join) == 1,  # the format names one thing: without it the server may say goodbye to anybody
        )
        return event if program in self.alone else event._replace(**self._order(program, message))

    def _other(self, known: Format, program: bytes | None, message: LogMessage) -> SessionEvent:
        """Make an event of a line that means nothing by itself, but stands between others that do."""
        return SessionEvent(
            kind=EventKind.OTHER,
            time=message.time,
            format=known.name,
            genuine=message.sender is None or self._is_genuine(known.name, message.sender),
            key=_process(message.writer),
            **self._order(program, message),
        )

    def _order(self, program: bytes | None, message: LogMessage) -> _Order:
        """Say what must be known of a line to read it together with others.

        What one format knows of a program's logger holds for all of them: the rest of a record that was cut may look
        like any line of any server that is called the same.
        """
        cuts = [known.cut for known in self._by_program.get(program, ()) if known.cut is not None]
        ends = any(cut.ends.search(message.text) for cut in cuts)
        return {
            "writer": process_of(message.writer),
            "cut": bool(cuts) and not ends,
            "ends": ends,
            "size": len(message.text),
        }

    def _is_genuine(self, name: str, sender: Sender) -> bool:
        profile = self._formats[name].journal
        return profile is not None and profile.fits(sender, self._units, self._host)


def _key(kind: Kind, groups: _Groups, client: ClientAddress | None, writer: bytes) -> str | None:
    """Name the session that a line belongs to, by the first of the things that may name it and that the line has."""
    for join in kind.join:
        if join == "pid":
            return _process(writer)
        value = _told(groups, join)
        if join == "port" and value is not None:  # the server does not tell two sessions of one client apart otherwise
            value = f"{client or ''}:{value}"
        if value is not None:
            return f"{join} {value}"
    return None


def _process(writer: bytes) -> str | None:
    """Name the process that wrote a line; None where its header does not."""
    return f"process {_text(process_of(writer))}" if _PID.search(writer) else None


def _may_be(pattern: Pattern, text: bytes) -> bool:
    """Say whether a message may be what its pattern says: it is not too long for that, and holds no control byte."""
    if pattern.event is EventKind.FAILURE:
        return True
    return len(text) <= LONGEST_LOGIN and len(text.translate(None, _CONTROL)) == len(text)


def _kind(known: Format, pattern: Pattern, program: bytes | None, called: bytes | None) -> Kind:
    """Return what there is one of for each pattern and service; services are few, for patterns name them."""
    kind = pattern.kinds.get(called or program)
    if kind is None:
        service = known.services.get(called or program or b"") or (_text(called) if called else None)
        kind = pattern.kinds[called or program] = Kind(known.name, pattern.event, service, pattern.join, pattern.tls)
    return kind


@lru_cache(_ADDRESSES)
def _client(text: bytes) -> ClientAddress | None:
    return parse_address(text.decode("ascii", "replace"))


def _told(groups: _Groups, name: str) -> str | None:
    """Return what a line says of something; None where it says nothing."""
    value = groups.get(name)
    return value.decode("utf-8", "surrogateescape") if value else None


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")
