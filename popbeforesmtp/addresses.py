"""Client addresses: strict text in, one canonical text out, and the networks that are never authorized."""

import ipaddress
import socket
from collections.abc import Iterable
from functools import lru_cache
from typing import NewType

ClientAddress = NewType("ClientAddress", str)
"""An IPv4 or IPv6 address as Postfix writes it in a lookup: lower case, longest run of zeros shortened, and an
IPv4-mapped IPv6 address as the IPv4 address it stands for."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

NEVER_AUTHORIZED = (
    "0.0.0.0/8",  # this network, RFC 791
    "127.0.0.0/8",  # loopback: a webmail or a proxy on this host
    "169.254.0.0/16",  # link-local, RFC 3927
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, and broadcast
    "::/96",  # unspecified, loopback, IPv4-compatible
    "64:ff9b::/96",  # NAT64, RFC 6052: a crowd
    "100::/64",  # discard, RFC 6666
    "2002::/16",  # 6to4, RFC 7526: forged with ease
    "fe80::/10",  # link-local: Postfix drops the zone, so it would name a neighbour on every link
    "ff00::/8",  # multicast
)
"""Networks whose addresses are never authorized, whatever is configured."""

_IN_A_ROW = 16
"""Addresses whose number is remembered: each is asked for in several sets of networks."""


def parse_address(text: str) -> ClientAddress | None:
    """Return the canonical form of an address, or None where the text is anything else.

    Strict (inet_pton(3)): no leading zeros, zone, prefix length, blanks or names.
    """
    try:
        if ":" not in text:
            return ClientAddress(socket.inet_ntop(socket.AF_INET, socket.inet_pton(socket.AF_INET, text)))
        packed = socket.inet_pton(socket.AF_INET6, text)
    except (OSError, ValueError):
        return None
    if packed[:12] == b"\0" * 10 + b"\xff\xff":
        return ClientAddress(socket.inet_ntop(socket.AF_INET, packed[12:]))
    if packed[:12] == b"\0" * 12:  # where inet_ntop(3) of some C libraries writes the end as an IPv4 address
        return ClientAddress(str(ipaddress.IPv6Address(packed)))
    return ClientAddress(socket.inet_ntop(socket.AF_INET6, packed))  # the same in a tenth of the time


def is_address(text: bytes) -> bool:
    """Say whether `parse_address` makes an address of a text; it takes a third of the time."""
    try:
        socket.inet_pton(socket.AF_INET6 if b":" in text else socket.AF_INET, text.decode("ascii", "replace"))
    except (OSError, ValueError):
        return False
    return True


def uncompressed(client: ClientAddress) -> str:
    """Write an address as Sendmail does: all groups of an IPv6 address, without leading zeros; IPv4 as it is."""
    if ":" not in client:
        return client
    packed = socket.inet_pton(socket.AF_INET6, client)
    return ":".join(f"{int.from_bytes(packed[place : place + 2]):x}" for place in range(0, 16, 2))


def parse_client(text: str) -> ClientAddress:
    """Return the canonical address, or IPv6 network, that a client of ours was written as. Raises ValueError."""
    address = parse_address(text)
    if address is not None:
        return address
    network = ipaddress.IPv6Network(text)
    if str(network) != text:
        raise ValueError(f"{text!a} is no client")
    return ClientAddress(text)


def prefix_of(client: ClientAddress, length: int) -> ClientAddress:
    """Return the network of an IPv6 address, as it is granted where whole prefixes are; an IPv4 address as it is."""
    if length == 128 or ":" not in client:
        return client
    number = int.from_bytes(socket.inet_pton(socket.AF_INET6, client))
    return ClientAddress(str(ipaddress.IPv6Network((number >> 128 - length << 128 - length, length))))


def parse_network(text: str) -> Network:
    """Return the network that the text names, an address alone being the network of one address.

    An IPv4-mapped network is the IPv4 network it stands for. Raises ValueError where the text is no network, has
    bits set behind its prefix, or is written with a netmask.
    """
    address, slash, length = text.partition("/")
    if slash and not (length.isascii() and length.isdigit()):
        raise ValueError(f"{text!r} is no network")
    if "%" in address:
        raise ValueError(f"{text!r} names a zone")
    network = ipaddress.ip_network(text, strict=True)
    if isinstance(network, ipaddress.IPv6Network):
        mapped = network.network_address.ipv4_mapped
        if mapped is not None and network.prefixlen >= 96:
            return ipaddress.IPv4Network((mapped, network.prefixlen - 96))
    return network


class NetworkSet:
    """Networks that one asks whether an address is in."""

    def __init__(self, networks: Iterable[Network] = ()) -> None:
        self.networks = tuple(networks)
        # One set of prefixes per version and length: a question costs as many lookups as there are lengths.
        self._ipv4, self._ipv6 = (_by_length(self.networks, version) for version in (4, 6))

    def __contains__(self, client: ClientAddress) -> bool:
        number = _number(client)
        for shift, prefixes in self._ipv6 if ":" in client else self._ipv4:  # noqa: SIM110 - any() takes twice the time
            if number >> shift in prefixes:
                return True
        return False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NetworkSet) and set(self.networks) == set(other.networks)

    def __hash__(self) -> int:
        return hash(frozenset(self.networks))

    def __str__(self) -> str:
        return ", ".join(map(str, self.networks)) or "none"


@lru_cache(_IN_A_ROW)
def _number(client: ClientAddress) -> int:
    """Return an address as a number; inet_pton(3) takes a fifth of the time that ipaddress does."""
    return int.from_bytes(socket.inet_pton(socket.AF_INET6 if ":" in client else socket.AF_INET, client))


def _by_length(networks: Iterable[Network], version: int) -> list[tuple[int, set[int]]]:
    """Return the networks of one version as bits to shift an address by, and what may be left of it then."""
    found: dict[int, set[int]] = {}
    for network in networks:
        if network.version == version:
            shift = network.max_prefixlen - network.prefixlen
            found.setdefault(shift, set()).add(int(network.network_address) >> shift)
    return list(found.items())


NO_NETWORKS = NetworkSet()
NEVER = NetworkSet(map(parse_network, NEVER_AUTHORIZED))
