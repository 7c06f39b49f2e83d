"""The configuration: TOML into frozen settings, every default, and every complaint about a setting.

What a source, store, map or lookup can be set to is the business of its own file; here it is kept as a ``Section``,
with the place where it was written, for the one that understands it.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from popbeforesmtp.addresses import NO_NETWORKS, NetworkSet, parse_network
from popbeforesmtp.errors import ConfigError, NotPermittedError
from popbeforesmtp.privileges import group_number

PATHS = (Path("/etc/pop-before-smtp.toml"), Path("/etc/pop-before-smtp/pop-before-smtp.toml"))
"""Where a configuration is looked for; the first that is there counts."""

CONTROL = Path("/run/pop-before-smtp/control")
GRACE = timedelta(minutes=30)
_LONGEST_GRACE = timedelta(minutes=65535)

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([0-9]{1,9})([smhd]?)", re.ASCII)
_HEADER = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_.\"' -]+?)\s*\]\]?\s*(?:#.*)?")


@dataclass(frozen=True, slots=True)
class Where:
    """A place in a configuration file."""

    path: Path
    line: int | None
    setting: str

    def complain(self, what: str) -> ConfigError:
        """Make the error for this place; ``what`` says what is wrong and what to write instead."""
        return ConfigError(f"{self}: {what}")

    def __str__(self) -> str:
        line = "" if self.line is None else f":{self.line}"
        return f"{self.path}{line}: {self.setting}"


@dataclass(frozen=True, slots=True)
class Section:
    """A table that names its type, and the settings of that type, not looked at yet."""

    type: str
    values: Mapping[str, object]
    places: Mapping[str, Where]
    where: Where | None  # None: no file said so, it was found

    @property
    def key(self) -> str:
        """Names what it asks for: two sections that ask for the same have the same key."""
        return f"{self.type} {sorted(self.values.items(), key=lambda item: item[0])!r}"

    def place(self, key: str) -> Where:
        """Say where a setting was written, or else its table."""
        found = self.places.get(key) or self.where
        return found or Where(Path("(built-in)"), None, key)


@dataclass(frozen=True, slots=True)
class Settings:
    """All that can be configured. Where a list is None, it is found out from the machine."""

    path: Path | None = None
    grace: timedelta = GRACE
    trusted: NetworkSet | None = None  # None: Postfix's mynetworks
    trusted_required: bool = False  # somebody wrote trusted = "postconf"
    never: NetworkSet = NO_NETWORKS
    control: Path = CONTROL
    control_group: str | None = None  # whose members may use the control socket too
    log: str = "stderr"  # "stderr", "syslog", or a file's absolute path
    insecure_log: bool = False  # --insecure-log: also read what others than root and syslog may write
    stop: str = "keep"  # what a daemon that was stopped for good leaves behind: "keep" the maps, or "close" them
    sources: tuple[Section, ...] | None = None
    store: Section = Section("sqlite", {}, {}, None)
    mtas: tuple[Section, ...] | None = None
    lookups: tuple[Section, ...] | None = None
    own_formats: Mapping[str, str] = field(default_factory=dict)  # texts, by name: a classic configuration's patterns


def load(path: Path | None) -> Settings:
    """Read the configuration at ``path``, or where it is usually kept; without any, all is found out.

    Raises ConfigError with file, line, setting and a way out.
    """
    try:
        if path is None:
            path = next((candidate for candidate in PATHS if candidate.exists()), None)
        if path is None:
            return Settings()
        if path.exists() and not path.is_file():
            raise ConfigError(f"{path}: is no regular file; name one")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: there is no such file; write one, or leave out --config to use what is found"
        ) from None
    except PermissionError as error:
        why = "may not be read by this user; be root, or the daemon's user"
        raise NotPermittedError(f"{error.filename}: {why}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: cannot be read: {getattr(error, 'strerror', None) or 'it is no UTF-8 text'}"
        ) from None
    return parse(path, text)


def parse(path: Path, text: str) -> Settings:
    """Turn a configuration's text into settings. Raises ConfigError."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line ([0-9]+)", str(error))
        where = f"{path}:{line[1]}" if line else str(path)
        raise ConfigError(f"{where}: is no TOML: {str(error).partition(' (at ')[0]}") from None
    return _Reader(path, text).settings(data)


def parse_duration(text: object, where: Where) -> timedelta:
    """Read ``30m``, ``90s``, ``2h``, ``1d`` or a number of seconds."""
    match = _DURATION.fullmatch(str(text)) if isinstance(text, str | int) and not isinstance(text, bool) else None
    if match is None:
        raise where.complain(f'{text!r} is no duration; write a number and a unit, as in "30m" (s, m, h, d)')
    return timedelta(seconds=int(match[1]) * _UNITS[match[2] or "s"])


