"""Maps of type lmdb: changed in place, in one transaction, under Postfix's own lock.

Measured with Postfix 3.7 to 3.11: a change in place is seen by sessions that are open already and restarts no smtpd(8).
Postfix guards every lookup with a shared fcntl(2) lock on the map file itself and opens it without LMDB's own lock file
(``MDB_NOLOCK``, util/slmdb.c), so we write under the exclusive lock of that kind. The lock falls when *any* descriptor
of this process on that file is closed: nothing here opens it a second time while the lock is held. Who may only read
the file can keep a shared lock for good; then a new file is renamed over it.
"""

import fcntl
import os
import stat
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import lmdb

from popbeforesmtp import maillog
from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.atomicfile import make_folder, replacing
from popbeforesmtp.errors import CannotCreateError, NotPermittedError
from popbeforesmtp.mtas import MapError, refuse_foreign
from popbeforesmtp.mtas._restrict import RESULT

_MAP_SIZE = 16 << 20  # bytes; Postfix's own start (lmdb_map_size), and its readers follow when it grows
_LOCK_SECONDS = 3.0
_MODE = 0o644  # its readers are smtpd, proxymap and postmap


class _LockedError(MapError):
    """Somebody keeps the map's lock."""


class LmdbFile:
    """One map file, kept open."""

    interval = 0.0  # a change costs a third of a millisecond and nobody starts anew

    def __init__(self, path: Path, result: str, fixed: Mapping[str, str] | None = None) -> None:
        """``fixed`` are entries that are always there, but where a client has the same key."""
        self.path = path
        self._value = _text(result)
        self._fixed = {_text(key): _text(value) for key, value in (fixed or {}).items()}
        self._environment: lmdb.Environment | None = None
        self._identity = (0, 0)
        self._written = 0  # LMDB's number of the last transaction that was ours

    def replace(self, clients: Collection[ClientAddress]) -> bool:
        """Make the file hold exactly these clients; say whether it was missing or broken before."""
        wanted = self._wanted(clients)
        if self._environment is None or self._is_another():
            gone, built = self._open(wanted)
            if built:
                return gone
        with self._errors():
            there = self._entries(self._opened(), wanted)
        try:
            self._write(dict(wanted.items() - there.items()), there.keys() - wanted.keys())
        except _LockedError as error:
            self._put_anew(wanted)
            maillog.failed(f"{error}; a new file is in its place, and sessions that are open keep their view")
        return False

    def change(self, come: Collection[ClientAddress], go: Collection[ClientAddress]) -> None:
        """Add some and take some out, in one transaction."""
        gone = {_text(client) for client in go}
        again = {key: self._fixed[key] for key in gone & self._fixed.keys()}
        self._write(again | dict.fromkeys(map(_text, come), self._value), gone - again.keys())

    def _put_anew(self, wanted: Mapping[bytes, bytes]) -> None:
        """Rename a new file over one whose lock is never given back: who may only read it can take a shared one.

        An smtpd(8) that has the old one open starts anew at its next connection (dict_changed_name(), util/dict.c).
        """
        with self._errors():
            built = self._build(self.path, wanted)
            self.close()
            self._use(built)

    def _wanted(self, clients: Collection[ClientAddress]) -> dict[bytes, bytes]:
        """Return all entries for these clients."""
        return self._fixed | dict.fromkeys(map(_text, clients), self._value)

    def _is_another(self) -> bool:
        """Say whether the path names another file than the one that is open."""
        return _named(self.path) != self._identity

    def lost(self) -> bool:
        """Say whether the path no longer names the file that we write, or somebody else has written to it."""
        if self._environment is None or self._is_another():
            return True
        return bool(self._environment.info()["last_txnid"] != self._written)

    def close(self) -> None:
        """Close the file."""
        if self._environment is not None:
            self._environment.close()
            self._environment = None

    def _open(self, wanted: Mapping[bytes, bytes]) -> tuple[bool, bool]:
        """Open the map, or build it where it is gone, broken, or older than this boot; say whether it was, and is."""
        self.close()
        self._identity = (0, 0)
        with self._errors():
            gone = not self._is_there(wanted)
            build = gone or self._older_than_boot()
            self._use(self._build(self.path, wanted) if build else None)
        return gone, build

    def _is_there(self, wanted: Collection[bytes]) -> bool:
        """Look into the file before anything is done to it; to Postfix one that is broken is no better than none.

        Raises DataError where it is somebody else's.
        """
        if not self.path.exists() or not self.path.stat().st_size:
            return False
        try:
            environment, _ = _environment(self.path)
        except (FileNotFoundError, lmdb.Error):
            return False
        try:
            self._entries(environment, wanted)
        except lmdb.Error:
            return False
        finally:
            environment.close()
        return True

    def _entries(self, environment: lmdb.Environment, wanted: Collection[bytes]) -> dict[bytes, bytes]:
        with environment.begin() as transaction:
            there = dict(transaction.cursor())
        others = (key for key, value in there.items() if key not in wanted and value != _REFUSED)
        refuse_foreign(self.path, (key.rstrip(b"\0").decode("utf-8", "replace") for key in others))
        return there

    def _older_than_boot(self) -> bool:
        """Say whether the file was last written before the machine started.

        Commits are brought to the disk only behind the lock, so a power failure may have left it torn; nobody reads it
        yet, so it is simply built anew.
        """
        started = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        return self.path.stat().st_mtime < started

    def build(self, path: Path, clients: Collection[ClientAddress]) -> None:
        """Make a file that holds these clients, whole or not at all."""
        with self._errors():
            self._build(path, self._wanted(clients))

    def _build(self, path: Path, entries: Mapping[bytes, bytes]) -> "_Identity":
        """Make a file anew, and return what it is known by."""
        make_folder(path.parent)
        with replacing(path) as new:
            environment, status = _environment(new, create=True)
            try:
                _put(environment, entries)
            finally:
                environment.close()
            new.chmod(_MODE)
        return _identity(status)

    def _use(self, built: "_Identity | None") -> None:
        """Open what is there and keep it open; where it was built just now, no other."""
        environment, status = _environment(self.path)
        if built not in (None, _identity(status)):
            environment.close()
            raise MapError(f"{self.path}: was removed or replaced by somebody else")
        self._environment = environment
        self._written = environment.info()["last_txnid"]
        self._identity = _identity(status)
        if stat.S_IMODE(status.st_mode) != _MODE:
            self.path.chmod(_MODE)

    def _opened(self) -> lmdb.Environment:
        if self._environment is None:
            raise MapError(f"{self.path}: is not open")
        return self._environment

    def _write(self, come: Mapping[bytes, bytes], go: Collection[bytes]) -> None:
        if not come and not go:
            return
        environment = self._opened()
        with self._errors():
            with self._locked():
                _put(environment, come, go)
                self._written = environment.info()["last_txnid"]
            environment.sync(True)  # behind the lock: no lookup waits for the disk

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep Postfix's lookups out, as its own writers do."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if _identity(os.fstat(descriptor)) != self._identity:
                raise MapError(f"{self.path}: was replaced by somebody else")
            _wait_for(lambda: fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB), self.path)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn what the file system and LMDB raise into one sentence."""
        try:
            yield
        except PermissionError as error:
            raise NotPermittedError(
                f"{error.filename or self.path}: may not be written by this user; run as the map's owner, or set map"
                " to another place"
            ) from None
        except (FileExistsError, FileNotFoundError, NotADirectoryError) as error:
            raise CannotCreateError(f"{self.path}: cannot be made: {error.strerror}") from None
        except (OSError, lmdb.Error) as error:
            raise MapError(f"{self.path}: {error}") from None


_Identity = tuple[int, int]
"""Device and inode."""


def _identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino


def _named(path: Path) -> _Identity | None:
    """Return what a path names now; None where that cannot be seen."""
    try:
        return _identity(path.stat())
    except OSError:
        return None


def _text(text: str) -> bytes:
    """Write a key or a value as postmap(1) does: smtpd expects a NUL behind all entries or none."""
    return text.encode() + b"\0"


_REFUSED = _text(RESULT)


def _environment(path: Path, *, create: bool = False) -> tuple[lmdb.Environment, os.stat_result]:
    """Open a single-file environment as Postfix does: no lock file, and no sync inside a commit.

    Return it with what stat(2) says of its file, whatever the path names by then. Raises OSError, lmdb.Error, MapError.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | (os.O_CREAT | os.O_EXCL if create else 0)
    descriptor = os.open(path, flags, _MODE)  # here the system says what is wrong, lmdb would not
    try:
        status = os.fstat(descriptor)
        size = max(_MAP_SIZE, 2 * status.st_size)
        environment = lmdb.open(str(path), subdir=False, lock=False, sync=False, map_size=size, mode=_MODE)
        if _named(path) != _identity(status):  # then lmdb may have opened another, or made an empty one
            environment.close()
            raise MapError(f"{path}: was removed or replaced by somebody else")
        return environment, status
    finally:
        os.close(descriptor)


def _put(environment: lmdb.Environment, come: Mapping[bytes, bytes], go: Collection[bytes] = ()) -> None:
    """Change the map in one transaction, and again in a larger map where it was too small."""
    while True:
        try:
            with environment.begin(write=True) as transaction:
                for key in go:
                    transaction.delete(key)
                for key in sorted(come):
                    transaction.put(key, come[key])
            return
        except lmdb.MapFullError:
            environment.set_mapsize(environment.info()["map_size"] * 2)


def _wait_for(lock: Callable[[], None], path: Path) -> None:
    """Take a lock that others hold for moments only."""
    until = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            lock()
            return
        except BlockingIOError:
            if time.monotonic() > until:
                raise _LockedError(f"{path}: somebody has held its lock for {_LOCK_SECONDS:.0f} s") from None
            time.sleep(0.002)
