"""Reads format files: what one server family writes into its log, as data."""

import pwd
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from popbeforesmtp.errors import ConfigError, DataError
from popbeforesmtp.formats import Kind
from popbeforesmtp.model import EventKind, Sender

_GROUPS = frozenset({"address", "mail_pid", "mechanism", "port", "service", "session", "tls", "user"})
_KEYS = {
    "title",
    "programs",
    "own_log",
    "forgeable",
    "sign",
    "warning",
    "refused",
    "owners",
    "begins",
    "logouts",
    "services",
    "account",
    "cut",
    "journal",
    "pattern",
}
_NOTES = {"log", "address", "attacker", "checked"}  # what a file promises, for people
_MUST = {"programs", "pattern", "units", "uids", "exes"}
_PATTERN_KEYS = {"event", "match", "join", "once"}
_JOINS = ("session", "mail_pid", "port", "pid")
_TRANSPORTS = ("syslog", "stdout", "journal")  # systemd.journal-fields(7); the kernel and journald write no logins


@dataclass(frozen=True)
class Pattern:
    """One kind of line that a server writes; most are never met, so each is compiled when it is first needed."""

    event: EventKind
    text: bytes
    join: tuple[str, ...]  # what names the session: the first of these that the line has
    once: tuple[bytes, ...]  # what must stand in the line exactly once
    admits_control: bool  # whether it might match a control byte: then each line that it matches is looked at
    compiled: "_Compile"
    kinds: dict[bytes | None, Kind] = field(default_factory=dict, compare=False)  # by captured service or program

    @cached_property
    def match(self) -> re.Pattern[bytes]:
        """The expression. Raises re.error or ValueError where it is none."""
        return self.compiled(self.text)

    @cached_property
    def address(self) -> int:
        """Number of the group that holds the client's address; 0 where none does."""
        return self.match.groupindex.get("address", 0)

    @cached_property
    def service(self) -> int:
        """The same of the service."""
        return self.match.groupindex.get("service", 0)

    @cached_property
    def tls(self) -> tuple[str, ...]:
        """The groups of which one matches where the session was encrypted; none where the lines do not say."""
        return tuple(name for name in self.match.groupindex if name.startswith("tls"))

    def is_once(self, data: bytes, start: int, end: int) -> bool:
        """Say whether all that must be there exactly once is, in a message from ``start`` to ``end``."""
        return all(data.count(key, start, end) == 1 for key in self.once)


@dataclass(frozen=True, slots=True)
class Profile:
    """Which process may write a server's lines into the journal."""

    units: tuple[str, ...]  # one of them
    uids: tuple[int, ...]  # one of them; a format file may name users instead
    exes: tuple[str, ...]  # one of them

    def fits(self, sender: Sender, units: tuple[str, ...], host: str | None) -> bool:
        """Say whether an entry was written by the server.

        ``units`` are used in place of its own, where given; it must come from ``host``, unless that is None.
        """
        return (
            sender.whole
            and host in (None, sender.host)
            and sender.transport in _TRANSPORTS
            and sender.unit in (units or self.units)
            and sender.uid in self.uids
            and sender.exe in self.exes
        )


@dataclass(frozen=True, slots=True)
class Cut:
    """How to tell a record that a logger has cut, whose rest then looks like a record of its own."""

    ends: re.Pattern[bytes]  # a record that does not look so may have been cut
    mark: bytes  # stands in most of the server's lines, and hardly elsewhere


@dataclass(frozen=True, slots=True)
class Format:
    """What one server family writes into its log."""

    name: str
    title: str
    programs: tuple[bytes, ...]  # exact syslog tags
    own_log: bool  # whether it can also write a log file by itself, without tags
    forgeable: str  # why its own log cannot be believed; empty where it can
    sign: re.Pattern[bytes] | None  # what a line of that log begins with, whatever it says
    warning: str  # what no reader of its log can exclude, beyond what holds for every log; said at the start
    refused: tuple[str, ...]  # names of logs of the server that strangers can write lines into
    owners: tuple[str, ...]  # who may own its own log, besides root and the syslog daemon
    begins: tuple[bytes, ...]  # what each message begins with that can mean anything; empty: with anything
    logouts: tuple[bytes, ...]  # those of them that only logouts begin with
    services: Mapping[bytes, str]  # what a captured service, or else a program, is called; else it is called so
    account: str  # what accounts are called where no line names them; empty: such a login is none
    cut: Cut | None
    journal: Profile | None  # None: not believed from the journal
    patterns: tuple[Pattern, ...]

    @property
    def alone(self) -> bool:
        """Whether each line tells by itself what it means."""
        joined = any(len(pattern.join) == 1 for pattern in self.patterns if pattern.event is EventKind.LOGOUT)
        return not self.together and not joined

    @property
    def together(self) -> bool:
        """Whether lines of one process must be read together, for one alone does not tell enough."""
        return self.cut is not None or any(pattern.event is EventKind.CONNECT for pattern in self.patterns)


