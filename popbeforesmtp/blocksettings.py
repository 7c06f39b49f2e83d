"""What ``[block]`` says: when to shut an address out for failed logins, and which program hears of it.

The program's settings are those of ``type = "command"``, in this table, and so cannot be those of any map that lets
somebody relay.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from popbeforesmtp.bans import Limit
from popbeforesmtp.places import Places, Table, Where, parse_duration

COMMANDS = ("list", "grant", "expire", "clear")
"""The settings of ``type = "command"``."""

_COUNTING = ("after", "within", "for")
_MOST_FAILURES = 100  # each is remembered, of 10 000 addresses
_LONGEST_WITHIN = timedelta(days=1)
_LONGEST = timedelta(days=30)
_LEAST = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class BlockSettings:
    """The limit, and the program's settings with the places where they were written."""

    limit: Limit
    commands: Mapping[str, object]
    places: Mapping[str, Where]
    where: Where


def read_block(places: Places, data: Table) -> BlockSettings | None:
    """Read the table of a configuration; without it nobody is ever blocked. Raises ConfigError."""
    if "block" not in data:
        return None
    table = places.table(data, "block")
    places.refuse_unknown(table, "block", (*_COUNTING, *COMMANDS))

    def where(key: str) -> Where:
        return places.where("block", 0, key)

    after = table.get("after", 20)
    if not isinstance(after, int) or isinstance(after, bool) or not 1 <= after <= _MOST_FAILURES:
        raise where("after").complain(
            f"{after!r} is no whole number from 1 to {_MOST_FAILURES}; write one without quotes"
        )
    return BlockSettings(
        Limit(
            after,
            _span(table.get("within", "10m"), where("within"), _LONGEST_WITHIN, "1d"),
            _span(table.get("for", "3h"), where("for"), _LONGEST, "30d"),
        ),
        {key: table[key] for key in COMMANDS if key in table},
        {key: where(key) for key in table},
        where(""),
    )


def _span(value: object, where: Where, most: timedelta, written: str) -> timedelta:
    span = parse_duration(value, where)
    if not _LEAST <= span <= most:
        raise where.complain(f'{value!r} is out of range; write a span from "1s" to "{written}"')
    return span
