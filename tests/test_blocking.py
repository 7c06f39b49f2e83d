"""Who is shut out for failed logins: as many as asked for and no fewer, for as long, and never whom we must not."""

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from inspect import signature

import pytest

from popbeforesmtp import blocking as module
from popbeforesmtp import rules
from popbeforesmtp.active import ActiveSet
from popbeforesmtp.addresses import ClientAddress, NetworkSet, parse_network
from popbeforesmtp.audit import Audit
from popbeforesmtp.bans import Limit
from popbeforesmtp.blocking import Blocking, Failures
from popbeforesmtp.blocksettings import COMMANDS
from popbeforesmtp.model import EventKind, Origin, SessionEvent
from popbeforesmtp.mtas import command
from popbeforesmtp.publisher import Publisher
from popbeforesmtp.recorder import Recorder
from popbeforesmtp.rules import Rules
from popbeforesmtp.stores.memory import MemoryStore
from popbeforesmtp.windows import Windows
from tests.clocks import START, FakeClock
from tests.scenes import play, until
from tests.test_pipeline import SetMap

ORIGIN = Origin("/var/log/mail.log", 4711)
RULES = Rules(timedelta(minutes=30))
LIMIT = Limit(3, timedelta(minutes=10), timedelta(hours=3))
BAD, GOOD = ClientAddress("192.0.2.66"), ClientAddress("192.0.2.10")
BAD6, NEIGHBOUR6 = ClientAddress("2001:db8:1:2::66"), ClientAddress("2001:db8:1:2:3:4:5:6")
NETWORK6 = ClientAddress("2001:db8:1:2::/64")


class Guard:
    """Blocking with all that it asks, on a clock that a test sets."""

    def __init__(self, limit: Limit | None = LIMIT, now_rules: Rules = RULES) -> None:
        self.clock = FakeClock()
        self.rules = now_rules
        self.windows = Windows(
            active=ActiveSet(),
            recorder=Recorder(MemoryStore()),
            publishers=[],
            clock=self.clock,
            audit=Audit(""),
            prefix=now_rules.ipv6_prefix,
        )
        self.blocking = Blocking(self.windows, self.clock)
        self.blocking.obey(limit)

    def hear(self, client: ClientAddress | None, kind: EventKind = EventKind.FAILURE, **changes: object) -> None:
        """Hear of one event, of now unless the changes say otherwise."""
        event = SessionEvent(kind, self.clock.now().wall, "dovecot", client, "alice", "imap")
        self.blocking.hear(replace(event, **changes), ORIGIN, self.rules)  # type: ignore[arg-type]

    def fail(self, client: ClientAddress = BAD, times: int = LIMIT.after, **changes: object) -> None:
        """Hear of failures."""
        for _ in range(times):
            self.hear(client, **changes)

    def grant(self, client: ClientAddress) -> None:
        """Let a client relay, as by hand."""
        now = self.clock.now()
        self.windows.grant(rules.by_hand(client, now.wall + timedelta(minutes=30), now, None, ""), now)

    @property
    def blocked(self) -> set[str]:
        """Who is blocked."""
        return set(self.blocking.blocked)


def networks(*texts: str) -> NetworkSet:
    """Make a set of networks."""
    return NetworkSet(map(parse_network, texts))


def test_an_address_is_blocked_after_so_many_failures_and_not_before() -> None:
    """And nobody else is."""
    guard = Guard()
    guard.fail(times=2)
    guard.fail(GOOD, times=2)
    assert guard.blocked == set()
    guard.fail(times=1)
    assert guard.blocked == {BAD}
    assert guard.windows.counts["blocked"] == 1


def test_nobody_is_blocked_unless_the_administrator_asks_for_it() -> None:
    """Who shares an address with an attacker would be shut out with him."""
    guard = Guard(limit=None)
    guard.fail(times=1000)
    assert guard.blocked == set()


