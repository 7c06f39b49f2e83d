"""``type = "exim"``: a file that Exim's host lists and lookups read, written beside and renamed.

Measured with Exim 4.96: a plain host list is opened at every question, so a session that is open already sees a change;
a file of the lookup type iplsearch is kept open, so only new sessions do. Neither needs a reload. Where either is
missing or unreadable, Exim hangs up on everybody: ask for it behind ``${if exists``, as contrib/exim does. No line is
ever negated: of a host list that ends with such a line, everybody else is a member.
"""

import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from popbeforesmtp.addresses import ClientAddress, Network
from popbeforesmtp.atomicfile import make_folder, replacing
from popbeforesmtp.errors import ConfigError, DataError, NotPermittedError
from popbeforesmtp.mtas import MapError
from popbeforesmtp.mtas._nobody import Nobody
from popbeforesmtp.privileges import require_safe_place

DEFAULT_PATH = "/var/lib/pop-before-smtp/clients.exim"

_NAME = re.compile(r"(?:(?P<lookup>(?:net-)?iplsearch);)?(?P<path>/[A-Za-z0-9_./+-]+)")
_HEAD = "# pop-before-smtp writes this file; what others write here is lost.\n"
_NONE: tuple[int, ...] = ()  # no file's
_MODE = 0o644  # its reader is Exim's own user


def open_map(*, map: str = DEFAULT_PATH, restrict: tuple[Network, ...] = (), prefix: int = 128) -> "EximMap":
    """Write a file for Exim.

    ``map`` is how Exim's configuration asks for it: a path alone is a plain host list, "net-iplsearch;" and a path a
    file whose keys are in the list, and "iplsearch;" and a path one whose values are looked at, OK or REJECT. Only
    the last can hold ``restrict``, networks that are refused but for the clients in them. ``prefix`` is the length of
    those IPv6 networks that stand for one client; Exim reads any. Raises ConfigError or NotPermittedError.
    """
    del prefix
    name = _NAME.fullmatch(map)
    if name is None:
        raise ConfigError(
            f'map = "{map}": write the absolute path of a host list, of letters, digits and _./+- alone, as in'
            f' "{DEFAULT_PATH}", or "net-iplsearch;" or "iplsearch;" in front of it'
        )
    if restrict and name["lookup"] != "iplsearch":
        raise ConfigError(
            f'map = "{map}": in a host list the refused network {restrict[0]} would be let in; write'
            f' map = "iplsearch;{name["path"]}", and ask for its values as contrib/exim/iplsearch.conf does'
        )
    path = Path(name["path"])
    require_safe_place(path)
    return EximMap(map, path, restrict, keyed=name["lookup"] is not None)


def existing() -> list[str]:
    """Return the host list that lies at the usual place."""
    return [DEFAULT_PATH] if Path(DEFAULT_PATH).exists() else []


class EximMap:
    """One file, written whole."""

    timed = False  # it does not keep the ends of windows
    interval = 0.2  # a change costs two syncs and restarts nobody

    def __init__(self, name: str, path: Path, restrict: Collection[Network] = (), *, keyed: bool) -> None:
        self.name = name
        self._path = path
        self._nobody = Nobody(path)
        self._restrict = sorted(map(str, restrict))
        self._keyed = keyed
        self._clients: set[ClientAddress] = set()
        self._identity = _NONE

    def replace(self, clients: Mapping[ClientAddress, datetime]) -> None:
        """Make the file hold exactly these clients, unless it does. Raises DataError where it is somebody else's."""
        self._clients = set(clients)
        self._identity = self._make_true(self._path, self._clients)
        self._nobody.gave_way()
        self._make_true(self._nobody.path, ())

    def change(self, come: Mapping[ClientAddress, datetime], go: Collection[ClientAddress]) -> None:
        """Add some and take some out, by writing all anew."""
        if self.lost():
            raise MapError(f"{self._path}: was removed or replaced by somebody else")
        clients = self._clients.difference(go).union(come)
        if clients != self._clients:
            self._identity = self._write(self._path, self._text(clients))
            self._clients = clients

    def shut(self) -> None:
        """Let nobody in: a file without clients, kept ready since the start, is renamed over this one."""
        self._nobody.take_over()

    def lost(self) -> bool:
        """Say whether the file was removed, replaced, written to or made unreadable by somebody else."""
        try:
            return _identity(self._path.stat()) != self._identity
        except OSError:
            return True

    def cannot_hold(self, client: ClientAddress) -> str | None:
        """Let every client in: Exim compares whole addresses, and networks by their bits."""
        del client
        return None

    def close(self) -> None:
        """Nothing is kept open."""

    def _make_true(self, path: Path, clients: Collection[ClientAddress]) -> tuple[int, ...]:
        """Make a file hold exactly these clients, unless it does and Exim may read it; return what it is known by."""
        wanted, found = self._text(clients), _read(path)
        if found is not None and found[0] == wanted and stat.S_IMODE(found[1].st_mode) == _MODE:
            return _identity(found[1])
        return self._write(path, wanted)

    def _text(self, clients: Collection[ClientAddress]) -> bytes:
        return "".join((_HEAD, *self._lines(clients))).encode("ascii")

    def _lines(self, clients: Collection[ClientAddress]) -> Iterator[str]:
        """Give the lines: of an iplsearch file the first that matches counts, so refused networks come last."""
        for client in sorted(clients):
            yield f"{_key(client)}: OK\n" if self._keyed else f"{client}\n"
        for network in self._restrict:
            yield f"{_key(network)}: REJECT\n"

    def _write(self, path: Path, text: bytes) -> tuple[int, ...]:
        """Write a file anew, and return what it is known by, whatever the path names by then."""
        try:
            make_folder(path.parent)
            with replacing(path) as new, new.open("xb", buffering=0) as file:
                os.fchmod(file.fileno(), _MODE)
                left = memoryview(text)
                while left:
                    left = left[file.write(left) :]
                identity = _identity(os.fstat(file.fileno()))
        except PermissionError as error:
            raise _not_permitted(error.filename or path) from None
        except OSError as error:
            raise MapError(f"{path}: {error.strerror or error}") from None
        return identity


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns)


def _read(path: Path) -> tuple[bytes, os.stat_result] | None:
    """Return what is in a file, and what stat(2) says of it; None where it is missing. Raises DataError if not ours."""
    try:
        with path.open("rb") as file:
            status, text = os.fstat(file.fileno()), file.read()
    except FileNotFoundError:
        return None
    except PermissionError:
        raise _not_permitted(path) from None
    except OSError as error:
        raise MapError(f"{path}: {error.strerror or error}") from None
    if text and not text.startswith(_HEAD.encode()):
        raise DataError(f"{path}: is not ours, by its first line; give pop-before-smtp a file of its own")
    return text, status


def _not_permitted(path: Path | str) -> NotPermittedError:
    return NotPermittedError(f"{path}: may not be written by this user; run as its owner, or set map to another place")


def _key(text: str) -> str:
    """Write a key of an iplsearch file: the colon ends it, but in quotes."""
    return f'"{text}"' if ":" in text else text
