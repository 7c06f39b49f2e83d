"""What somebody revoked by hand, and whom it concerns."""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.model import Tombstone

Tombstones = Mapping[tuple[str, str], Tombstone]
"""By kind and name."""


def newest(tombstones: Iterable[Tombstone]) -> dict[tuple[str, str], Tombstone]:
    """Put tombstones in the form that rules ask, of each name the one that says most."""
    found: dict[tuple[str, str], Tombstone] = {}
    for tombstone in tombstones:
        name = (tombstone.kind, tombstone.name)
        old = found.get(name)
        if old is not None:
            tombstone = tombstone._replace(at=max(old.at, tombstone.at), until=max(old.until, tombstone.until))
        found[name] = tombstone
    return found


def concerning(
    tombstones: Tombstones, client: ClientAddress, network: ClientAddress, granted: ClientAddress, user: str
) -> Iterator[Tombstone]:
    """Give those that concern an account on a client.

    ``network`` is the client's, of the length that is granted, and ``granted`` the one of both that a login authorizes.
    """
    for name in dict.fromkeys((("all", ""), ("address", client), ("address", network), ("user", user.casefold()))):
        tombstone = tombstones.get(name)
        if tombstone is not None:
            yield tombstone
    if ":" not in client:
        return
    length = _length(network)
    for (kind, other), tombstone in tombstones.items():  # of when prefixes of another length were granted
        if kind != "address" or ":" not in other or _length(other) == length or other == client:
            continue
        if overlap(other, granted):
            yield tombstone


def overlap(one: str, other: str) -> bool:
    """Say whether two clients are the same, or one is a network that the other lies in."""
    if one == other or "/" not in one + other or ":" not in one or ":" not in other:
        return one == other
    return ipaddress.IPv6Network(one).overlaps(ipaddress.IPv6Network(other))


def _length(client: str) -> int:
    return int(client.partition("/")[2] or 128)
