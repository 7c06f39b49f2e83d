"""How much of the world one may trust."""

import pytest

from popbeforesmtp.addresses import parse_network
from popbeforesmtp.links.postfix_networks import _is_wide


@pytest.mark.parametrize(
    "text", ["0.0.0.0/0", "128.0.0.0/1", "100.64.0.0/10", "192.0.0.0/8", "::/0", "::/1", "2001::/16", "::ffff:0:0/96"]
)
def test_half_a_world_is_too_much(text: str) -> None:
    """Nor are a carrier's customers one's own, nor IPv4 as a whole when it is written as IPv6."""
    assert _is_wide(parse_network(text))


@pytest.mark.parametrize(
    "text", ["127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "192.0.2.0/24", "::1/128", "fd00::/8",
             "2001:db8::/32", "::ffff:127.0.0.0/104"]
)  # fmt: skip
def test_what_one_owner_has_is_not(text: str) -> None:
    """Private networks, and those that are handed out."""
    assert not _is_wide(parse_network(text))
