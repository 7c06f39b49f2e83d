"""The rules at each boundary second, over daylight saving time, clock steps and suspend."""

import dataclasses
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from popbeforesmtp.accounts import Accounts
from popbeforesmtp.active import ActiveSet
from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.header import HeaderReader
from popbeforesmtp.model import Authorization, Reason, Tombstone, Verdict
from popbeforesmtp.rules import Rules, Window, by_hand, decide, grace_for, granted_to, hold, taken_back
from tests.clocks import START, FakeClock
from tests.test_rules import CLIENT, GRACE, LOGIN, MICRO, NOW, ORIGIN, ask, granted, networks

HOUR = timedelta(hours=1)
V6 = ClientAddress("2001:db8:1:2::5")
NET = ClientAddress("2001:db8:1:2::/64")


def stone(kind: str = "all", name: str = "", *, until: timedelta = timedelta()) -> Rules:
    """Return rules with a revocation at this moment."""
    tombstone = Tombstone(kind, name, NOW.wall, NOW.wall + until)
    return Rules(grace=GRACE, tombstones={(kind, name): tombstone})


# Grace


@pytest.mark.parametrize(
    ("user", "service", "grace"),
    [
        ("scanner@example.com", "imap", 480),
        ("SCANNER@EXAMPLE.COM", None, 480),
        ("alice@example.com", "pop3", 60),
        ("alice@example.com", "imap", 30),
        ("alice@example.com", None, 30),
        ("bob@example.org", "imap", 5),
        ("scanner@example.org", "pop3", 60),
    ],
)
def test_the_first_window_that_fits_says_how_long(user: str, service: str | None, grace: int) -> None:
    """By account, by service, by both; a service that the log does not tell fits none."""
    windows = (
        Window(timedelta(hours=8), Accounts(["scanner@example.com"])),
        Window(HOUR, services=frozenset(("pop3",))),
        Window(timedelta(minutes=5), Accounts(["*@example.org"]), frozenset(("imap",))),
    )
    assert grace_for(user, service, Rules(grace=GRACE, windows=windows)) == timedelta(minutes=grace)


@pytest.mark.parametrize(("ago", "verdict"), [(HOUR - MICRO, Verdict.GRANT), (HOUR, Verdict.REFUSE)])
def test_a_login_is_stale_by_its_own_grace_period(ago: timedelta, verdict: Verdict) -> None:
    """Not by the common one; a shorter one counts too."""
    event = LOGIN._replace(time=NOW.wall - ago)
    for common in (GRACE, timedelta(hours=2)):
        assert ask(event, Rules(grace=common, windows=(Window(HOUR),))).verdict is verdict


@pytest.mark.parametrize("longest", [Rules(GRACE), Rules(GRACE, (Window(HOUR),)), Rules(GRACE, hold=2 * HOUR)])
def test_logs_are_read_from_as_far_back_as_anything_counts(longest: Rules) -> None:
    """The longest grace period, or the hold."""
    assert longest.longest == max(GRACE, longest.hold, *(window.grace for window in longest.windows), GRACE)


@pytest.mark.parametrize(
    ("ago", "held", "reason"),
    [
        (GRACE, False, Reason.STALE),
        (GRACE, True, None),
        (2 * HOUR - MICRO, True, None),
        (2 * HOUR, True, Reason.STALE),
    ],
)
def test_a_session_that_is_open_counts_from_its_login(ago: timedelta, held: bool, reason: Reason | None) -> None:
    """To the microsecond, and only where it is held."""
    event, rules = LOGIN._replace(time=NOW.wall - ago), Rules(grace=GRACE, hold=2 * HOUR)
    assert decide(event, ORIGIN, NOW, rules, held=held).reason is reason


def test_a_hold_ends_at_most_so_long_after_the_login() -> None:
    """On both clocks, beside the grace period, as the session's own."""
    rules = Rules(grace=GRACE, hold=2 * HOUR)
    grant = granted(ask(LOGIN._replace(time=NOW.wall - GRACE / 2), rules))
    held = hold(grant, "dovecot AbC", NOW, rules)
    assert (held.rule, held.key, grant.key) == ("hold", ("alice", "dovecot AbC"), ("alice", ""))
    assert held.expires_at == NOW.wall - GRACE / 2 + 2 * HOUR
    assert held.deadline == NOW.boottime + 7200 - 900


# The two clocks


