"""Who is never blocked, and who is let out: whom we must not shut out, and who has shown that they belong there."""

from dataclasses import replace
from datetime import timedelta

import pytest

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.model import EventKind
from popbeforesmtp.rules import Rules
from tests.clocks import START
from tests.guard import BAD, BAD6, GOOD, LIMIT, NEIGHBOUR6, NETWORK6, RULES, Guard
from tests.test_rules import networks


@pytest.mark.parametrize(
    ("client", "now_rules"),
    [
        (BAD, replace(RULES, trusted=networks("192.0.2.0/24"))),
        (BAD, replace(RULES, never=networks("192.0.2.0/24"))),
        (BAD, replace(RULES, own=frozenset((BAD,)))),
        (ClientAddress("127.0.0.1"), RULES),
        (ClientAddress("::1"), RULES),
        (BAD6, replace(RULES, trusted=networks("2001:db8::/32"))),
        (BAD6, replace(RULES, trusted=networks(f"{NEIGHBOUR6}/128"))),
        (BAD6, replace(RULES, never=networks(f"{NEIGHBOUR6}/128"))),
        (BAD6, replace(RULES, own=frozenset((NEIGHBOUR6,)))),
    ],
    ids=[
        "trusted",
        "never",
        "own",
        "loopback",
        "loopback6",
        "trusted6",
        "trusted in /64",
        "never in /64",
        "own in /64",
    ],
)
def test_an_attacker_gets_no_proxy_blocked(client: ClientAddress, now_rules: Rules) -> None:
    """Nor a webmail, nor this host: neither an address of ours, nor the /64 that it is in."""
    guard = Guard(now_rules=now_rules)
    guard.fail(client, times=100)
    assert guard.blocked == set()
    guard.rules = RULES
    guard.fail(BAD)
    assert guard.blocked == {BAD}


@pytest.mark.parametrize(("client", "name"), [(BAD, BAD), (BAD6, NETWORK6)])
def test_who_is_trusted_from_now_on_is_let_out(client: ClientAddress, name: ClientAddress) -> None:
    """Rules that change count for who is blocked already; others stay."""
    guard = Guard()
    guard.fail(client)
    guard.fail(GOOD)
    assert guard.blocked == {name, GOOD}
    guard.blocking.spare(replace(RULES, trusted=networks(name)))
    assert guard.blocked == {GOOD}


@pytest.mark.parametrize(("client", "bad"), [(BAD, BAD), (NEIGHBOUR6, BAD6)])
def test_a_login_starts_the_count_anew_and_lets_out(client: ClientAddress, bad: ClientAddress) -> None:
    """Somebody there is no attacker."""
    guard = Guard()
    guard.fail(bad, times=2)
    guard.hear(client, EventKind.LOGIN)
    guard.fail(bad, times=2)
    assert guard.blocked == set()
    guard.fail(bad, times=1)
    assert guard.blocked
    guard.hear(client, EventKind.LOGIN)
    assert guard.blocked == set()
    assert guard.windows.counts["unblocked"] == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"genuine": False},
        {"mechanism": "ANONYMOUS"},
        {"user": ""},
        {"user": None},
        {"time": None},
        {"time": START + timedelta(days=1)},
        {"time": START - LIMIT.duration},
    ],
    ids=["forged", "anonymous", "empty", "no user", "no time", "future", "stale"],
)
def test_a_login_that_proves_nothing_lets_nobody_out(changes: dict[str, object]) -> None:
    """Nor starts the count anew."""
    guard = Guard()
    guard.fail()
    guard.hear(BAD, EventKind.LOGIN, **changes)
    assert guard.blocked == {BAD}
    guard.fail(GOOD, times=2)
    guard.hear(GOOD, EventKind.LOGIN, **changes)
    guard.fail(GOOD, times=1)
    assert guard.blocked == {BAD, GOOD}


def test_a_login_that_opens_no_relay_speaks_for_its_address_all_the_same() -> None:
    """An office where one telephone has an old password reads its mail by a service that is not configured."""
    guard = Guard(now_rules=replace(RULES, services=frozenset(("pop3",))))
    guard.fail(times=2)
    guard.hear(BAD, EventKind.LOGIN)
    guard.fail(times=2)
    assert guard.blocked == set()


@pytest.mark.parametrize(
    ("granted", "bad", "prefix"),
    [
        (BAD, BAD, 128),
        (BAD6, BAD6, 128),
        (NEIGHBOUR6, BAD6, 128),
        (NETWORK6, BAD6, 64),
        (ClientAddress("2001:db8:1::/48"), BAD6, 48),
        (ClientAddress("2001:db8:1:2:3::/80"), BAD6, 80),
    ],
    ids=["address", "address6", "in the same /64", "/64", "/48", "/80"],
)
def test_who_may_relay_now_is_not_blocked(granted: ClientAddress, bad: ClientAddress, prefix: int) -> None:
    """Nor the /64 that it is in; once the window has ended, failures count from the beginning."""
    guard = Guard(now_rules=replace(RULES, ipv6_prefix=prefix))
    guard.grant(granted)
    guard.fail(bad, times=5)
    assert guard.blocked == set()
    assert guard.windows.counts["not blocked: may relay"] == 1
    guard.clock.advance(1800)
    guard.windows.expire()
    guard.fail(bad, times=2)
    assert guard.blocked == set()
    guard.fail(bad, times=1)
    assert len(guard.blocked) == 1


def test_who_is_granted_by_hand_is_let_out() -> None:
    """The administrator knows better."""
    guard = Guard()
    guard.fail()
    guard.blocking.forgive(BAD, "granted by hand")
    assert guard.blocked == set()
