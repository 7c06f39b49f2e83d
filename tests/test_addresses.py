"""Client addresses and networks."""

import ipaddress
import socket

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from popbeforesmtp.addresses import (
    NEVER,
    NEVER_AUTHORIZED,
    NO_NETWORKS,
    ClientAddress,
    NetworkSet,
    is_address,
    parse_address,
    parse_network,
)

unhurried = settings(deadline=None)

# Letters of addresses, and bytes as a log's reader hands them on: undecodable ones are surrogates.
address_like = st.text("0123456789abcdefABCDEF:.%/[] \t\n\0٣x-", max_size=50)
any_bytes = st.binary(max_size=60).map(lambda data: data.decode("utf-8", "surrogateescape"))
ip_addresses = st.ip_addresses()

# Each network of DESIGN.md section 5: the address before it, its first, its last, the address behind it.
EDGES = {
    "0.0.0.0/8": (None, "0.0.0.0", "0.255.255.255", "1.0.0.0"),
    "127.0.0.0/8": ("126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0"),
    "169.254.0.0/16": ("169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0"),
    "224.0.0.0/4": ("223.255.255.255", "224.0.0.0", "239.255.255.255", None),
    "240.0.0.0/4": (None, "240.0.0.0", "255.255.255.255", None),
    "::/96": (None, "::", "::ffff:ffff", "::1:0:0"),
    "64:ff9b::/96": ("64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff", "64:ff9b::", "64:ff9b::ffff:ffff", "64:ff9b::1:0:0"),
    "100::/64": ("ff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "100::", "100::ffff:ffff:ffff:ffff", "100:0:0:1::"),
    "2002::/16": ("2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2002::", f"2002{':ffff' * 7}", "2003::"),
    "fe80::/10": (f"fe7f{':ffff' * 7}", "fe80::", f"febf{':ffff' * 7}", "fec0::"),
    "ff00::/8": (f"feff{':ffff' * 7}", "ff00::", f"ffff{':ffff' * 7}", None),
}


def client(text: str) -> ClientAddress:
    """Return an address that must be one."""
    found = parse_address(text)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("0.0.0.0", "0.0.0.0"),
        ("255.255.255.255", "255.255.255.255"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("2001:0db8::0001", "2001:db8::1"),
        ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),  # one group of zeros alone is not shortened
        ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
        ("2001:db8::192.0.2.1", "2001:db8::c000:201"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:0201", "192.0.2.1"),
        ("0:0:0:0:0:ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:0:192.0.2.1", "::ffff:0:c000:201"),  # not mapped: ffff stands one group too early
        ("::fffe:192.0.2.1", "::fffe:c000:201"),
        ("1::ffff:192.0.2.1", "1::ffff:c000:201"),
        ("::192.0.2.1", "::c000:201"),
        ("::1", "::1"),
        ("::", "::"),
    ],
)
def test_an_address_has_one_canonical_form(text: str, canonical: str) -> None:
    """Every spelling of an address becomes the one that Postfix looks up, and a mapped one the IPv4 address."""
    assert parse_address(text) == canonical


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "192.0.2", "192.0.2.1.", ".192.0.2.1", "192.0.2.1.5", "192.0.2.256", "192.0.2.-1", "192.0.2.+1"),
        *("192.0.2.01", "192.0.2.001", "0300.0.2.1", "0xc0.0.2.1", "3221225985", "192.0.513", "127.1"),
        *("192.0.2.1/32", "2001:db8::/32", "192.0.2.1:25", "[2001:db8::1]", "2001:db8::1%eth0", "fe80::1%1"),
        *(" 192.0.2.1", "192.0.2.1 ", "192.0.2.1\n", "\t192.0.2.1", "192.0.2.1\0", "192.0.2.1\0.example"),
        *("2001:db8::1\n", " 2001:db8::1", "2001:db8:::1", "2001::db8::1", "12001::1", "1:2:3:4:5:6:7", ":", ":::"),
        *("::ffff:192.0.2.01", "::ffff:192.0.2.256", "::ffff:192.0.2", "::ffff:1.2.3.4.5"),
        *(
            "localhost",
            "mail.example.com",
            "unknown",
            "١٩٢.0.2.1",
            "192。0。2。1",
            "192.0.2.1\udcff",
            "2001:db8::\udcff",
        ),
    ],
)
def test_what_is_not_exactly_an_address_is_none(text: str) -> None:
    """Names, blanks, zones, ports, prefix lengths, leading zeros and other digits make no address."""
    assert parse_address(text) is None