class _Reader:
    """Reads one file's tables; knows where things stand in it."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._lines = text.splitlines()

    def settings(self, data: Mapping[str, object]) -> Settings:
        tables = ("rules", "source", "store", "mta", "lookup")
        self._refuse_control(data, "", 0)
        self._refuse_unknown(data, "", ("grace", "control", "control_group", "log", "stop", *tables))
        rules = self._table(data, "rules")
        self._refuse_unknown(rules, "rules", ("trusted", "never"))
        trusted = rules.get("trusted", "postconf")
        return Settings(
            path=self._path,
            grace=self._grace(data.get("grace")),
            trusted=None if trusted == "postconf" else self._networks(trusted, "trusted", ' or "postconf"'),
            trusted_required="trusted" in rules and trusted == "postconf",
            never=self._networks(rules.get("never", []), "never", ""),
            control=self._control(data.get("control")),
            control_group=self._group(data.get("control_group")),
            log=self._log(data.get("log", "stderr")),
            stop=self._choice(data.get("stop", "keep"), "stop", ("keep", "close")),
            sources=self._sections(data, "source"),
            store=self._section("store", self._table(data, "store"), 0) if "store" in data else Settings().store,
            mtas=self._sections(data, "mta"),
            lookups=self._sections(data, "lookup"),
        )

    def _refuse_control(self, table: Mapping[str, object], name: str, index: int) -> None:
        """Refuse text with control bytes: no path, name or network holds any."""
        for key, value in table.items():
            if isinstance(value, dict):
                self._refuse_control(value, key, 0)
            for number, item in enumerate(value if isinstance(value, list) else [value]):
                if isinstance(item, dict):
                    self._refuse_control(item, key, number)
                elif isinstance(item, str) and any(ord(letter) < 32 or ord(letter) == 127 for letter in item):
                    raise self._where(name, index, key).complain(f"{item!r} holds a control character; leave it out")

    def _grace(self, value: object) -> timedelta:
        if value is None:
            return GRACE
        where = self._where("", 0, "grace")
        grace = parse_duration(value, where)
        if not timedelta(seconds=1) <= grace <= _LONGEST_GRACE:
            raise where.complain(f'{value!r} is out of range; write a span from "1s" to "65535m"')
        return grace

    def _control(self, value: object) -> Path:
        if value is None:
            return CONTROL
        if not isinstance(value, str) or not value.startswith("/"):
            raise self._where("", 0, "control").complain(f'{value!r} is no absolute path; write one, as in "{CONTROL}"')
        return Path(value)

    def _group(self, value: object) -> str | None:
        if value is not None and (not isinstance(value, str) or group_number(value) is None):
            raise self._where("", 0, "control_group").complain(
                f"{value!r} is no group of this machine; make it, or name another"
            )
        return value

    def _log(self, value: object) -> str:
        if value in ("stderr", "syslog") or (isinstance(value, str) and value.startswith("/")):
            return str(value)
        where = self._where("", 0, "log")
        raise where.complain(f'{value!r} is no place for a log; write "stderr", "syslog", or a file\'s absolute path')

    def _choice(self, value: object, key: str, choices: tuple[str, ...]) -> str:
        if value in choices:
            return str(value)
        words = " or ".join(f'"{choice}"' for choice in choices)
        raise self._where("", 0, key).complain(f"{value!r} is none of the choices; write {words}")

    def _networks(self, value: object, key: str, alternative: str) -> NetworkSet:
        where = self._where("rules", 0, key)
        if not isinstance(value, list):
            raise where.complain(f'{value!r} is no list of networks; write ["192.0.2.0/24"]{alternative}')
        networks = []
        for text in value:
            try:
                networks.append(parse_network(str(text)))
            except ValueError:
                raise where.complain(
                    f"{text!r} is no network; write an address and a prefix length with nothing behind it, as in"
                    ' "192.0.2.0/24" or "2001:db8::/32"'
                ) from None
        return NetworkSet(networks)

    def _sections(self, data: Mapping[str, object], name: str) -> tuple[Section, ...] | None:
        tables = data.get(name)
        if tables is None:
            return None
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            raise self._where("", 0, name).complain(
                f"there can be several; write its header with two brackets, [[{name}]]"
            )
        if name == "source" and not tables:
            raise self._where("", 0, name).complain("without any there is nothing to read; leave it out")
        return tuple(self._section(name, table, index) for index, table in enumerate(tables))

    def _section(self, name: str, table: Mapping[str, object], index: int) -> Section:
        where = self._where(name, index, "")
        kind = table.get("type")
        if not isinstance(kind, str):
            raise where.complain('has no type; write one, as in type = "…"')
        places = {key: self._where(name, index, key) for key in table}
        return Section(kind, {key: value for key, value in table.items() if key != "type"}, places, where)

    def _table(self, data: Mapping[str, object], name: str) -> Mapping[str, object]:
        table = data.get(name, {})
        if not isinstance(table, dict):
            raise self._where("", 0, name).complain(f"is a table; write its header, [{name}], on a line of its own")
        return table

    def _refuse_unknown(self, table: Mapping[str, object], name: str, known: tuple[str, ...]) -> None:
        for key in table:
            if key not in known:
                raise self._where(name, 0, key).complain(f"there is no such setting; there are: {', '.join(known)}")

    def _where(self, table: str, index: int, key: str) -> Where:
        """Find a setting, or a table's header where the key is empty: tomllib does not tell lines."""
        setting = f"[{table}] {key}".strip() if table else key
        current, count, header_line = "", -1, None
        for number, line in enumerate(self._lines, start=1):
            header = _HEADER.fullmatch(line)
            if header:
                current = header[2].strip("\"'")
                count = count + 1 if current == table else count
                if current == table and count == index:
                    header_line = number
                    if not key:
                        return Where(self._path, number, setting)
                if not table and current == key:
                    return Where(self._path, number, setting)
            elif (current == table and (not table or count == index)) and re.match(
                rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", line
            ):
                return Where(self._path, number, setting)
        return Where(self._path, header_line, setting)
