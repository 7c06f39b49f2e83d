"""Maps of types that are built beside with postmap(1) and renamed: cdb, hash, btree.

Measured with Postfix 3.7 to 3.11: changed in place, such a map is silently stale in smtpd processes that have it open;
replaced by a rename, every one of them starts anew at its next connection. A session that is open keeps its view.
"""

import struct
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from popbeforesmtp import postconf
from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.atomicfile import make_folder, replacing
from popbeforesmtp.errors import NotPermittedError, UnavailableError
from popbeforesmtp.mtas import MapError, refuse_foreign
from popbeforesmtp.mtas._restrict import RESULT

SUFFIXES = {"cdb": ".cdb", "hash": ".db", "btree": ".db"}
"""What Postfix puts behind a map's name on the disk."""

_Identity = tuple[int, int, int, int]
"""Device, inode, size, and time of the last writing in nanoseconds: what a file is known by."""

_MISSING = (0, 0, 0, 0)  # no file's
_SECONDS = 30.0  # a million entries take three


class PostmapFile:
    """One map file that is written whole."""

    interval = 1.0  # each publish makes every idle smtpd start anew, at about 10 ms of CPU

    def __init__(self, kind: str, name: Path, result: str, fixed: Mapping[str, str] | None = None) -> None:
        """``fixed`` are entries that are always there, but where a client has the same key."""
        self.path = Path(f"{name}{SUFFIXES[kind]}")
        self._kind = kind
        self._name = name
        self._result = result
        self._fixed = dict(fixed or {})
        self._clients: set[ClientAddress] = set()
        self._identity = _MISSING

    def replace(self, clients: Collection[ClientAddress]) -> bool:
        """Make the file hold exactly these clients, unless it does; say whether it was missing or broken before."""
        self._clients = set(clients)
        identity, there = self._status(), self._entries()  # in this order: another one by now is seen by `lost`
        ours = self._wanted(self._clients)
        refuse_foreign(self.path, (key for key, value in (there or {}).items() if key not in ours and value != RESULT))
        self._identity = identity if there == ours else self.build(self.path, self._clients)
        return there is None

    def change(self, come: Collection[ClientAddress], go: Collection[ClientAddress]) -> None:
        """Add some and take some out, by writing all anew."""
        if self.lost():
            raise MapError(f"{self.path}: was removed or replaced by somebody else")
        known = len(self._clients), self._clients.isdisjoint(go)
        self._clients.difference_update(go)
        self._clients.update(come)
        if known != (len(self._clients), True):
            self._identity = self.build(self.path, self._clients)

    def _wanted(self, clients: Collection[ClientAddress]) -> dict[str, str]:
        """Return all entries for these clients."""
        return self._fixed | dict.fromkeys(clients, self._result)

    def lost(self) -> bool:
        """Say whether the path no longer names the file that we wrote."""
        return self._identity == _MISSING or self._status() != self._identity

    def close(self) -> None:
        """Nothing is kept open."""

    def _status(self) -> "_Identity":
        try:
            return _identity(self.path)
        except OSError:
            return _MISSING

    def _entries(self) -> dict[str, str] | None:
        """Return what is in the file now; None where it is missing or broken."""
        try:
            self.path.stat()
            if self._kind == "cdb":  # postmap -s knows cdb only from Postfix 3.10 on
                return dict(_cdb_entries(self.path.read_bytes()))
            lines = _postmap("-s", f"{self._kind}:{self._name}").splitlines()
            return {key: result for key, _, result in (line.partition("\t") for line in lines)}
        except PermissionError:
            raise _not_permitted(self.path) from None
        except (OSError, MapError, struct.error):
            return None

    def build(self, path: Path, clients: Collection[ClientAddress]) -> "_Identity":
        """Write the entries beside, let postmap index them, and rename the result over the path.

        Return what the file is known by, whatever the path names by then.
        """
        suffix = SUFFIXES[self._kind]
        try:
            make_folder(path.parent)
            with replacing(path) as new:
                source = Path(f"{new}.source")
                built = Path(f"{source}{suffix}")
                try:
                    with source.open("x", encoding="ascii") as text:
                        text.writelines(f"{key}\t{value}\n" for key, value in self._wanted(clients).items())
                    _postmap("-o", f"{self._kind}:{source}")
                    built.chmod(0o644)  # its readers are smtpd and proxymap
                    built.rename(new)
                    identity = _identity(new)
                except MapError as error:  # the name of the file beside is another each time, and nobody knows it
                    raise MapError(str(error).replace(str(source), str(self._name))) from None
                finally:
                    for left in (source, built, Path(f"{built}.tmp")):
                        left.unlink(missing_ok=True)
        except PermissionError as error:
            raise _not_permitted(error.filename or path) from None
        except OSError as error:
            raise MapError(f"{path}: {error.strerror or error}") from None
        return identity


def _identity(path: Path) -> "_Identity":
    status = path.stat()
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def _not_permitted(path: Path | str) -> NotPermittedError:
    return NotPermittedError(
        f"{path}: may not be written by this user; run as the map's owner, or set map to another place"
    )


def _cdb_entries(data: bytes) -> Iterator[tuple[str, str]]:
    """Give the entries of a constant database (https://cr.yp.to/cdb/cdb.txt): 256 pointers, then the records."""
    end = min(struct.unpack_from("<512L", data)[::2])
    if not 2048 <= end <= len(data):
        raise struct.error("no constant database")
    place = 2048
    while place < end:
        key_length, length = struct.unpack_from("<LL", data, place)
        place += 8
        if place + key_length + length > end:
            raise struct.error("no constant database")
        key, value = data[place : place + key_length], data[place + key_length : place + key_length + length]
        yield key.rstrip(b"\0").decode(errors="replace"), value.rstrip(b"\0").decode(errors="replace")
        place += key_length + length


def _postmap(*arguments: str) -> str:
    """Run postmap(1) and return what it prints. Raises MapError."""
    try:
        return postconf.run("postmap", *arguments, seconds=_SECONDS)
    except UnavailableError as error:
        raise MapError(str(error)) from None
