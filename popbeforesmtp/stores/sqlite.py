"""``type = "sqlite"``: authorizations and checkpoints in one file on this machine.

Write-ahead log, ``synchronous = NORMAL`` (https://sqlite.org/pragma.html#pragma_synchronous): a power failure may undo
the last transactions, never a part of one. As an authorization and the checkpoint behind its line lie in the same
transaction, what is undone is read from the log again. What is done by hand stands in no log, so such a transaction is
brought to the disk before it counts (``synchronous = FULL``).
"""

import fcntl
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from popbeforesmtp import maillog
from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.atomicfile import make_folder
from popbeforesmtp.clock import Clock, Moment
from popbeforesmtp.errors import CannotCreateError, NotPermittedError, UnavailableError
from popbeforesmtp.model import Authorization, Tombstone
from popbeforesmtp.privileges import require_safe_place
from popbeforesmtp.stores import KEPT, Batch, Progress, StoreError, left_over
from popbeforesmtp.stores._sqlite_rows import (
    COLUMNS,
    GRANT,
    PROGRESS,
    SCHEMA,
    TOMBSTONE,
    VERSION,
    Row,
    authorization,
    row_of,
    to_bytes,
    to_micros,
    to_text,
    to_time,
    tombstone_row,
)

DEFAULT_PATH = Path("/var/lib/pop-before-smtp/state.sqlite")


def open_store(*, clock: Clock, path: Path = DEFAULT_PATH) -> "SqliteStore":
    """Keep authorizations in an SQLite file, mode 0600, made where it is missing.

    Raises CannotCreateError or NotPermittedError where there cannot be such a file, UnavailableError where another
    daemon keeps it, StoreError where what is there is no store of ours.
    """
    require_safe_place(path)
    try:
        make_folder(path.parent)
        os.close(_make(path))
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


