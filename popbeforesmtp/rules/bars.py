"""Which addresses may be authorized at all, and whether as themselves or as their whole prefix."""

import ipaddress
from collections.abc import Iterator

from popbeforesmtp.addresses import NEVER, ClientAddress, prefix_of
from popbeforesmtp.model import Reason, Tombstone
from popbeforesmtp.revocations import concerning
from popbeforesmtp.rules.ruleset import Rules


def bar(client: ClientAddress, rules: Rules) -> Reason | None:
    """Say why an address may never be authorized, also if it was before the rules were changed."""
    if "/" in client:
        length = int(client.partition("/")[2])
        return Reason.PREFIX if length != rules.ipv6_prefix else bar_network(client, rules)
    if client in NEVER or client in rules.never:
        return Reason.NEVER
    return Reason.OWN if client in rules.own else None


def bar_network(client: ClientAddress, rules: Rules) -> Reason | None:
    """Say why an IPv6 network holds an address that may never be authorized."""
    network = ipaddress.IPv6Network(client)
    for known in (*NEVER.networks, *rules.never.networks):
        if isinstance(known, ipaddress.IPv6Network) and known.overlaps(network):
            return Reason.NEVER
    return Reason.OWN if any(ipaddress.ip_address(own) in network for own in rules.own) else None


def granted_to(client: ClientAddress, rules: Rules) -> ClientAddress:
    """Return what a login from an address authorizes: the address, or its whole prefix where that harms nobody."""
    prefix = prefix_of(client, rules.ipv6_prefix)
    return client if prefix != client and bar(prefix, rules) is not None else prefix


def tombstones_of(client: ClientAddress, user: str, rules: Rules) -> Iterator[Tombstone]:
    """Give the revocations that concern an account on a client."""
    if not rules.tombstones:
        return iter(())
    whole = "/" in client
    network = client if whole else prefix_of(client, rules.ipv6_prefix)
    return concerning(rules.tombstones, client, network, client if whole else granted_to(client, rules), user)
