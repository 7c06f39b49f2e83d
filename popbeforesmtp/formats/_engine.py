"""Turns messages into session events by the patterns of the formats.

A pattern is tried only on lines of its own server's programs, and must match the whole message. The program name
dispatches, so text that a stranger puts into another program's lines never reaches a login pattern.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import regex

from popbeforesmtp.addresses import parse_address
from popbeforesmtp.errors import DataError
from popbeforesmtp.model import EventKind, LogMessage, SessionEvent

LONGEST_LOGIN = 2048
"""Bytes of the longest message that can be a login or a logout; no server writes longer ones, forgers do."""

LONGEST_LINE = 16384
"""Bytes of the longest message that is looked at."""

_CONTROL = regex.compile(rb"[\x00-\x1f\x7f]")
_GROUPS = frozenset({"address", "mail_pid", "mechanism", "service", "session", "user"})


@dataclass(frozen=True, slots=True)
class Pattern:
    """One kind of line that a server writes."""

    event: EventKind
    match: regex.Pattern[bytes]


@dataclass(frozen=True, slots=True)
class Format:
    """What one server family writes into its log."""

    name: str
    title: str
    programs: tuple[bytes, ...]  # exact syslog tags
    own_log: bool  # whether it can also write a log file by itself, without tags
    patterns: tuple[Pattern, ...]


def packaged() -> list[str]:
    """Return the names of the formats that come with the program."""
    return sorted(entry.name.removesuffix(".toml") for entry in _folder().iterdir() if entry.name.endswith(".toml"))


def load(name: str) -> Format:
    """Read a packaged format by its name. Raises DataError where the file is not as it must be."""
    return parse(name, _folder().joinpath(f"{name}.toml").read_text(encoding="utf-8"))


def parse(name: str, text: str) -> Format:
    """Read a format file. Raises DataError where it is not as it must be."""
    try:
        data = tomllib.loads(text)
        return Format(
            name=name,
            title=str(data["title"]),
            programs=tuple(_bytes(program) for program in _list(data["programs"])),
            own_log=bool(data.get("own_log", False)),
            patterns=tuple(_pattern(entry) for entry in _list(data["pattern"])),
        )
    except (KeyError, TypeError, ValueError, regex.error) as error:
        raise DataError(f"format {name}: {type(error).__name__}: {error}") from None


def _pattern(entry: Mapping[str, Any]) -> Pattern:
    match = regex.compile(_bytes(entry["match"]), regex.VERBOSE)
    unknown = set(match.groupindex) - _GROUPS
    if unknown:
        raise ValueError(f"unknown groups {sorted(unknown)}; there are {sorted(_GROUPS)}")
    return Pattern(EventKind(entry["event"]), match)


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is no list")
    return value


def _bytes(value: object) -> bytes:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value.encode("ascii")


def _folder() -> Any:
    return files("popbeforesmtp.formats")


class Engine:
    """Reads messages by the formats in use."""

    def __init__(self, formats: Iterable[Format]) -> None:
        self.formats = tuple(formats)
        self._by_program: dict[bytes | None, list[Format]] = {}
        for known in self.formats:
            keys: tuple[bytes | None, ...] = (*known.programs, None) if known.own_log else known.programs
            for key in keys:
                self._by_program.setdefault(key, []).append(known)

    def read(self, message: LogMessage) -> SessionEvent | None:
        """Return the event that a message reports, or None."""
        text = message.text
        formats = self._by_program.get(message.program)
        if formats is None or len(text) > LONGEST_LINE:
            return None
        for known in formats:
            for pattern in known.patterns:
                match = pattern.match.fullmatch(text)
                if match is not None:
                    return _event(known, pattern, match, message)
        return None


def _event(known: Format, pattern: Pattern, match: "regex.Match[bytes]", message: LogMessage) -> SessionEvent | None:
    """Make an event of a line that matches; None where it may not be believed."""
    doubtful = len(message.text) > LONGEST_LOGIN or _CONTROL.search(message.text) is not None
    if doubtful and pattern.event is not EventKind.FAILURE:
        return None
    found = {name: value for name, value in match.groupdict().items() if value}
    client = parse_address(found["address"].decode("ascii", "replace")) if "address" in found else None
    if client is None and pattern.event is not EventKind.LOGOUT:
        return None
    return SessionEvent(
        kind=pattern.event,
        time=message.time,
        format=known.name,
        client=client,
        user=_text(found.get("user")),
        service=_text(found.get("service")),
        mechanism=(_text(found.get("mechanism")) or "").upper() or None,
        session=_text(found.get("session")),
        mail_pid=_text(found.get("mail_pid")),
    )


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "surrogateescape")
