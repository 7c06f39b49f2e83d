"""``type = "sqlite"``: authorizations and checkpoints in one file on this machine.

Write-ahead log, ``synchronous = NORMAL`` (https://sqlite.org/pragma.html#pragma_synchronous): a power failure may undo
the last transactions, never a part of one. As an authorization and the checkpoint behind its line lie in the same
transaction, what is undone is read from the log again.
"""

import fcntl
import os
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from popbeforesmtp.addresses import ClientAddress, parse_client
from popbeforesmtp.atomicfile import make_folder
from popbeforesmtp.clock import Clock, Moment
from popbeforesmtp.errors import CannotCreateError, NotPermittedError, UnavailableError
from popbeforesmtp.model import Authorization, Origin, Tombstone
from popbeforesmtp.privileges import require_safe_place
from popbeforesmtp.stores import KEPT, Batch, Progress, StoreError, left_over

DEFAULT_PATH = Path("/var/lib/pop-before-smtp/state.sqlite")

_VERSION = 2
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SCHEMA = """
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
_Row = tuple[str, bytes, str, int, float, str, str, int, str, str, int, str, str, int | None, str]
_KEY = ("client", "user", "session")
_REST = (
    *("expires_at", "deadline", "boot_id", "service", "login_at", "format", "source", "offset", "cursor", "rule"),
    *("uid", "why"),
)
_COLUMNS = ", ".join((*_KEY, *_REST))
_RAW = ("session", "service", "source", "cursor", "why")
"""Text that may come from bytes that are no UTF-8, and goes into the file as those bytes (CAST, lang_expr.html)."""
_GRANT = f"""
INSERT INTO authorizations ({_COLUMNS})
VALUES ({", ".join("CAST(? AS TEXT)" if name in _RAW else "?" for name in (*_KEY, *_REST))})
ON CONFLICT ({", ".join(_KEY)}) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _REST)}
WHERE excluded.expires_at > expires_at OR (excluded.boot_id = boot_id AND excluded.deadline > deadline)
"""  # noqa: S608 - made of constants
_PROGRESS = """
INSERT INTO progress (source, checkpoint, time) VALUES (CAST(? AS TEXT), ?, ?)
ON CONFLICT (source) DO UPDATE SET checkpoint = excluded.checkpoint, time = excluded.time
"""


def open_store(*, clock: Clock, path: Path = DEFAULT_PATH) -> "SqliteStore":
    """Keep authorizations in an SQLite file, mode 0600, made where it is missing.

    Raises CannotCreateError or NotPermittedError where there cannot be such a file, UnavailableError where another
    daemon keeps it, StoreError where what is there is no store of ours.
    """
    require_safe_place(path)
    try:
        make_folder(path.parent)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        lock = _lock(path)
    except PermissionError:
        raise NotPermittedError(
            f"{path}: may not be written by this user; set [store] path to a place that may, or run as its owner"
        ) from None
    except OSError as error:
        raise CannotCreateError(
            f"{path}: cannot be made: {error.strerror}; set [store] path to another place"
        ) from None
    try:
        return SqliteStore(path, clock.boot_id, lock)
    except StoreError:
        os.close(lock)
        raise


def _lock(path: Path) -> int:
    """Make sure that no other daemon keeps this store; the lock falls with the descriptor that is returned."""
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UnavailableError(f"{path}: is in use; is another pop-before-smtp running?") from None
    return descriptor


def read_store(*, clock: Clock, path: Path = DEFAULT_PATH) -> "SqliteStore":
    """Open a store that is there, to read and to take ended rows out of, never to make one. Raises StoreError."""
    try:
        path.open("rb").close()
    except FileNotFoundError:
        raise StoreError(f"{path}: there is no store, for no daemon has run here yet; start one") from None
    except OSError as error:
        raise NotPermittedError(f"{path}: {error.strerror}; be root, or the daemon's user") from None
    return SqliteStore(path, clock.boot_id)


class SqliteStore:
    """Authorizations in an SQLite file."""

    def __init__(self, path: Path, boot_id: str, lock: int | None = None) -> None:
        self._path = path
        self._lock = lock
        self._boot_id = boot_id
        with self._errors():
            self._database = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
        self._database.text_factory = _text
        try:
            with self._errors():
                self._prepare()
        except StoreError:
            self._database.close()
            raise

    def load(self, now: Moment) -> list[Authorization]:
        """Return all that have not ended.

        A row of an earlier boot has no deadline on this boot's clock: the wall clock says what is left, but never more
        than the whole window, so that a clock that lost the time while the machine was off stretches nothing.
        """
        with self._errors():
            rows = self._database.execute(f"SELECT {_COLUMNS} FROM authorizations").fetchall()  # noqa: S608 - constants
            return left_over((self._authorization(row, now) for row in rows), now)

    def load_client(self, client: ClientAddress, now: Moment) -> list[Authorization]:
        """Return those of one client that have not ended."""
        with self._errors():
            rows = self._database.execute(
                f"SELECT {_COLUMNS} FROM authorizations WHERE client = ?",  # noqa: S608 - constants
                (client,),
            ).fetchall()
            return left_over((self._authorization(row, now) for row in rows), now)

    def purge(self, now: Moment) -> None:
        """Take out all that have ended, those of earlier boots by the wall clock.

        What is left of those gets its deadline on this boot's clock, once, so that no restart gives it more.
        """
        wall = _micros(now.wall)
        with self._errors():
            self._database.execute(
                "DELETE FROM authorizations WHERE expires_at <= ? OR (boot_id = ? AND deadline <= ?)",
                (wall, self._boot_id, now.boottime),
            )
            self._database.execute("DELETE FROM tombstones WHERE until <= ?", (_micros(now.wall - KEPT),))
            self._database.execute(
                "UPDATE authorizations SET deadline = ? + (expires_at - max(?, login_at)) / 1e6, boot_id = ?"
                " WHERE boot_id <> ?",
                (now.boottime, wall, self._boot_id, self._boot_id),
            )

    def progress(self) -> Mapping[str, Progress]:
        """Return how far each source was read."""
        with self._errors():
            rows = self._database.execute("SELECT source, checkpoint, time FROM progress").fetchall()
        return {source: Progress(checkpoint, None if at is None else _time(at)) for source, checkpoint, at in rows}

    def write(self, batch: Batch) -> None:
        """Take a batch in one transaction; the later end of two wins, on either clock."""
        with self._errors():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                self._database.executemany(
                    "DELETE FROM authorizations WHERE client = ?", [(client,) for client in batch.ended]
                )
                self._database.executemany(
                    "DELETE FROM authorizations WHERE client = ? AND user = ? AND session = CAST(? AS TEXT)",
                    [
                        (client, _bytes(user), _bytes(session))
                        for client, keys in batch.closed.items()
                        for user, session in keys
                    ],
                )
                self._database.executemany(
                    _GRANT, [self._row(grant) for kept in batch.granted.values() for grant in kept.values()]
                )
                self._database.executemany(
                    "INSERT OR REPLACE INTO tombstones (kind, name, at, until, uid, why) "
                    " VALUES (?, ?, ?, ?, ?, CAST(? AS TEXT))",
                    [
                        (
                            each.kind,
                            _bytes(each.name),
                            _micros(each.at),
                            _micros(each.until),
                            each.uid,
                            _bytes(each.why),
                        )
                        for each in batch.tombstones
                    ],
                )
                self._database.executemany(
                    _PROGRESS,
                    [
                        (_bytes(source), progress.checkpoint, None if progress.time is None else _micros(progress.time))
                        for source, progress in batch.progress.items()
                    ],
                )
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    def tombstones(self) -> list[Tombstone]:
        """Return what was revoked by hand."""
        with self._errors():
            rows = self._database.execute("SELECT kind, name, at, until, uid, why FROM tombstones").fetchall()
        return [
            Tombstone(kind, _text(name), _time(at), _time(until), uid, why) for kind, name, at, until, uid, why in rows
        ]

    def stopped_at(self) -> datetime | None:
        """Return when the daemon was stopped."""
        with self._errors():
            row = self._database.execute("SELECT at FROM stopped").fetchone()
        return None if row is None else _time(row[0])

    def set_stopped(self, at: datetime | None) -> None:
        """Keep when the daemon was stopped, or that it runs."""
        with self._errors():
            self._database.execute("BEGIN IMMEDIATE")
            self._database.execute("DELETE FROM stopped")
            if at is not None:
                self._database.execute("INSERT INTO stopped VALUES (?)", (_micros(at),))
            self._database.execute("COMMIT")

    def maps(self) -> list[str]:
        """Return which access maps there are."""
        with self._errors():
            return [name for (name,) in self._database.execute("SELECT name FROM maps ORDER BY name")]

    def set_maps(self, names: Collection[str]) -> None:
        """Keep which access maps there are."""
        with self._errors():
            self._database.execute("BEGIN IMMEDIATE")
            self._database.execute("DELETE FROM maps")
            self._database.executemany("INSERT OR IGNORE INTO maps VALUES (?)", [(name,) for name in names])
            self._database.execute("COMMIT")

    def close(self) -> None:
        """Close the file; its write-ahead log is folded in."""
        with self._errors():
            self._database.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _prepare(self) -> None:
        """Set the file up, or see that it is one of ours."""
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        (tables,) = self._database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if version != _VERSION and (version or tables):  # looked at before anything is changed
            raise StoreError(f"{self._path}: is no store of this version; move it away, and a new one is made")
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.execute("PRAGMA cache_size = -512")  # KiB; rows are written once and seldom read
        if not version:
            self._database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")

    def _row(self, grant: Authorization) -> tuple[str | int | float | bytes | None, ...]:
        return (
            grant.client,
            _bytes(grant.user),
            _bytes(grant.session),
            _micros(grant.expires_at),
            grant.deadline,
            self._boot_id,
            _bytes(grant.service),
            _micros(grant.login_at),
            grant.format,
            _bytes(grant.origin.source),
            grant.origin.offset,
            _bytes(grant.origin.cursor),
            grant.rule,
            grant.uid,
            _bytes(grant.why),
        )

    def _authorization(self, row: _Row, now: Moment) -> Authorization:
        client, user, session, expires, deadline, boot_id, service, login = row[:8]
        fmt, source, offset, cursor, rule, uid, why = row[8:]
        expires_at, login_at = _time(expires), _time(login)
        if boot_id != self._boot_id:
            left = min(expires_at - now.wall, expires_at - login_at)
            deadline = now.boottime + left.total_seconds()
        return Authorization(
            client=parse_client(client),
            expires_at=expires_at,
            deadline=deadline,
            user=_text(user),
            service=service,
            login_at=login_at,
            format=fmt,
            origin=Origin(source, offset, cursor),
            rule=rule,
            session=session,
            uid=uid,
            why=why,
        )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Name the file in every error that SQLite raises."""
        try:
            yield
        except (sqlite3.Error, ValueError, OverflowError) as error:  # the last two: a value that no clock ever showed
            raise StoreError(f"{self._path}: {error}") from None


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _micros(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)


def _time(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)