def _make(path: Path) -> int:
    """Open a file, made where it is missing; what root makes belongs to whom the folder does, who may be the daemon."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(path, flags, 0o600)
    if os.geteuid() == 0:
        folder = path.parent.stat()
        os.fchown(descriptor, folder.st_uid, folder.st_gid)
    return descriptor


def _lock(path: Path) -> int:
    """Make sure that no other daemon keeps this store; the lock falls with the descriptor that is returned."""
    descriptor = _make(Path(f"{path}.lock"))
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
        self._said = False  # that there are rows that cannot be read
        with self._errors():
            self._database = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
        self._database.text_factory = to_text
        try:
            with self._errors():
                self._prepare()
        except StoreError:
            self._database.close()
            raise

    def load(self, now: Moment) -> list[Authorization]:
        """Return all that have not ended."""
        with self._errors():
            rows = self._database.execute(f"SELECT {COLUMNS} FROM authorizations").fetchall()  # noqa: S608 - constants
            return left_over(self._readable(rows, now), now)

    def load_client(self, client: ClientAddress, now: Moment) -> list[Authorization]:
        """Return those of one client that have not ended."""
        with self._errors():
            rows = self._database.execute(
                f"SELECT {COLUMNS} FROM authorizations WHERE client = ?",  # noqa: S608 - constants
                (client,),
            ).fetchall()
            return left_over(self._readable(rows, now), now)

    def purge(self, now: Moment) -> None:
        """Take out all that have ended, those of earlier boots by the wall clock.

        What is left of those gets its deadline on this boot's clock, once, so that no restart gives it more.
        """
        wall = to_micros(now.wall)
        with self._errors():
            self._database.execute(
                "DELETE FROM authorizations WHERE expires_at <= ? OR (boot_id = ? AND deadline <= ?)",
                (wall, self._boot_id, now.boottime),
            )
            self._database.execute("DELETE FROM tombstones WHERE until <= ?", (to_micros(now.wall - KEPT),))
            self._database.execute(
                "UPDATE authorizations SET deadline = ? + (expires_at - max(?, login_at)) / 1e6, boot_id = ?"
                " WHERE boot_id <> ?",
                (now.boottime, wall, self._boot_id, self._boot_id),
            )

    def progress(self) -> Mapping[str, Progress]:
        """Return how far each source was read."""
        with self._errors():
            rows = self._database.execute("SELECT source, checkpoint, time FROM progress").fetchall()
        return {source: Progress(checkpoint, None if at is None else to_time(at)) for source, checkpoint, at in rows}

    def write(self, batch: Batch) -> None:
        """Take a batch in one transaction; the later end of two wins, on either clock."""
        with self._errors():
            self._database.execute(f"PRAGMA synchronous = {'FULL' if batch.by_hand else 'NORMAL'}")
        with self._transaction() as database:
            database.executemany("DELETE FROM authorizations WHERE client = ?", [(client,) for client in batch.ended])
            database.executemany(
                "DELETE FROM authorizations WHERE client = ? AND user = ? AND session = CAST(? AS TEXT)",
                [
                    (client, to_bytes(user), to_bytes(session))
                    for client, keys in batch.closed.items()
                    for user, session in keys
                ],
            )
            database.executemany(
                GRANT, [row_of(grant, self._boot_id) for kept in batch.granted.values() for grant in kept.values()]
            )
            database.executemany(TOMBSTONE, map(tombstone_row, batch.tombstones))
            database.executemany(
                PROGRESS,
                [
                    (to_bytes(source), left.checkpoint, None if left.time is None else to_micros(left.time))
                    for source, left in batch.progress.items()
                ],
            )

    def tombstones(self) -> list[Tombstone]:
        """Return what was revoked by hand."""
        with self._errors():
            rows = self._database.execute("SELECT kind, name, at, until, uid, why FROM tombstones").fetchall()
        return [
            Tombstone(kind, to_text(name), to_time(at), to_time(until), uid, why)
            for kind, name, at, until, uid, why in rows
        ]

    def stopped_at(self) -> datetime | None:
        """Return when the daemon was stopped."""
        with self._errors():
            row = self._database.execute("SELECT at FROM stopped").fetchone()
        return None if row is None else to_time(row[0])

    def set_stopped(self, at: datetime | None) -> None:
        """Keep when the daemon was stopped, or that it runs."""
        with self._transaction() as database:
            database.execute("DELETE FROM stopped")
            if at is not None:
                database.execute("INSERT INTO stopped VALUES (?)", (to_micros(at),))

    def maps(self) -> list[str]:
        """Return which access maps there are."""
        with self._errors():
            return [name for (name,) in self._database.execute("SELECT name FROM maps ORDER BY name")]

    def set_maps(self, names: Collection[str]) -> None:
        """Keep which access maps there are."""
        with self._transaction() as database:
            database.execute("DELETE FROM maps")
            database.executemany("INSERT OR IGNORE INTO maps VALUES (?)", [(name,) for name in names])

    def close(self) -> None:
        """Close the file; its write-ahead log is folded in."""
        with self._errors():
            self._database.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _readable(self, rows: Iterable[Row], now: Moment) -> Iterator[Authorization]:
        """Give what rows say; one that no daemon ever wrote lets nobody in, and is said once."""
        for row in rows:
            try:
                yield authorization(row, now, self._boot_id)
            except (ValueError, OverflowError) as error:
                if not self._said:
                    maillog.failed(f"{self._path}: a row cannot be read, and lets nobody in: {error}")
                self._said = True

    def _prepare(self) -> None:
        """Set the file up, or see that it is one of ours."""
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        (tables,) = self._database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if version != VERSION and (version or tables):  # looked at before anything is changed
            raise StoreError(f"{self._path}: is no store of this version; move it away, and a new one is made")
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.execute("PRAGMA cache_size = -512")  # KiB; rows are written once and seldom read
        if not version:
            self._database.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Take all that is written meanwhile, or nothing of it where anything goes wrong."""
        with self._errors():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:  # SQLite ends it by itself after some errors, such as a full disk
                    self._database.execute("ROLLBACK")
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Name the file in every error that SQLite raises."""
        try:
            yield
        except (sqlite3.Error, ValueError, OverflowError) as error:  # the last two: a value that no clock ever showed
            raise StoreError(f"{self._path}: {error}") from None