@pytest.mark.parametrize("kind", ["grace", "hold", "by hand"])
@pytest.mark.parametrize(
    ("step", "suspended", "left"),
    [
        (0, 0, 1800),
        (-3600, 0, 1800),  # set back: CLOCK_BOOTTIME ends it
        (3600, 0, -1800),  # set forward: the wall clock ends it
        (600, 0, 1200),
        (0, 1200, 600),
        (0, 1800, 0),
        (-3600, 1799, 1),
    ],
)
def test_no_step_of_the_clock_and_no_suspend_makes_a_window_longer(
    kind: str, step: float, suspended: float, left: float
) -> None:
    """Whichever clock comes first ends it, to the microsecond, whatever opened it."""
    clock = FakeClock()
    now, rules = clock.now(), Rules(grace=GRACE, hold=GRACE)
    login = granted(decide(LOGIN._replace(time=now.wall), ORIGIN, now, rules))
    given = {
        "grace": login,
        "hold": hold(login, "dovecot AbC", now, rules),
        "by hand": by_hand(CLIENT, now.wall + GRACE, now, 0, ""),
    }[kind]
    active = ActiveSet()
    active.grant(given, now)
    clock.step(step)
    clock.suspend(suspended)
    assert active.permits(CLIENT, clock.now()) is (left > 0)
    if left > 0:
        assert active.permits(CLIENT, clock.advance(left - 0.000001))
        assert not active.permits(CLIENT, clock.advance(microseconds=1))


@pytest.mark.parametrize(("before", "left"), [("00:20", None), ("01:20", 20)], ids=["first 02:30", "second 02:30"])
def test_in_the_repeated_hour_a_login_is_as_old_as_the_lines_around_it(before: str, left: int | None) -> None:
    """At 02:40 of winter time a stamp of 02:30 is ten minutes old or seventy: the line before it says which."""
    now = FakeClock(datetime(2026, 10, 25, 1, 40, tzinfo=UTC)).now()
    previous = datetime.fromisoformat(f"2026-10-25T{before}:00+00:00")
    reader = HeaderReader(ZoneInfo("Europe/Berlin"), previous)
    message = reader.read(b"Oct 25 02:30:00 mx1 dovecot: x", now.wall)
    assert message is not None
    decision = decide(LOGIN._replace(time=message.time), ORIGIN, now, Rules(grace=GRACE))
    if left is None:
        assert decision.reason is Reason.STALE
    else:
        assert granted(decision).remaining(now) == left * 60


# Revocations


@pytest.mark.parametrize(("after", "reason"), [(-MICRO, Reason.REVOKED), (timedelta(), Reason.REVOKED), (MICRO, None)])
@pytest.mark.parametrize(("kind", "name"), [("all", ""), ("address", CLIENT), ("user", "alice")])
def test_no_login_stamped_before_a_revocation_counts(
    kind: str, name: str, after: timedelta, reason: Reason | None
) -> None:
    """Nor one of the same moment; the next one does."""
    later = NOW._replace(wall=NOW.wall + HOUR / 6)
    assert ask(LOGIN._replace(time=NOW.wall + after), stone(kind, name), later).reason is reason


def test_of_the_second_of_a_revocation_no_whole_second_counts() -> None:
    """A log with whole seconds says 12:00:00 for all of that second; the next one is later without a doubt."""
    at = START.replace(microsecond=1)
    rules = Rules(grace=GRACE, tombstones={("all", ""): Tombstone("all", "", at, at)})
    now = FakeClock(START + timedelta(seconds=5)).now()
    assert ask(LOGIN._replace(time=START), rules, now).reason is Reason.REVOKED
    assert ask(LOGIN._replace(time=START + timedelta(seconds=1)), rules, now).verdict is Verdict.GRANT


@pytest.mark.parametrize(("after", "reason"), [(HOUR - MICRO, Reason.REVOKED), (HOUR, None)])
def test_until_its_end_a_revocation_refuses_new_logins(after: timedelta, reason: Reason | None) -> None:
    """To the microsecond."""
    now = NOW._replace(wall=NOW.wall + after)
    assert ask(LOGIN._replace(time=now.wall), stone(until=HOUR), now).reason is reason


@pytest.mark.parametrize("kind", ["all", "user", "address"])
def test_a_clock_that_is_set_back_opens_nothing_that_was_revoked(kind: str) -> None:
    """What is stamped before the revocation may be older than it: in doubt no relay, until the clock has come round."""
    clock = FakeClock(NOW.wall)
    rules = stone(kind, {"all": "", "user": "alice", "address": CLIENT}[kind], until=GRACE)
    now = clock.step(-3600)
    assert ask(LOGIN._replace(time=now.wall), rules, now).reason is Reason.REVOKED
    now = clock.advance(3600)
    assert ask(LOGIN._replace(time=now.wall), rules, now).reason is Reason.REVOKED
    now = clock.suspend(1800)
    assert ask(LOGIN._replace(time=now.wall), rules, now).reason is None


