"""The tables of the SQLite store: their columns, and values as rows of them.

Names come from logs and may be no UTF-8: they go into the file as the bytes that they were. Times are whole
microseconds, so that a wall clock's ``datetime`` comes back as it was.
"""

from datetime import UTC, datetime, timedelta

from popbeforesmtp.addresses import parse_client
from popbeforesmtp.clock import Moment
from popbeforesmtp.model import Authorization, Origin, Tombstone

VERSION = 2

SCHEMA = """
CREATE TABLE authorizations (
    client     TEXT NOT NULL,      -- canonical address, or network
    user       BLOB NOT NULL,      -- as the server wrote it
    session    TEXT NOT NULL,      -- empty for a grace period
    expires_at INTEGER NOT NULL,   -- microseconds since 1970, UTC
    deadline   REAL NOT NULL,      -- seconds of CLOCK_BOOTTIME, in the boot named next
    boot_id    TEXT NOT NULL,
    service    TEXT NOT NULL,
    login_at   INTEGER NOT NULL,   -- microseconds since 1970, UTC
    format     TEXT NOT NULL,
    source     TEXT NOT NULL,
    offset     INTEGER NOT NULL,   -- bytes of the log before the line
    cursor     TEXT NOT NULL,      -- of the journal's entry, or empty
    rule       TEXT NOT NULL,
    uid        INTEGER,            -- who granted it by hand
    why        TEXT NOT NULL,      -- and the reason that was given
    PRIMARY KEY (client, user, session)
) STRICT, WITHOUT ROWID;
CREATE TABLE tombstones (
    kind       TEXT NOT NULL,      -- address, user, all
    name       BLOB NOT NULL,
    at         INTEGER NOT NULL,   -- microseconds since 1970, UTC
    until      INTEGER NOT NULL,   -- microseconds since 1970, UTC
    uid        INTEGER,
    why        TEXT NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE progress (
    source     TEXT PRIMARY KEY,
    checkpoint TEXT NOT NULL,
    time       INTEGER             -- microseconds since 1970, UTC
) STRICT, WITHOUT ROWID;
CREATE TABLE maps (
    name       TEXT PRIMARY KEY    -- type, blank, name
) STRICT, WITHOUT ROWID;
CREATE TABLE stopped (             -- one row after the daemon was stopped, none while it runs or after a crash
    at         INTEGER NOT NULL    -- microseconds since 1970, UTC
) STRICT;
"""

_FOREVER = 1e12  # seconds; no machine is up for so long
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Row = tuple[str, bytes, str, int, float, str, str, int, str, str, int, str, str, int | None, str]
"""What a query for COLUMNS returns."""

_KEY = ("client", "user", "session")
_REST = (
    *("expires_at", "deadline", "boot_id", "service", "login_at", "format", "source", "offset", "cursor", "rule"),
    *("uid", "why"),
)

COLUMNS = ", ".join((*_KEY, *_REST))

_RAW = ("session", "service", "source", "cursor", "why")
"""Text that may come from bytes that are no UTF-8, and goes into the file as those bytes (CAST, lang_expr.html)."""

GRANT = f"""
INSERT INTO authorizations ({COLUMNS})
VALUES ({", ".join("CAST(? AS TEXT)" if name in _RAW else "?" for name in (*_KEY, *_REST))})
ON CONFLICT ({", ".join(_KEY)}) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _REST)}
WHERE excluded.expires_at > expires_at OR (excluded.boot_id = boot_id AND excluded.deadline > deadline)
"""  # noqa: S608 - made of constants

TOMBSTONE = """
INSERT OR REPLACE INTO tombstones (kind, name, at, until, uid, why) VALUES (?, ?, ?, ?, ?, CAST(? AS TEXT))
"""

PROGRESS = """
INSERT INTO progress (source, checkpoint, time) VALUES (CAST(? AS TEXT), ?, ?)
ON CONFLICT (source) DO UPDATE SET checkpoint = excluded.checkpoint, time = excluded.time
"""


def row_of(grant: Authorization, boot_id: str) -> tuple[str | int | float | bytes | None, ...]:
    """Write an authorization as a row; its deadline is of the boot that is named."""
    return (
        grant.client,
        to_bytes(grant.user),
        to_bytes(grant.session),
        to_micros(grant.expires_at),
        grant.deadline,
        boot_id,
        to_bytes(grant.service),
        to_micros(grant.login_at),
        grant.format,
        to_bytes(grant.origin.source),
        grant.origin.offset,
        to_bytes(grant.origin.cursor),
        grant.rule,
        grant.uid,
        to_bytes(grant.why),
    )


def authorization(row: Row, now: Moment, this_boot: str) -> Authorization:
    """Read a row.

    One of an earlier boot has no deadline on this boot's clock: the wall clock says what is left, but never more than
    the whole window, so that a clock that lost the time while the machine was off stretches nothing.

    Raises ValueError or OverflowError for a row that no daemon ever wrote.
    """
    client, user, session, expires, deadline, boot_id, service, login = row[:8]
    fmt, source, offset, cursor, rule, uid, why = row[8:]
    expires_at, login_at = to_time(expires), to_time(login)
    if not abs(deadline) < _FOREVER:
        raise ValueError(f"{client!a} has no end")
    if boot_id != this_boot:
        left = min(expires_at - now.wall, expires_at - login_at)
        deadline = now.boottime + left.total_seconds()
    return Authorization(
        client=parse_client(client),
        expires_at=expires_at,
        deadline=deadline,
        user=to_text(user),
        service=service,
        login_at=login_at,
        format=fmt,
        origin=Origin(source, offset, cursor),
        rule=rule,
        session=session,
        uid=uid,
        why=why,
    )


def tombstone_row(stone: Tombstone) -> tuple[str | int | bytes | None, ...]:
    """Write a tombstone as a row of TOMBSTONE."""
    return (
        stone.kind,
        to_bytes(stone.name),
        to_micros(stone.at),
        to_micros(stone.until),
        stone.uid,
        to_bytes(stone.why),
    )


def to_bytes(text: str) -> bytes:
    """Write text as the bytes that it came from."""
    return text.encode("utf-8", "surrogateescape")


def to_text(data: bytes) -> str:
    """Read bytes; those that are no UTF-8 come back by ``to_bytes``."""
    return data.decode("utf-8", "surrogateescape")


def to_micros(time: datetime) -> int:
    """Write a time as whole microseconds since 1970, UTC."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def to_time(micros: int) -> datetime:
    """Read microseconds since 1970, UTC. Raises OverflowError for a time that no clock can show."""
    return _EPOCH + timedelta(microseconds=micros)
