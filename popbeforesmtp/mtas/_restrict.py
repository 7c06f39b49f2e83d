"""Networks that a mail server shall refuse, as keys of Postfix's indexed maps.

Postfix looks an address up, then what is left of its text when the last group is cut off, again and again (access(5)).
So only a network whose addresses all begin with the same text, and no others do, can be a key.
"""

import ipaddress
from collections.abc import Iterable
from itertools import pairwise

from popbeforesmtp.addresses import Network
from popbeforesmtp.errors import ConfigError

RESULT = "REJECT this network must log in to POP or IMAP first"


def keys(networks: Iterable[Network]) -> dict[str, str]:
    """Return the entries that refuse these networks. Raises ConfigError where one cannot be said."""
    return dict.fromkeys(map(_key, networks), RESULT)


def _key(network: Network) -> str:
    if isinstance(network, ipaddress.IPv4Network):
        if network.prefixlen in (8, 16, 24, 32):
            return ".".join(str(network.network_address).split(".")[: network.prefixlen // 8])
        raise ConfigError(
            f'[rules] restrict = "{network}": a map can say IPv4 networks of 8, 16, 24 and 32 bits only; write it as'
            " several of those, or use a lookup (socketmap, policy) instead of this map"
        )
    groups = network.network_address.exploded.split(":")[: network.prefixlen // 16]
    written = [f"{int(group, 16):x}" for group in groups]
    # Two zeros in a row, and a zero at the end that others may follow, are written as "::" in some addresses.
    shortened = ("0", "0") in pairwise(written) or written[-1:] == ["0"]
    if network.prefixlen % 16 or not 16 <= network.prefixlen <= 112 or shortened:
        raise ConfigError(
            f'[rules] restrict = "{network}": a map can say IPv6 networks of 16, 32, 48 … bits only, that do not end'
            " with a group of zeros; use a lookup (socketmap, policy) instead of this map"
        )
    return ":".join(written)