def test_failures_count_only_within_their_time() -> None:
    """Three within ten minutes to the microsecond are too many, three in longer are not."""
    guard = Guard()
    guard.fail(times=2)
    guard.clock.advance(600, microseconds=1)
    guard.fail(times=1)
    assert guard.blocked == set()
    late = Guard()
    late.fail(times=2)
    late.clock.advance(600)
    late.fail(times=1)
    assert late.blocked == {BAD}


def test_a_slow_attacker_is_counted_by_a_sliding_time() -> None:
    """One failure each four minutes: a limit of four in ten minutes lets it be, one of three does not."""
    for after, expected in ((4, set()), (3, {BAD})):
        guard = Guard(replace(LIMIT, after=after))
        for _ in range(20):
            guard.clock.advance(240)
            guard.fail(times=1)
        assert guard.blocked == expected


def test_logs_out_of_order_block_nobody_for_failures_far_apart() -> None:
    """An old log is read beside a new one."""
    guard = Guard()
    for minutes in (0, 40, 20):
        guard.fail(times=1, time=START - timedelta(minutes=minutes))
    assert guard.blocked == set()


def test_a_block_ends_when_it_says() -> None:
    """So long after the failure that brought it, and whatever becomes of the wall clock."""
    guard = Guard()
    guard.fail()
    guard.clock.advance(3 * 3600 - 1)
    guard.blocking.expire()
    assert guard.blocked == {BAD}
    guard.clock.advance(1)
    guard.blocking.expire()
    assert guard.blocked == set()
    back = Guard()
    back.fail()
    back.clock.step(-7200)
    back.clock.advance(3 * 3600)
    back.blocking.expire()
    assert back.blocked == set()


def test_a_block_counts_from_the_stamp_of_the_failure() -> None:
    """What was read late does not shut out for longer."""
    guard = Guard()
    guard.fail(time=START - timedelta(hours=2))
    assert guard.blocking.blocked.expires_at(BAD, guard.clock.now()) == START + timedelta(hours=1)


@pytest.mark.parametrize(
    "changes",
    [
        {"genuine": False},
        {"time": None},
        {"time": START + rules.AHEAD + timedelta(microseconds=1)},
        {"time": START - LIMIT.duration},
        {"kind": EventKind.LOGOUT},
        {"kind": EventKind.OTHER},
        {"client": None},
    ],
    ids=["forged", "no time", "future", "stale", "logout", "other", "no address"],
)
def test_only_genuine_fresh_failures_count(changes: dict[str, object]) -> None:
    """Else whoever can write a line could shut anybody out."""
    guard = Guard()
    guard.fail(times=100, **changes)
    assert guard.blocked == set()


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


def test_an_ipv6_attacker_is_one_whatever_address_it_takes() -> None:
    """Its /64 is counted and blocked; the next one is somebody else's."""
    guard = Guard()
    for last in range(LIMIT.after):
        guard.fail(ClientAddress(f"2001:db8:1:2::{last + 1}"), times=1)
        guard.fail(ClientAddress(f"2001:db8:1:{last + 3}::1"), times=1)
    assert guard.blocked == {NETWORK6}
    assert guard.blocking.says(NEIGHBOUR6, guard.clock.now()) == "blocked until 2026-11-22T15:00:00+00:00"
    assert guard.blocking.says(ClientAddress("2001:db8:1:3::1"), guard.clock.now()) == "not blocked"


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


def test_failures_while_blocked_make_the_block_longer() -> None:
    """Where only one port is shut, the attacker goes on at another: each time that the limit is reached counts."""
    guard = Guard()
    guard.fail()
    guard.clock.advance(3600)
    guard.fail(times=2)
    assert guard.blocking.blocked.expires_at(BAD, guard.clock.now()) == START + timedelta(hours=3)
    guard.fail(times=1)
    assert guard.blocking.blocked.expires_at(BAD, guard.clock.now()) == START + timedelta(hours=4)
    assert guard.windows.counts["blocked"] == 2


