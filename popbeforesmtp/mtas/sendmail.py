"""``type = "sendmail"``: a map of who may relay, for Sendmail's rules or as one more access map."""

import ipaddress
import re
from collections.abc import Collection, Iterable
from pathlib import Path

from popbeforesmtp.addresses import ClientAddress, Network, parse_address, uncompressed
from popbeforesmtp.errors import ConfigError, DataError, UnavailableError
from popbeforesmtp.mtas import MapError, _makemap
from popbeforesmtp.mtas._berkeley import kind_of
from popbeforesmtp.mtas._nobody import Nobody
from popbeforesmtp.privileges import require_safe_place

DEFAULT_PATH = "/var/lib/pop-before-smtp/popauth"

REFUSED = "REJECT"
"""What stands in the map for networks that are restricted."""

_MISSING = (0, 0, 0, 0)  # no file's
_TYPES = ("hash", "btree")
_UNIT = {4: 8, 6: 16}  # bits of an octet, of a group


def open_map(
    *,
    map: str = f"hash:{DEFAULT_PATH}",
    tag: str = "",
    result: str = "RELAY",
    restrict: tuple[Network, ...] = (),
    prefix: int = 128,
) -> "SendmailMap":
    """Write a map for Sendmail with its own makemap.

    ``map`` is "hash:" or "btree:" and a path without suffix; the K line in sendmail.cf names the same. ``tag`` stands
    in front of each key, with a colon: "Connect" for an access map, nothing for contrib/sendmail/pop-before-smtp.m4.
    ``result`` is what a client that may relay is found with; Sendmail relays for RELAY alone.
    """
    kind, colon, path = map.partition(":")
    if not colon or kind not in _TYPES:
        raise ConfigError(
            f'map = "{map}": maps of these types can be written: {", ".join(_TYPES)}; as in "hash:{DEFAULT_PATH}"'
        )
    if not path.startswith("/"):
        raise ConfigError(f'map = "{map}": the path must be absolute, as in "{kind}:{DEFAULT_PATH}"')
    if not re.fullmatch(r"[A-Za-z_]*", tag):
        raise ConfigError(f'tag = "{tag}": is letters only, as in "Connect"; the colon is put behind it')
    if not re.fullmatch(r"[!-~]+(?: [!-~]+)*", result):
        raise ConfigError(f'result = "{result}": must be words of ASCII text, as in "RELAY"')
    for network in restrict:
        if not _can_be_said(network):
            raise ConfigError(
                f'[rules] restrict = "{network}": Sendmail can say IPv4 networks of /8, /16, /24 and /32, and'
                " IPv6 networks of /16, /32, /48 and so on; write it as several of those"
            )
        if network.version == 6 and network.prefixlen > prefix:
            raise ConfigError(
                f'[rules] restrict = "{network}": is smaller than the /{prefix} that a login opens; restrict a greater'
                " network, or set ipv6_prefix = 128"
            )
    if not _can_be_said(ipaddress.IPv6Network(f"::/{prefix}")):
        raise ConfigError(f"[rules] ipv6_prefix = {prefix}: Sendmail can say 16, 32, 48, 64, 80, 96, 112 and 128")
    if kind not in (known := _makemap.types()):
        raise UnavailableError(
            f'map = "{map}": this makemap cannot write {kind} maps, but {", ".join(sorted(known & set(_TYPES)))};'
            " write another type here and in sendmail.mc"
        )
    file = Path(f"{path}{_makemap.SUFFIX}")
    require_safe_place(file)
    front = f"{tag}:" if tag else ""
    return SendmailMap(
        map, kind, file, front, result, {f"{front}{_key(str(network))}": REFUSED for network in restrict}
    )


def existing() -> list[str]:
    """Return the map that lies at the usual place."""
    path = Path(f"{DEFAULT_PATH}{_makemap.SUFFIX}")
    return [f"{kind_of(path)}:{DEFAULT_PATH}"] if path.exists() else []


