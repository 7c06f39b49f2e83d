"""``type = "postfix"``: an access map for check_client_access, of type lmdb, changed in place.

Measured with Postfix 3.7 to 3.11: a change of an ``lmdb:`` map in place is seen by sessions that are open already and
restarts no smtpd(8). Postfix guards every lookup with a shared fcntl(2) lock on the map file itself and opens it
without LMDB's own lock file (``MDB_NOLOCK``, util/slmdb.c), so we write under the exclusive lock of that kind. The lock
falls when *any* descriptor of this process on that file is closed: nothing here opens it a second time.
"""

import fcntl
import os
import stat
import subprocess
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb

from popbeforesmtp import postconf
from popbeforesmtp.addresses import ClientAddress, parse_address
from popbeforesmtp.atomicfile import replacing
from popbeforesmtp.errors import CannotCreateError, ConfigError, DataError, NotPermittedError, UnavailableError
from popbeforesmtp.mtas import MapError

DEFAULT_MAP = "/var/lib/pop-before-smtp/clients"

_MAP_SIZE = 16 << 20  # bytes; Postfix's own start (lmdb_map_size), and its readers follow when it grows
_LOCK_SECONDS = 10.0
_RELOAD_SECONDS = 30.0


def open_map(*, map: str | None = None, result: str = "OK", reload: str | tuple[str, ...] = "auto") -> "LmdbMap":  # noqa: A002
    """Write an access map for Postfix.

    ``map`` is what stands behind check_client_access in main.cf, "lmdb:" and a path without suffix. ``result`` is the
    action of access(5) for a client that may relay. ``reload`` is "auto" (`postfix reload`, only where the map was
    missing: an smtpd that started without it would answer 451 until it ends), "never", or a command of your own.
    """
    name = map or f"lmdb:{DEFAULT_MAP}"
    kind, colon, path = name.partition(":")
    if not colon or kind != "lmdb":
        raise ConfigError(f'map = "{name}": only lmdb maps can be written; write map = "lmdb:{DEFAULT_MAP}"')
    if not path.startswith("/"):
        raise ConfigError(f'map = "{name}": the path must be absolute, as in "lmdb:{DEFAULT_MAP}"')
    if reload == "auto" and postconf.find("postfix") is None:
        raise UnavailableError(
            'Postfix is not on this machine; install it, or set reload = "never" to only write the map'
        )
    if map is None and "lmdb" not in postconf.table_types():
        raise UnavailableError(
            "this Postfix cannot read lmdb maps (postconf -m); install its lmdb package (Debian: postfix-lmdb), or"
            " leave out [[mta]] and use the socketmap"
        )
    return LmdbMap(Path(path + ".lmdb"), name, result, _reload_command(reload))