@unhurried
@given(address_like | any_bytes)
@example("1:2:3:4:5:6:7::")
@example("0:0::ffff:1.2.3.4")
@example("1.2.3.4\0")
@example("::1%lo")
def test_whatever_text_comes_is_an_address_for_us_only_where_python_says_so_too(text: str) -> None:
    """Two independent readers agree on which texts are addresses, and on which address; nothing raises."""
    found = parse_address(text)
    try:
        expected = None if "%" in text else ipaddress.ip_address(text)
    except ValueError:
        expected = None
    if expected is None:
        assert found is None
        return
    mapped = expected.ipv4_mapped if isinstance(expected, ipaddress.IPv6Address) else None
    assert found == str(mapped or expected)


@unhurried
@given(ip_addresses)
def test_the_canonical_form_is_python_s_and_reads_back_as_itself(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """Canonical text is a fixed point, whatever the spelling it was read from."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    canonical = str(mapped or address)
    for spelling in (str(address), address.exploded, address.exploded.upper()):
        assert parse_address(spelling) == canonical
    assert parse_address(canonical) == canonical


@unhurried
@given(st.integers(2**32, 2**128 - 1).filter(lambda number: number >> 32 != 0xFFFF))
@example(0x20010DB8_00000001_00010001_00010001)
@example(0xFFFF_0000_C0000201)
def test_an_ipv6_client_is_spelled_as_postfix_spells_it(number: int) -> None:
    """Our spelling is that of inet_ntop(3), the one Postfix asks with, except in ::/96, where nobody may relay."""
    spelled = socket.inet_ntop(socket.AF_INET6, number.to_bytes(16, "big"))
    assert parse_address(spelled) == spelled


@pytest.mark.parametrize("network", EDGES)
def test_a_never_network_begins_and_ends_where_it_says(network: str) -> None:
    """Both edges of a network are never authorized; the addresses next to it are, unless another network has them."""
    before, first, last, behind = EDGES[network]
    assert client(first) in NEVER
    assert client(last) in NEVER
    alone = NetworkSet([parse_network(network)])
    assert client(first) in alone
    assert client(last) in alone
    for outside in (before, behind):
        if outside is not None:
            assert client(outside) not in alone
            assert client(outside) not in NEVER


def test_the_never_networks_are_those_of_the_contract() -> None:
    """No network is missing from the table, and none was added."""
    assert set(NEVER_AUTHORIZED) == set(EDGES)
    assert len(NEVER_AUTHORIZED) == len(EDGES)
    assert {str(network) for network in NEVER.networks} == set(EDGES)


@pytest.mark.parametrize(
    "text",
    [
        *("10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "198.18.0.1", "192.0.0.8", "192.88.99.1"),
        *("192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "fd00::1", "fec0::1", "2001::1", "2600::1"),
    ],
)
def test_private_and_documentation_addresses_are_ordinary_clients(text: str) -> None:
    """Whatever else Python's ``is_private`` and ``is_reserved`` cover is no business of ours."""
    assert client(text) not in NEVER


@pytest.mark.parametrize("text", ["::ffff:127.0.0.1", "::ffff:0.0.0.0", "::ffff:224.0.0.1", "::ffff:255.255.255.255"])
def test_a_never_address_does_not_slip_through_as_a_mapped_one(text: str) -> None:
    """IPv4-mapped spellings of never-authorized addresses are never authorized."""
    assert client(text) in NEVER


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("192.0.2.1", "192.0.2.1/32"),
        ("192.0.2.1/32", "192.0.2.1/32"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("2001:db8::1", "2001:db8::1/128"),
        ("::/0", "::/0"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("::ffff:192.0.2.1", "192.0.2.1/32"),
        ("::ffff:0.0.0.0/96", "0.0.0.0/0"),
    ],
)
def test_a_network_is_read_in_every_spelling(text: str, network: str) -> None:
    """An address alone is a network of one, and an IPv4-mapped network the IPv4 network."""
    assert str(parse_network(text)) == network


@pytest.mark.parametrize(
    "text",
    [
        *("", "/", "192.0.2.0/", "/24", "192.0.2.1/24", "192.0.2.0/33", "192.0.2.0/-1", "192.0.2.0/24/8"),
        *(
            "192.0.2.0/255.255.255.0",
            "192.0.2.0/0.0.0.255",
            "192.0.2.0/ 24",
            "192.0.2.0/2٤",
            "192.0.2/24",
            "3221225984",
        ),
        *("2001:db8::/129", "2001:db8::1/32", "2001:db8::/ffff::", "::ffff:192.0.2.1/120", "hash:/etc/networks", "all"),
        "192.0.2.0 /24",
    ],
)
def test_what_is_not_exactly_a_network_is_refused(text: str) -> None:
    """Host bits behind the prefix, netmasks and other digits raise ValueError."""
    with pytest.raises(ValueError, match=r"network|bits set|IPv"):
        parse_network(text)


def networks() -> st.SearchStrategy[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Return networks of both versions, of every length."""
    v4 = st.builds(
        lambda ip, length: ipaddress.IPv4Network((ip, length), strict=False), st.ip_addresses(v=4), st.integers(0, 32)
    )
    v6 = st.builds(
        lambda ip, length: ipaddress.IPv6Network((ip, length), strict=False), st.ip_addresses(v=6), st.integers(0, 128)
    )
    return v4 | v6


@unhurried
@given(st.lists(networks(), max_size=8), ip_addresses, st.integers(-1, 1), st.booleans())
def test_a_set_of_networks_answers_as_asking_each_one_would(
    chosen: list[ipaddress.IPv4Network | ipaddress.IPv6Network],
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
    beside: int,
    last: bool,
) -> None:
    """Membership is the same as trying one network after the other, also at and next to every edge."""
    known = NetworkSet(chosen)
    tried = [address]
    for network in chosen:
        edge = int(network.broadcast_address if last else network.network_address) + beside
        if 0 <= edge < 2**network.max_prefixlen:
            tried.append(ipaddress.IPv4Address(edge) if network.version == 4 else ipaddress.IPv6Address(edge))
    for one in tried:
        asked = client(str(one))
        naive = any(ipaddress.ip_address(asked) in network for network in chosen)
        assert (asked in known) is naive


def test_an_ipv4_network_never_holds_the_ipv6_address_of_the_same_number() -> None:
    """Addresses of the two versions that are the same number are different clients."""
    everything4, everything6 = NetworkSet([parse_network("0.0.0.0/0")]), NetworkSet([parse_network("::/0")])
    assert client("192.0.2.1") in everything4
    assert client("::c000:201") not in everything4
    assert client("2001:db8::1") in everything6
    assert client("192.0.2.1") not in everything6


def test_sets_of_networks_are_equal_by_what_they_hold_and_say_it() -> None:
    """Order does not matter for equality; the text names the networks as they were given, or none."""
    one, two = parse_network("192.0.2.0/24"), parse_network("2001:db8::/32")
    assert NetworkSet([one, two]) == NetworkSet([two, one])
    assert hash(NetworkSet([one, two])) == hash(NetworkSet([two, one]))
    assert NetworkSet([one]) != NetworkSet([two])
    assert NetworkSet([one]) != "192.0.2.0/24"
    assert str(NetworkSet([two, one])) == "2001:db8::/32, 192.0.2.0/24"
    assert str(NO_NETWORKS) == "none"
    assert client("192.0.2.1") not in NO_NETWORKS


@given(
    st.one_of(
        st.binary(max_size=50),
        st.from_regex(rb"[0-9A-Fa-f.:%/ ]{0,45}"),
        st.ip_addresses().map(lambda a: str(a).encode()),
    )
)
def test_what_is_an_address_is_what_one_is_made_of(text: bytes) -> None:
    """Whoever only counts must not count what nobody would let in."""
    assert is_address(text) == (parse_address(text.decode("ascii", "replace")) is not None)
