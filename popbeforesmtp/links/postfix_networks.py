"""Postfix trusts the networks of its owner, and not half of the world."""

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network

from popbeforesmtp import postconf
from popbeforesmtp.addresses import Network, parse_network
from popbeforesmtp.links import Finding, Machine, sound, wrong

PLACE = 85

_SHORTEST = {4: 16, 6: 32}  # bits of a network that one owner may well have
_OWN = tuple(map(parse_network, ("10.0.0.0/8", "127.0.0.0/8", "172.16.0.0/12", "fc00::/7", "fe80::/10")))


def look(machine: Machine) -> Iterator[Finding]:
    """Look at mynetworks, and at who may claim another address (XCLIENT)."""
    if machine.postfix is None:
        return
    wide = False
    for network in postconf.trusted_networks().networks:
        if _is_wide(network):
            wide = True
            yield wrong(
                f"main.cf: mynetworks holds {network}: everybody in it may relay without any login",
                "postconf -e 'mynetworks = …' with your own networks only",
            )
    if machine.postfix.parameters.get("mynetworks_style") == "class" and _is_default("mynetworks"):
        wide = True
        yield wrong(
            "main.cf: mynetworks_style = class trusts whole classes of networks, strangers in them included",
            "postconf -e 'mynetworks_style = host'",
        )
    for service in machine.postfix.services:
        hosts = service.value("smtpd_authorized_xclient_hosts").replace(",", " ").split()
        for host in hosts:
            if host in ("0.0.0.0/0", "[::]/0", "::/0", "static:all"):
                wide = True
                yield wrong(
                    f"{service.place('smtpd_authorized_xclient_hosts')}: {host} lets everybody claim any address",
                    service.setting("smtpd_authorized_xclient_hosts", "your own proxies only"),
                )
    if not wide:
        yield sound(f"trusted networks: {machine.found.trusted}")


def _is_wide(network: Network) -> bool:
    """Say whether no single owner has such a network, but for those that are everybody's own (RFC 1918, RFC 4193)."""
    return network.prefixlen < _SHORTEST[network.version] and not any(_holds(own, network) for own in _OWN)


def _holds(outer: Network, network: Network) -> bool:
    if isinstance(outer, IPv4Network) and isinstance(network, IPv4Network):
        return network.subnet_of(outer)
    return isinstance(outer, IPv6Network) and isinstance(network, IPv6Network) and network.subnet_of(outer)


def _is_default(parameter: str) -> bool:
    """Say whether main.cf does not set a parameter."""
    return not any(line.startswith(f"{parameter} ") for line in postconf.configured().splitlines())