def _reload_command(reload: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return the command that makes Postfix start over its smtpd processes; empty for none."""
    if isinstance(reload, tuple):
        return reload
    if reload not in ("auto", "never"):
        raise ConfigError(
            f'reload = "{reload}": write "auto", "never", or a command as a list, ["program", "argument"]'
        )
    return ("postfix", "reload") if reload == "auto" else ()


class LmdbMap:
    """One map file, kept open."""

    def __init__(self, path: Path, name: str, result: str, reload: tuple[str, ...]) -> None:
        self.name = name
        self._path = path
        self._value = (
            result.encode() + b"\0"
        )  # postmap(1) writes a NUL behind keys and values, and smtpd expects one kind
        self._reload = reload
        self._environment: lmdb.Environment | None = None
        self._identity = (0, 0)

    def replace(self, clients: Collection[ClientAddress]) -> None:
        """Make the map hold exactly these clients; where it is missing or broken, it is built beside and renamed."""
        wanted = {_key(client) for client in clients if self.cannot_hold(client) is None}
        if self._environment is None or self.lost():
            self._open(wanted)
        environment = self._opened()
        with self._errors(), environment.begin() as transaction:
            there = dict(transaction.cursor())
        self._refuse_foreign(there)
        stale = {key for key, value in there.items() if key not in wanted or value != self._value}
        self._write(wanted - (there.keys() - stale), stale - wanted)

    def change(self, come: Collection[ClientAddress], go: Collection[ClientAddress]) -> None:
        """Add some and take some out, in one transaction."""
        self._write(
            {_key(client) for client in come if self.cannot_hold(client) is None}, {_key(client) for client in go}
        )

    def lost(self) -> bool:
        """Say whether the path no longer names the file that we write."""
        try:
            status = self._path.stat()
        except OSError:
            return True
        return (status.st_dev, status.st_ino) != self._identity

    def cannot_hold(self, client: ClientAddress) -> str | None:
        """Say why an IPv6 address may not be a key of an indexed map.

        Postfix also looks up what is left of an address when its last groups are cut off, so ``2001:db8::10`` would
        let ``2001:db8::10:0:0:1`` in. That can happen only where ``::`` stands for three groups or more in front of
        others: a longer address then has the same beginning.
        """
        head, shortened, tail = client.partition("::")
        if not shortened or not tail:
            return None
        written = len(head.split(":")) * bool(head) + len(tail.split(":"))
        if 8 - written < 3:
            return None
        return "as a key it would let other addresses in too; the socketmap knows it exactly"

    def close(self) -> None:
        """Close the file."""
        if self._environment is not None:
            self._environment.close()
            self._environment = None

    def _open(self, wanted: Collection[bytes]) -> None:
        """Open the map, or build it where it is missing, broken, or older than this boot."""
        self.close()
        self._identity = (0, 0)
        missing = not self._path.exists()
        if not missing and not self._older_than_boot():
            try:
                self._use(_environment(self._path))
                return
            except lmdb.Error:
                missing = True  # to Postfix a broken map is no better than none
        with self._errors():
            self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            with replacing(self._path) as new:
                self._build(new, wanted)
            self._use(_environment(self._path))
        if missing:
            self._reload_mta()

    def _older_than_boot(self) -> bool:
        """Say whether the file was last written before the machine started.

        Commits are brought to the disk only behind the lock, so a power failure may have left it torn; nobody reads it
        yet, so it is simply built anew.
        """
        started = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        return self._path.stat().st_mtime < started

    def _build(self, path: Path, keys: Collection[bytes]) -> None:
        environment = _environment(path, create=True)
        try:
            _put(environment, keys, self._value)
        finally:
            environment.close()
        path.chmod(0o644)

    def _use(self, environment: lmdb.Environment) -> None:
        self._environment = environment
        status = self._path.stat()
        self._identity = (status.st_dev, status.st_ino)

    def _opened(self) -> lmdb.Environment:
        if self._environment is None:
            raise MapError(f"{self._path}: is not open")
        return self._environment

    def _refuse_foreign(self, there: Collection[bytes]) -> None:
        """Refuse to empty a map that somebody else keeps."""
        for key in there:
            text = key.rstrip(b"\0").decode("utf-8", "replace")
            if parse_address(text) is None:
                raise DataError(
                    f"{self._path}: holds an entry that is not ours ({text!a}); give pop-before-smtp a map of its own"
                )

    def _write(self, come: Collection[bytes], go: Collection[bytes]) -> None:
        if not come and not go:
            return
        environment = self._opened()
        with self._errors():
            with self._locked():
                _put(environment, come, self._value, go)
            environment.sync(True)  # behind the lock: no lookup waits for the disk

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep Postfix's lookups out, as its own writers do."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        try:
            _wait_for(lambda: fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB), self._path)
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
                f"{error.filename or self._path}: may not be written by this user; run as the map's owner, or set map"
                " to another place"
            ) from None
        except (FileExistsError, FileNotFoundError, NotADirectoryError) as error:
            raise CannotCreateError(f"{self._path}: cannot be made: {error.strerror}") from None
        except (OSError, lmdb.Error) as error:
            raise MapError(f"{self._path}: {error}") from None

    def _reload_mta(self) -> None:
        """Make Postfix begin anew: an smtpd that started while the map was missing never looks for it again."""
        if not self._reload:
            return
        try:
            subprocess.run(
                self._reload,
                capture_output=True,
                timeout=_RELOAD_SECONDS,
                check=True,
                text=True,
                env=postconf.environment(),
            )
        except (OSError, subprocess.SubprocessError) as error:
            said = (getattr(error, "stderr", None) or "").strip().replace("\n", "; ") or str(error)
            if "not running" in said:
                return  # then there is nothing to begin anew
            raise MapError(f"{self.name}: the map was missing and `{' '.join(self._reload)}` failed: {said}") from None


def _key(client: ClientAddress) -> bytes:
    return client.encode("ascii") + b"\0"


def _environment(path: Path, *, create: bool = False) -> lmdb.Environment:
    """Open a single-file environment as Postfix does: no lock file, and no sync inside a commit."""
    size = path.stat().st_size if path.exists() else 0
    if not create and not stat.S_ISREG(path.lstat().st_mode):
        raise lmdb.Error(f"{path} is no regular file")
    return lmdb.open(
        str(path), subdir=False, lock=False, sync=False, create=create, map_size=max(_MAP_SIZE, 2 * size), mode=0o644
    )


def _put(environment: lmdb.Environment, come: Collection[bytes], value: bytes, go: Collection[bytes] = ()) -> None:
    """Change the map in one transaction, and again in a larger map where it was too small."""
    while True:
        try:
            with environment.begin(write=True) as transaction:
                for key in go:
                    transaction.delete(key)
                for key in sorted(come):
                    transaction.put(key, value)
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
                raise MapError(f"{path}: somebody has held its lock for {_LOCK_SECONDS:.0f} s") from None
            time.sleep(0.002)