@pytest.mark.parametrize(("kind", "name"), [("address", "192.0.2.11"), ("user", "bob"), ("address", NET)])
def test_others_are_not_concerned(kind: str, name: str) -> None:
    """By a revocation of another address or account."""
    assert ask(LOGIN, stone(kind, name, until=HOUR)).verdict is Verdict.GRANT


def test_an_account_is_revoked_however_it_is_written() -> None:
    """Upper and lower case are the same to most servers."""
    assert ask(LOGIN._replace(user="ALICE"), stone("user", "alice", until=HOUR)).reason is Reason.REVOKED


@pytest.mark.parametrize("length", [48, 56, 64, 128])
@pytest.mark.parametrize("name", [V6, NET, "2001:db8:1:2::/65", "2001:db8:1::/48"])
def test_a_revoked_network_stays_revoked_where_prefixes_of_another_length_are_granted(name: str, length: int) -> None:
    """The configuration may change before the revocation ends: nothing that would cover the address is granted."""
    event = LOGIN._replace(client=V6)
    rules = dataclasses.replace(stone("address", name, until=HOUR), ipv6_prefix=length)
    assert ask(event, rules).reason is Reason.REVOKED
    other = LOGIN._replace(client=ClientAddress("2001:db8:2::1"))
    assert ask(other, rules).verdict is Verdict.GRANT


def given(rule: str, ago: timedelta = GRACE / 2) -> Authorization:
    """Return what was given a while ago."""
    grant = granted(ask(LOGIN._replace(time=NOW.wall - ago), Rules(grace=2 * HOUR)))
    return grant._replace(rule=rule, user="" if rule == "by hand" else "alice")


@pytest.mark.parametrize("rule", ["grace", "hold", "by hand"])
def test_what_was_given_before_a_revocation_is_taken_back(rule: str) -> None:
    """At a start too, where a crash came between the revocation and its effects."""
    assert taken_back(given(rule), stone(), NOW) is Reason.REVOKED
    assert taken_back(given(rule), stone("address", CLIENT), NOW) is Reason.REVOKED
    assert taken_back(given(rule), stone("address", "192.0.2.11"), NOW) is None
    assert taken_back(given(rule), Rules(grace=GRACE, never=networks("192.0.2.0/24")), NOW) is Reason.NEVER


@pytest.mark.parametrize(("rule", "reason"), [("grace", Reason.REVOKED), ("hold", Reason.REVOKED), ("by hand", None)])
def test_a_grant_by_hand_holds_while_logins_are_refused(rule: str, reason: Reason | None) -> None:
    """Where it came after the revocation."""
    assert taken_back(given(rule, timedelta()), stone("address", CLIENT, until=HOUR), NOW) is Reason.REVOKED
    later = NOW._replace(wall=NOW.wall + timedelta(seconds=1))
    event = LOGIN._replace(time=later.wall)
    after = granted(ask(event, Rules(grace=GRACE), later))._replace(rule=rule)
    assert taken_back(after, stone("address", CLIENT, until=HOUR), later) is reason


# Prefixes


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (Rules(GRACE), V6),
        (Rules(GRACE, ipv6_prefix=64), NET),
        (Rules(GRACE, ipv6_prefix=64, never=networks("2001:db8:1:2:8000::/65")), V6),
        (Rules(GRACE, ipv6_prefix=64, never=networks("2001:db8:1:3::/64")), NET),
        (Rules(GRACE, ipv6_prefix=64, own=frozenset((ClientAddress("2001:db8:1:2::1"),))), V6),
        (Rules(GRACE, ipv6_prefix=64, own=frozenset((ClientAddress("2001:db8:1:3::1"),))), NET),
    ],
    ids=["not asked for", "asked for", "never inside", "never beside", "own inside", "own beside"],
)
def test_a_prefix_is_granted_only_where_it_covers_nobody_who_may_not(rules: Rules, expected: str) -> None:
    """Else the address alone; an IPv4 address always."""
    event = LOGIN._replace(client=V6)
    assert granted(ask(event, rules)).client == granted_to(V6, rules) == expected
    assert granted_to(CLIENT, rules) == CLIENT


def test_a_network_of_another_length_holds_no_more() -> None:
    """No output would say it."""
    kept = granted(ask(LOGIN._replace(client=V6), Rules(GRACE, ipv6_prefix=64)))
    assert taken_back(kept, Rules(GRACE, ipv6_prefix=64), NOW) is None
    assert taken_back(kept, Rules(GRACE), NOW) is Reason.PREFIX
    assert taken_back(kept, Rules(GRACE, ipv6_prefix=56), NOW) is Reason.PREFIX
