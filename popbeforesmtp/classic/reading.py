"""Reads a log as the plan says, and as the classic would have: for ``--reprocess`` and ``migrate --check``."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, NamedTuple

import regex

from popbeforesmtp import wiring
from popbeforesmtp.addresses import ClientAddress, parse_address
from popbeforesmtp.classic.perlre import as_regex
from popbeforesmtp.classic.plan import ClassicPattern, Plan
from popbeforesmtp.errors import NotPermittedError, UnavailableError
from popbeforesmtp.lines import UNPACK, UNREADABLE, LineCutter
from popbeforesmtp.model import EventKind, SessionEvent
from popbeforesmtp.sessions import Sessions

_PIECE = 65_536  # bytes
_SECONDS = 0.05  # that a pattern of the administrator's may take for one line


class Line(NamedTuple):
    """One line of a log, and what it means."""

    number: int
    text: bytes
    time: datetime | None
    event: SessionEvent | None


def read(name: str, plan: Plan) -> Iterator[Line]:
    """Read a log by the formats of a plan. Raises UnavailableError or NotPermittedError."""
    known = [each for each in wiring.formats() if plan.formats is None or each.name in plan.formats]
    engine = wiring.engine(chosen=[*known, *(wiring.read_format(*each) for each in plan.own.items())])
    header, sessions, now = wiring.line_reader(journal=False), Sessions(), datetime.now(UTC)
    for number, text in lines(name):
        message = header.read(text, now)
        event = None if message is None else engine.read(message)
        event = None if event is None else sessions.join(event)
        yield Line(number, text, None if message is None else message.time, event if event and event.genuine else None)


def lines(name: str) -> Iterator[tuple[int, bytes]]:
    """Give the lines of a log, packed or not, or of standard input, with their numbers."""
    cutter = LineCutter()
    try:
        with _opened(name) as log:
            while piece := log.read(_PIECE):
                for block, _, number in cutter.cut(piece):
                    yield from enumerate(block.split(b"\n")[:-1], number)
    except FileNotFoundError:
        raise UnavailableError(f"{name}: there is no such file; name a log") from None
    except PermissionError:
        raise NotPermittedError(f"{name}: may not be read by this user; be root") from None
    except IsADirectoryError:
        raise UnavailableError(f"{name}: is a folder; name a log file") from None
    except UNREADABLE as error:
        raise UnavailableError(f"{name}: cannot be read: {error}") from None


@contextmanager
def _opened(name: str) -> Iterator[IO[bytes]]:
    if name == "-":
        with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as stream:
            yield stream  # what comes is read at once
        return
    unpack = UNPACK.get(Path(name).suffix)
    with Path(name).open("rb") if unpack is None else unpack(Path(name)) as stream:
        yield stream


class ClassicReader:
    """Reads lines as the classic would: the first pattern that matches anywhere, logouts first."""

    def __init__(self, plan: Plan) -> None:
        self._process = next((_compiled(each, plan) for each in plan.patterns if each.event is EventKind.OTHER), None)
        self._tries = [
            (each.event, _compiled(each, plan)) for each in plan.patterns if each.event is not EventKind.OTHER
        ]
        self._addresses: dict[bytes, bytes] = {}
        self._connected: set[bytes] = set()

    def read(self, line: bytes) -> tuple[EventKind, str] | None:
        """Return what a line means to the classic, and the text that it takes for an address."""
        if self._process is not None:
            return self._read_process(line, self._process)
        for event, pattern in self._tries:
            match = _search(pattern, line)
            if match is not None and len(match.groups()) > 1:
                return event, (match[2] or b"").decode("ascii", "replace")
        return None

    def _read_process(self, line: bytes, process: "regex.Pattern[bytes]") -> tuple[EventKind, str] | None:
        """Read the lines of one process together; an unknown one forgets it, unless a failure says so."""
        head = _search(process, line)
        if head is None or len(head.groups()) < 2:
            return None
        pid, patterns = head[2] or b"", dict(self._tries)
        connect = _search(patterns[EventKind.CONNECT], line)
        if connect is not None:
            self._addresses[pid] = connect[3] or b""
            return None
        address = self._addresses.get(pid)
        if address is None:
            return None
        if pid in self._connected:
            if _search(patterns[EventKind.LOGOUT], line) is None:
                return None
            self._connected.discard(pid)
            return EventKind.LOGOUT, self._addresses.pop(pid).decode("ascii", "replace")
        if _search(patterns[EventKind.LOGIN], line) is not None:
            if EventKind.LOGOUT in patterns:
                self._connected.add(pid)
            else:
                del self._addresses[pid]
            return EventKind.LOGIN, address.decode("ascii", "replace")
        failure = patterns.get(EventKind.FAILURE)
        if failure is None or _search(failure, line) is not None:
            del self._addresses[pid]
        return None


def difference(line: Line, classic: tuple[EventKind, str] | None) -> str | None:
    """Say how the classic read a line and how we do, where that is not the same; other than logins are not compared."""
    theirs = classic[1] if classic is not None and classic[0] is EventKind.LOGIN else None
    ours = line.event.client if line.event is not None and line.event.kind is EventKind.LOGIN else None
    if theirs == ours or (theirs is not None and parse_address(theirs) == ours and ours is not None):
        return None
    return f"classic: {_login(theirs)}; here: {_login(ours)}"


def _login(address: str | ClientAddress | None) -> str:
    return (
        "nothing" if address is None else f"login {address!a}" if parse_address(address) is None else f"login {address}"
    )


def _compiled(pattern: ClassicPattern, plan: Plan) -> "regex.Pattern[bytes]":
    text = pattern.text.replace("[LOGTIME]", plan.logtime)
    try:
        return regex.compile(as_regex(text).encode("utf-8", "surrogateescape"))
    except regex.error:
        return regex.compile(rb"(?!)")


def _search(pattern: "regex.Pattern[bytes]", line: bytes) -> "regex.Match[bytes] | None":
    try:
        return pattern.search(line, timeout=_SECONDS)
    except TimeoutError:
        return None
