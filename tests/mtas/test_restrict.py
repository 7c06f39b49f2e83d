"""Networks that are refused, as keys of Postfix's maps: exactly those, but for the clients in them."""

import ipaddress
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from popbeforesmtp.addresses import Network, parse_address, parse_network
from popbeforesmtp.errors import ConfigError
from popbeforesmtp.mtas._restrict import RESULT, keys
from popbeforesmtp.mtas.postfix import PostfixMap, open_map
from tests.mtas.contract import A, B, C, ends
from tests.mtas.maps import needs_postfix, postmap

GROUP = st.sampled_from([0, 0, 1, 0xDB8]) | st.integers(0, 65535)
V6 = st.tuples(st.integers(0x2000, 0x3FFF), *[GROUP] * 7).map(
    lambda groups: ipaddress.IPv6Address(":".join(f"{group:x}" for group in groups))
)
V4 = st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address)


def looked_up(client: str) -> Iterator[str]:
    """List what Postfix looks up for an address (smtpd_check.c, check_addr_access)."""
    separator = ":" if ":" in client else "."
    yield client
    while separator in client:
        client = client.rpartition(separator)[0]
        yield client


def found(entries: dict[str, str], client: str) -> str | None:
    """Return what Postfix finds of an address."""
    return next((entries[key] for key in looked_up(client) if key in entries), None)


@given(st.data(), V6 | V4, st.integers(1, 8))
def test_a_network_that_can_be_said_is_refused_exactly(data: st.DataObject, inside: object, part: int) -> None:
    """Whatever an address in it looks like, and none beside it."""
    assert isinstance(inside, ipaddress.IPv6Address | ipaddress.IPv4Address)
    step = 16 if inside.version == 6 else 8
    network = ipaddress.ip_network((inside, min(part, 4 if step == 8 else 7) * step), strict=False)
    try:
        entries = keys([network])
    except ConfigError:
        assume(False)
    near = int(network.network_address) ^ data.draw(st.integers(0, 2**network.max_prefixlen - 1)) >> data.draw(
        st.integers(0, network.max_prefixlen - 1)
    )
    for number in (int(inside), near, int(network.network_address), int(network.broadcast_address)):
        address = ipaddress.ip_address(number) if step == 8 else ipaddress.IPv6Address(number)
        if step == 16 and not 0x2000 <= number >> 112 <= 0x3FFF:
            continue
        client = parse_address(str(address))
        assert client is not None
        assert (found(entries, client) == RESULT) is (address in network), client


@pytest.mark.parametrize(
    ("network", "key"),
    [
        ("10.0.0.0/8", "10"),
        ("198.51.0.0/16", "198.51"),
        ("192.0.2.0/24", "192.0.2"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::/32", "2001:db8"),
        ("2001:db8:0:2::/64", "2001:db8:0:2"),
    ],
)
def test_a_network_is_written_as_postfix_looks_it_up(network: str, key: str) -> None:
    """In the form of its addresses' beginnings."""
    assert keys([parse_network(network)]) == {key: RESULT}


@pytest.mark.parametrize(
    "network",
    [
        *("0.0.0.0/0", "192.0.2.0/25", "192.0.2.2/31", "10.0.0.0/9"),
        *("::/0", "2001:db8::/33", "2001:db8::/48", "2001:db8:0:0:1::/80", "2001:db8:1::/127", "2001:db8::1"),
    ],
)
def test_a_network_that_cannot_be_said_is_a_mistake_in_the_configuration(network: str) -> None:
    """With its name, and a way out."""
    with pytest.raises(ConfigError) as raised:
        keys([parse_network("10.0.0.0/8"), parse_network(network)])
    assert f'[rules] restrict = "{parse_network(network)}": a map can say' in str(raised.value)
    assert "use a lookup (socketmap, policy) instead of this map" in str(raised.value)


# With Postfix's own program


RESTRICT: tuple[Network, ...] = tuple(map(parse_network, ("192.0.2.0/24", "198.51.100.23/32", "2001:db8::/32")))
REFUSED = {"192.0.2": RESULT, "198.51.100.23": RESULT, "2001:db8": RESULT}


def holds(folder: Path, kind: str) -> dict[str, str]:
    """Return what Postfix finds."""
    asked = [A, B, C, *REFUSED, "203.0.113.1"]
    return dict(
        row.split("\t") for row in postmap("-q", "-", f"{kind}:{folder}/clients", said="\n".join(asked)).splitlines()
    )


@needs_postfix
class TestPostfixMapWithRestrictions:
    """Whatever comes and goes, the refused networks stay."""

    @pytest.fixture
    def made(self, tmp_path: Path, kind: str) -> Iterator[PostfixMap]:
        """Open a map that refuses networks."""
        made = open_map(map=f"{kind}:{tmp_path}/clients", reload="never", restrict=RESTRICT)
        made.replace({})
        yield made
        made.close()

    def test_a_client_inside_is_let_through_and_refused_again_when_it_leaves(
        self, made: PostfixMap, tmp_path: Path, kind: str
    ) -> None:
        """Also one whose own address is what is refused."""
        assert holds(tmp_path, kind) == REFUSED
        made.change(ends([A, C]), [])
        assert holds(tmp_path, kind) == REFUSED | {A: "OK", C: "OK"}
        made.change(ends([B]), [A, C])
        assert holds(tmp_path, kind) == REFUSED | {B: "OK"}
        made.replace(ends([C]))
        assert holds(tmp_path, kind) == REFUSED | {C: "OK"}
        made.replace({})
        assert holds(tmp_path, kind) == REFUSED

    def test_a_map_that_lets_nobody_in_refuses_all_the_same(self, made: PostfixMap, tmp_path: Path, kind: str) -> None:
        """Where nothing can be written any more."""
        made.replace(ends([A, C]))
        made.shut()
        assert holds(tmp_path, kind) == REFUSED

    def test_other_networks_take_the_place_of_the_old_ones(self, made: PostfixMap, tmp_path: Path, kind: str) -> None:
        """Also in the map that is kept ready for nobody, and none at all leave none."""
        made.replace(ends([A]))
        made.close()
        for restrict, refused in (((parse_network("10.0.0.0/8"),), {"10"}), ((), set())):
            other = open_map(map=f"{kind}:{tmp_path}/clients", reload="never", restrict=restrict)
            other.replace(ends([A]))
            assert holds(tmp_path, kind) == {A: "OK"}
            assert (postmap("-q", "-", f"{kind}:{tmp_path}/clients", said="10") != "") is bool(refused)
            other.shut()
            assert holds(tmp_path, kind) == {}
            assert (postmap("-q", "-", f"{kind}:{tmp_path}/clients", said="10") != "") is bool(refused)
            other.close()