class SendmailMap:
    """One map, written whole."""

    interval = 1.0  # each publish is one run of makemap, and open sessions open the map anew
    timed = False

    def __init__(self, name: str, kind: str, path: Path, front: str, result: str, always: dict[str, str]) -> None:
        self.name = name
        self._kind = kind
        self._path = path
        self._nobody = Nobody(path, _makemap.replaced)
        self._front = front
        self._result = result
        self._always = always
        self._clients: set[ClientAddress] = set()
        self._identity = _MISSING
        self._ready = False  # the empty one is there, and has the networks of this configuration in it

    def replace(self, clients: Collection[ClientAddress]) -> None:
        """Make the file hold exactly these clients, unless it does."""
        self._clients = set(clients)
        identity = self._status()  # before it is read: another one by now is seen by `lost`
        there = _makemap.entries(self._kind, self._path)
        self._refuse_foreign((there or {}).items())
        wanted = self._entries(self._clients)
        if there != _folded(wanted):
            identity = _makemap.build(self._kind, self._path, wanted)
        if not (self._ready and self._nobody.is_beside()):
            _makemap.build(self._kind, self._nobody.path, self._entries(()))
            self._ready = True
        self._identity = identity
        self._nobody.gave_way()

    def change(self, come: Collection[ClientAddress], go: Collection[ClientAddress]) -> None:
        """Add some and take some out, by writing all anew."""
        if self.lost():
            raise MapError(f"{self._path}: was removed or replaced by somebody else")
        before = set(self._clients)
        self._clients.difference_update(go)
        self._clients.update(come)
        if self._clients != before:
            self._identity = _makemap.build(self._kind, self._path, self._entries(self._clients))

    def shut(self) -> None:
        """Let nobody in: a map without clients, kept ready since the start, is renamed over this one."""
        self._nobody.take_over()

    def lost(self) -> bool:
        """Say whether the path no longer names the file that we wrote."""
        return self._identity == _MISSING or self._status() != self._identity

    def cannot_hold(self, client: ClientAddress) -> str | None:
        """Every address can be a key: all its octets or groups are written, so it begins no other."""
        del client
        return None

    def close(self) -> None:
        """Nothing is kept open."""

    def _entries(self, clients: Iterable[ClientAddress]) -> dict[str, str]:
        """Return keys and results. A client has the last word over a restricted network of its own size."""
        return self._always | {f"{self._front}{_key(client)}": self._result for client in clients}

    def _status(self) -> _makemap.Identity:
        try:
            return _makemap.identity(self._path)
        except OSError:
            return _MISSING

    def _refuse_foreign(self, entries: Iterable[tuple[str, str]]) -> None:
        """Refuse to take entries out of an administrator's own access map.

        Ours are addresses with whatever result, IPv6 networks that relay, and networks that are refused, all with our
        tag, the access map's or none. Raises DataError.
        """
        for key, value in entries:
            address = re.sub(rf"\A(?:{re.escape(self._front.lower())}|connect:)", "", key)
            if not _is_ours(address, value):
                raise DataError(
                    f"{self._path}: holds an entry that is not ours ({key!a}); give pop-before-smtp a map of its own"
                )


_OCTETS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){0,3}")
_GROUPS = re.compile(r"ipv6(?::[0-9a-f]{1,4}){1,8}")


def _is_ours(address: str, value: str) -> bool:
    """Say whether we may have written an entry, its tag taken off."""
    if _GROUPS.fullmatch(address):
        return True
    return bool(_OCTETS.fullmatch(address)) and (value == REFUSED or parse_address(address) is not None)


def _folded(entries: dict[str, str]) -> dict[str, str]:
    """Return entries as makemap writes them."""
    return {key.lower(): value for key, value in entries.items()}


def _can_be_said(network: Network) -> bool:
    """Say whether a network is whole octets or groups, and not everything."""
    return network.prefixlen > 0 and network.prefixlen % _UNIT[network.version] == 0


def _key(client: str) -> str:
    """Write an address as Sendmail's ``{client_addr}``, or of a network only the octets or groups that it fixes."""
    address, _, length = client.partition("/")
    text = uncompressed(ClientAddress(address))
    mark = ":" if ":" in text else "."
    if length:
        text = mark.join(text.split(mark)[: int(length) // _UNIT[6 if mark == ":" else 4]])
    return f"IPv6:{text}" if mark == ":" else text