def test_without_a_limit_all_blocks_end() -> None:
    """Nobody would end them later; another limit leaves them as they are, and counts anew."""
    guard = Guard()
    guard.fail()
    guard.fail(GOOD, times=2)
    guard.blocking.obey(replace(LIMIT, duration=timedelta(minutes=1)))
    assert guard.blocking.blocked.expires_at(BAD, guard.clock.now()) == START + timedelta(hours=3)
    guard.fail(GOOD, times=1)
    assert guard.blocked == {BAD}
    guard.blocking.obey(None)
    assert guard.blocked == set()


def test_the_same_limit_again_forgets_no_failure() -> None:
    """A reload for something else gives no attacker a fresh start."""
    guard = Guard()
    guard.fail(times=2)
    guard.blocking.obey(replace(LIMIT))
    guard.fail(times=1)
    assert guard.blocked == {BAD}


def test_an_attacker_from_everywhere_fills_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many are counted, each with so many times; who failed longest ago is forgotten first."""
    monkeypatch.setattr(module, "MOST", 1000)
    failures = Failures(replace(LIMIT, after=20))
    tracemalloc.start()
    for number in range(3000):
        for second in range(19):
            failures.failed(ClientAddress(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"), second * 1.0)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(failures) == 1000
    assert most < 2 << 20
    first, last = ClientAddress("10.0.0.0"), ClientAddress(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert not failures.failed(first, 20.0)
    assert failures.failed(last, 20.0)


def test_failures_of_long_ago_take_no_memory() -> None:
    """Who has been quiet for longer than failures count is forgotten."""
    failures = Failures(LIMIT)
    for number in range(100):
        failures.failed(ClientAddress(f"192.0.2.{number}"), 0.0)
    failures.failed(BAD, 601.0)
    assert len(failures) == 1


def test_only_so_many_are_blocked_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are blocked stay so, and can be so for longer; when some end, others can be again."""
    monkeypatch.setattr(module, "MOST", 2)
    guard = Guard()
    for client in (BAD, GOOD):
        assert guard.blocking.warnings() == []
        guard.fail(client)
    guard.fail(BAD6)
    assert guard.blocked == {BAD, GOOD}
    assert guard.windows.counts["not blocked: too many are"] == 1
    assert guard.blocking.warnings() == ["2 addresses are blocked; no more can be, until some of these end"]
    guard.clock.advance(3600)
    guard.fail(BAD)
    guard.clock.advance(2 * 3600)
    guard.blocking.expire()
    assert guard.blocked == {BAD}
    guard.fail(BAD6)
    assert guard.blocked == {BAD, NETWORK6}


def test_the_program_hears_who_comes_who_stays_and_who_goes() -> None:
    """By a publisher of its own, with the ends of the blocks."""

    class TimedMap(SetMap):
        timed = True

    async def scene() -> None:
        guard, told = Guard(), TimedMap()
        publisher = Publisher(told, lambda: guard.blocking.blocked.ends(guard.clock.now()))
        guard.blocking.told = publisher
        await publisher.make_true()
        publisher.start()
        guard.fail()
        guard.fail(BAD6)
        end = START + timedelta(hours=3)
        await until(lambda: told.clients == {BAD: end, NETWORK6: end})
        guard.clock.advance(60)
        guard.fail()
        guard.blocking.look()
        await until(lambda: told.clients == {BAD: end + timedelta(minutes=1), NETWORK6: end})
        guard.hear(BAD, EventKind.LOGIN)
        await until(lambda: told.clients == {NETWORK6: end})
        guard.clock.advance(3 * 3600)
        guard.blocking.expire()
        await until(lambda: told.clients == {})
        await publisher.close()

    play(scene)


def test_what_is_blocked_never_relays() -> None:
    """No window, store or lookup ever hears of it."""
    guard = Guard()
    guard.fail()
    guard.fail(BAD6)
    assert not guard.windows.permits(BAD)
    assert not guard.windows.permits(BAD6)
    assert len(guard.windows.active) == 0
    assert not guard.windows.recorder._batch


def test_the_settings_of_the_program_are_those_of_a_command() -> None:
    """Whatever it takes but what it is given."""
    opening: Callable[..., object] = command.open_map
    assert set(COMMANDS) == set(signature(opening).parameters) - {"clock"}