def packaged() -> list[str]:
    """Return the names of the formats that come with the program."""
    names = (entry.name for entry in _folder().iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml") and not name.startswith("_"))


def load(name: str) -> Format:
    """Read a packaged format by its name. Raises DataError where the file is not as it must be.

    None of its logins and logouts holds control bytes: tests/formats/test_patterns.py proves it of each pattern.
    """
    return _parse(name.lstrip("_"), text(name), _compile, checked=True)


def text(name: str) -> str:
    """Return a packaged format's file."""
    return _folder().joinpath(f"{name}.toml").read_text(encoding="utf-8")


def parse(name: str, text: str) -> Format:
    """Read the text of a format file. Raises DataError where it is not as it must be."""
    return _parse(name, text, _compile)


def parse_limited(name: str, text: str) -> Format:
    """Read the text of a format file whose patterns are not ours: they are given little time. Raises DataError."""
    from popbeforesmtp.formats._limited import compile_limited  # imports regex; few have formats of their own

    return _parse(name, text, compile_limited)


def load_file(path: Path) -> Format:
    """Read a format file of the administrator's, whose patterns are given little time.

    Raises ConfigError with what is wrong and where.
    """
    try:
        return parse_limited(path.stem, path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (DataError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}; `pop-before-smtp formats show dovecot` shows one that works") from None


_Compile = Callable[[bytes], re.Pattern[bytes]]


def _parse(name: str, text: str, compiled: _Compile, *, checked: bool = False) -> Format:
    try:
        data = tomllib.loads(text)
        unknown = set(data) - _KEYS - _NOTES
        if unknown:
            raise ValueError(f"unknown keys {sorted(unknown)}; there are {sorted(_KEYS | _NOTES)}")
        known = Format(
            name=name,
            title=str(data["title"]),
            programs=tuple(_bytes(program) for program in _list(data, "programs")),
            own_log=bool(data.get("own_log", False)),
            forgeable=str(data.get("forgeable", "")),
            sign=compiled(_bytes(data["sign"])) if "sign" in data else None,
            warning=str(data.get("warning", "")),
            refused=tuple(str(path) for path in _list(data, "refused")),
            owners=tuple(str(owner) for owner in _list(data, "owners")),
            begins=tuple(_bytes(begin) for begin in _list(data, "begins")),
            logouts=tuple(_bytes(begin) for begin in _list(data, "logouts")),
            services={_bytes(key): str(value) for key, value in data.get("services", {}).items()},
            account=str(data.get("account", "")),
            cut=None if "cut" not in data else Cut(compiled(_bytes(data["cut"]["ends"])), _bytes(data["cut"]["mark"])),
            journal=None if "journal" not in data else _profile(data["journal"]),
            patterns=tuple(_pattern(entry, compiled, checked=checked) for entry in _list(data, "pattern")),
        )
        if not set(known.logouts) <= set(known.begins):
            raise ValueError("logouts: names what begins does not")
        if known.together and known.begins:
            raise ValueError("begins: every line must be seen of a format whose lines are read together")
        return known
    except KeyError as error:
        raise DataError(f"format {name}: {error.args[0]} is missing") from None
    except (AttributeError, RecursionError, TypeError, ValueError, re.error) as error:
        raise DataError(f"format {name}: {error}") from None


def _pattern(entry: Mapping[str, Any], compiled: _Compile, *, checked: bool) -> Pattern:
    if set(entry) - _PATTERN_KEYS:
        raise ValueError(f"unknown keys {sorted(set(entry) - _PATTERN_KEYS)}; there are {sorted(_PATTERN_KEYS)}")
    join = (str(entry["join"]),) if "join" in entry else _JOINS[:2]
    if set(join) - set(_JOINS):
        raise ValueError(f"join = {join[0]!r}; there are {_JOINS}")
    once = tuple(_bytes(key) for key in _list(entry, "once"))
    pattern = Pattern(EventKind(entry["event"]), _bytes(entry["match"]), join, once, not checked, compiled)
    if not checked and (unknown := set(pattern.match.groupindex) - _GROUPS):
        raise ValueError(f"unknown groups {sorted(unknown)}; there are {sorted(_GROUPS)}")
    return pattern


def _compile(text: bytes) -> re.Pattern[bytes]:
    return re.compile(text, re.VERBOSE)


def _profile(entry: Mapping[str, Any]) -> Profile:
    return Profile(
        units=tuple(str(unit) for unit in _list(entry, "units")),
        uids=tuple(uid for user in _list(entry, "uids") if (uid := _uid(user)) is not None),
        exes=tuple(str(exe) for exe in _list(entry, "exes")),
    )


def _uid(user: object) -> int | None:
    """Return the number of a user, who may be named; None where this machine has none of that name."""
    if not isinstance(user, str):
        return int(cast("int", user))
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return None


def _list(table: Mapping[str, Any], key: str) -> list[Any]:
    """Return a key's list. Raises KeyError where it must be there and is not, TypeError where it is no list."""
    value = table[key] if key in _MUST else table.get(key, [])
    if not isinstance(value, list):
        raise TypeError(f"{key}: {value!r} is no list; write it in brackets")
    return value


def _bytes(value: object) -> bytes:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value.encode("ascii")


def _folder() -> Path:
    return Path(__file__).parent  # importlib.resources would do, and take longer to import than all that is read here
