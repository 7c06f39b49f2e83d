"""Where a setting stands in a TOML file, so that every complaint about one names file, line and setting."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from popbeforesmtp.errors import ConfigError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([0-9]{1,9})([smhd]?)", re.ASCII)
_HEADER = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_.\"' -]+?)\s*\]\]?\s*(?:#.*)?")

Table = Mapping[str, object]
"""A table as tomllib returns it."""


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


def parse_duration(text: object, where: Where) -> timedelta:
    """Read ``30m``, ``90s``, ``2h``, ``1d`` or a number of seconds. Raises ConfigError."""
    span = duration_of(text) if isinstance(text, str | int) and not isinstance(text, bool) else None
    if span is None:
        raise where.complain(f'{text!r} is no duration; write a number and a unit, as in "30m" (s, m, h, d)')
    return span


def duration_of(text: str | int) -> timedelta | None:
    """Return a span of time written as ``30m``; None where it is none."""
    match = _DURATION.fullmatch(str(text))
    return None if match is None else timedelta(seconds=int(match[1]) * _UNITS[match[2] or "s"])


class Places:
    """One file's text; tomllib does not tell lines."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self._lines = text.splitlines()

    def where(self, table: str, index: int, key: str) -> Where:
        """Find a setting in a table, the index-th of its name, or the table's header where the key is empty."""
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
                        return Where(self.path, number, setting)
                if not table and current == key:
                    return Where(self.path, number, setting)
            elif (current == table and (not table or count == index)) and re.match(
                rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", line
            ):
                return Where(self.path, number, setting)
        return Where(self.path, header_line, setting)

    def table(self, data: Table, name: str) -> Table:
        """Return a table that there can be one of; empty where there is none. Raises ConfigError."""
        table = data.get(name, {})
        if not isinstance(table, dict):
            raise self.where("", 0, name).complain(f"is a table; write its header, [{name}], on a line of its own")
        return table

    def tables(self, data: Table, name: str) -> list[Table] | None:
        """Return tables that there can be several of; None where there are none. Raises ConfigError."""
        tables = data.get(name)
        if tables is None:
            return None
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            raise self.where("", 0, name).complain(
                f"there can be several; write its header with two brackets, [[{name}]]"
            )
        return tables

    def refuse_unknown(self, table: Table, name: str, known: tuple[str, ...], index: int = 0) -> None:
        """See that a table holds known settings only. Raises ConfigError."""
        for key in table:
            if key not in known:
                raise self.where(name, index, key).complain(f"there is no such setting; there are: {', '.join(known)}")
