"""Where reading stands in the journal: an entry's cursor, and its time for when the cursor leads nowhere any more."""

import json
import re
from dataclasses import dataclass

_VERSION = 1
_CURSOR = re.compile(r"[!-~]{1,1024}")  # only journalctl knows its form


@dataclass(frozen=True, slots=True)
class Place:
    """An entry that was read, the last one."""

    cursor: str
    time: int  # __REALTIME_TIMESTAMP, microseconds since 1970

    def is_of(self, line: bytes) -> bool:
        """Say whether this is the entry's cursor; its number ("i", in "s") changes when journald moves it to disk."""
        other = find_place(line)
        return other is not None and _lasting(other.cursor) == _lasting(self.cursor)


def write_checkpoint(place: Place) -> str:
    """Put a place into one line of text."""
    return json.dumps({"version": _VERSION, "cursor": place.cursor, "time": place.time}, separators=(",", ":"))


def read_checkpoint(text: str | None) -> Place | None:
    """Read a place back; None where the text is none of ours."""
    try:
        data = json.loads(text or "{}")
        return _checked(data["cursor"], data["time"]) if data["version"] == _VERSION else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _checked(cursor: object, time: object) -> Place:
    """Make a place of what was read. Raises ValueError where that is none: it goes into a command's arguments."""
    if not isinstance(cursor, str) or not _CURSOR.fullmatch(cursor) or type(time) is not int or not 0 <= time < 1 << 62:
        raise ValueError("no place")
    return Place(cursor, time)


def find_place(line: bytes) -> Place | None:
    """Return where an entry stands; None where the line is no entry."""
    try:
        entry = json.loads(line)
        return _checked(entry["__CURSOR"], int(entry["__REALTIME_TIMESTAMP"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _lasting(cursor: str) -> list[str]:
    """Return the parts of a cursor that stay when an entry is copied into another file: boot, times, hash."""
    return [part for part in cursor.split(";") if not part.startswith(("s=", "i="))]
