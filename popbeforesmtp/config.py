"""The configuration: TOML into frozen settings, every default, and every complaint about a setting.

What a source, store, map or lookup can be set to is the business of its own file; here it is kept as a ``Section``,
with the place where it was written, for the one that understands it.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from popbeforesmtp.blocksettings import BlockSettings, read_block
from popbeforesmtp.errors import ConfigError, NotPermittedError
from popbeforesmtp.places import Places, Where, parse_duration
from popbeforesmtp.privileges import USER, group_number
from popbeforesmtp.rulesettings import LONGEST, NO_RULES, RuleSettings, read_grace, read_rules

PATHS = (Path("/etc/pop-before-smtp.toml"), Path("/etc/pop-before-smtp/pop-before-smtp.toml"))
"""Where a configuration is looked for; the first that is there counts."""

CONTROL = Path("/run/pop-before-smtp/control")
GRACE = timedelta(minutes=30)


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
    hold: timedelta = timedelta()  # how long a session that stays open keeps its client authorized, at most
    rules: RuleSettings = NO_RULES
    control: Path = CONTROL
    control_group: str | None = None  # whose members may use the control socket too
    log: str = "stderr"  # "stderr", "syslog", or a file's absolute path
    audit: str = ""  # one line for each decision: "journal", a file's absolute path, or nowhere
    insecure_log: bool = False  # --insecure-log: also read what others than root and syslog may write
    stop: str = "keep"  # what a daemon that was stopped for good leaves behind: "keep" the maps, or "close" them
    sources: tuple[Section, ...] | None = None
    store: Section = Section("sqlite", {}, {}, None)
    mtas: tuple[Section, ...] | None = None
    block: BlockSettings | None = None
    lookups: tuple[Section, ...] | None = None
    own_formats: Mapping[str, str] = field(default_factory=dict)  # texts, by name: a classic configuration's patterns


def usual_path() -> Path | None:
    """Return where the configuration is usually kept, if it is; a link to nothing is a mistake that will be said."""
    return next((path for path in PATHS if os.path.lexists(path)), None)


def load(path: Path | None) -> Settings:
    """Read the configuration at ``path``, or where it is usually kept; without any, all is found out.

    Raises ConfigError with file, line, setting and a way out.
    """
    try:
        if path is None:
            path = usual_path()
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
        way_out = f"be root, or let the daemon's group: chgrp {USER} {error.filename} && chmod 0640 {error.filename}"
        raise NotPermittedError(f"{error.filename}: may not be read by this user; {way_out}") from None
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
    except RecursionError:
        raise ConfigError(f"{path}: is nested too deep; no setting has lists in lists") from None
    return _Reader(path, text).settings(data)


class _Reader:
    """Reads one file's tables; knows where things stand in it."""

    def __init__(self, path: Path, text: str) -> None:
        self._places = Places(path, text)

    def settings(self, data: Mapping[str, object]) -> Settings:
        tables = ("rules", "window", "source", "store", "mta", "lookup", "block")
        self._refuse_control(data, "", 0)
        self._places.refuse_unknown(
            data, "", ("grace", "hold", "control", "control_group", "log", "audit", "stop", *tables)
        )
        return Settings(
            path=self._places.path,
            grace=GRACE if "grace" not in data else read_grace(data["grace"], self._places.where("", 0, "grace")),
            hold=self._hold(data.get("hold", 0)),
            rules=read_rules(self._places, data),
            control=self._control(data.get("control")),
            control_group=self._group(data.get("control_group")),
            log=self._log(data.get("log", "stderr")),
            audit=self._audit(data.get("audit", "")),
            stop=self._choice(data.get("stop", "keep"), "stop", ("keep", "close")),
            sources=self._sections(data, "source"),
            store=self._section("store", self._places.table(data, "store"), 0) if "store" in data else Settings().store,
            mtas=self._sections(data, "mta"),
            block=read_block(self._places, data),
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
                    raise self._places.where(name, index, key).complain(
                        f"{item!r} holds a control character; leave it out"
                    )

    def _hold(self, value: object) -> timedelta:
        where = self._places.where("", 0, "hold")
        hold = parse_duration(value, where)
        if hold > LONGEST:
            raise where.complain(f'{value!r} is out of range; write a span of at most "65535m", or "0" for no hold')
        return hold

    def _audit(self, value: object) -> str:
        if value in ("", "journal") or (isinstance(value, str) and value.startswith("/")):
            return str(value)
        where = self._places.where("", 0, "audit")
        raise where.complain(f'{value!r} is no place for an audit trail; write "journal" or a file\'s absolute path')

    def _control(self, value: object) -> Path:
        if value is None:
            return CONTROL
        if not isinstance(value, str) or not value.startswith("/"):
            raise self._places.where("", 0, "control").complain(
                f'{value!r} is no absolute path; write one, as in "{CONTROL}"'
            )
        return Path(value)

    def _group(self, value: object) -> str | None:
        if value is not None and (not isinstance(value, str) or group_number(value) is None):
            raise self._places.where("", 0, "control_group").complain(
                f"{value!r} is no group of this machine; make it, or name another"
            )
        return value

    def _log(self, value: object) -> str:
        if value in ("stderr", "syslog") or (isinstance(value, str) and value.startswith("/")):
            return str(value)
        where = self._places.where("", 0, "log")
        raise where.complain(f'{value!r} is no place for a log; write "stderr", "syslog", or a file\'s absolute path')

    def _choice(self, value: object, key: str, choices: tuple[str, ...]) -> str:
        if value in choices:
            return str(value)
        words = " or ".join(f'"{choice}"' for choice in choices)
        raise self._places.where("", 0, key).complain(f"{value!r} is none of the choices; write {words}")

    def _sections(self, data: Mapping[str, object], name: str) -> tuple[Section, ...] | None:
        tables = self._places.tables(data, name)
        if tables is None:
            return None
        if name == "source" and not tables:
            raise self._places.where("", 0, name).complain("without any there is nothing to read; leave it out")
        return tuple(self._section(name, table, index) for index, table in enumerate(tables))

    def _section(self, name: str, table: Mapping[str, object], index: int) -> Section:
        where = self._places.where(name, index, "")
        kind = table.get("type")
        if not isinstance(kind, str):
            raise where.complain('has no type; write one, as in type = "…"')
        places = {key: self._places.where(name, index, key) for key in table}
        return Section(kind, {key: value for key, value in table.items() if key != "type"}, places, where)
