"""The loop, of sessions that stay open: ``hold``."""

from dataclasses import replace
from datetime import timedelta

import pytest

from popbeforesmtp.accounts import Accounts
from popbeforesmtp.holds import _SILENT
from popbeforesmtp.model import Reason
from popbeforesmtp.rules import Limits, Rules
from tests.clocks import FakeClock
from tests.house import OTHER, House, at_home, names
from tests.test_pipeline import CLIENT, RULES, KeptStore
from tests.test_rules import networks

HOLD = 8 * 3600.0
HELD = replace(RULES, hold=timedelta(hours=8))


async def seen(house: House) -> None:
    """Read the past of the log, and see a logout."""
    await house.live()
    await house.login("203.0.113.1", "zoe", "Z")
    await house.logout("Z", "zoe")


def test_an_open_session_outlives_its_grace_period_and_its_logout_ends_it() -> None:
    """In the answers, the map and the store; the same microsecond."""

    async def scene(house: House) -> None:
        await seen(house)
        await house.login(session="A")
        assert house.ends() == HOLD
        house.clock.advance(1801)
        await house.read()
        assert house.ends() == HOLD - 1801
        assert (await house.in_map())[CLIENT] == HOLD - 1801
        await house.logout("A")
        assert house.ends() is None
        assert CLIENT not in await house.in_map()
        assert CLIENT not in {entry.client for entry in await house.kept()}

    at_home(scene, HELD)


def test_a_session_whose_logout_stands_before_its_login_is_not_held() -> None:
    """A short session's lines may change places in the log; they show that logouts come all the same."""

    async def scene(house: House) -> None:
        await house.live()
        await house.logout("A")
        await house.login(session="A")
        assert house.ends() == 1800
        await house.login(OTHER, session="B")
        assert house.ends(OTHER) == HOLD

    at_home(scene, HELD)


def test_a_logout_within_the_grace_period_leaves_the_rest_of_it() -> None:
    """The map hears of the earlier end."""

    async def scene(house: House) -> None:
        await seen(house)
        await house.login(session="A")
        house.clock.advance(60)
        await house.logout("A")
        assert house.ends() == 1740
        assert (await house.in_map())[CLIENT] == 1740

    at_home(scene, HELD)


def test_a_hold_ends_at_its_longest_though_nobody_logs_out() -> None:
    """To the microsecond, from the login on."""

    async def scene(house: House) -> None:
        await seen(house)
        await house.login(session="A")
        house.clock.advance(HOLD - 0.000001)
        await house.read()
        assert house.windows.permits(CLIENT)
        house.clock.advance(microseconds=1)
        assert not house.windows.permits(CLIENT)
        await house.read()
        assert await house.in_map() == {}

    at_home(scene, HELD)


@pytest.mark.parametrize("user", ["alice", "bob"])
def test_another_session_on_the_address_keeps_it_authorized(user: str) -> None:
    """Of the same account or of another; each ends for itself."""

    async def scene(house: House) -> None:
        await seen(house)
        await house.login(session="A")
        await house.login(session="B", user=user)
        house.clock.advance(1801)
        await house.logout("A")
        assert house.ends() == HOLD - 1801
        await house.logout("B", user)
        assert house.ends() is None

    at_home(scene, HELD)


@pytest.mark.parametrize(("user", "client", "left"), [("root", OTHER, 1800), ("alice", CLIENT, HOLD)])
def test_a_session_whose_name_a_refused_login_took_is_over(user: str, client: str, left: float) -> None:
    """Its logout was missed, as process numbers come again. The same login read again is no other."""

    async def scene(house: House) -> None:
        await seen(house)
        await house.login(session="A")
        house.pipeline.obey(replace(house.pipeline.rules, deny_accounts=Accounts(["root", "alice"])))
        await house.login(client, user, session="A")
        assert (house.ends(), house.ends(OTHER)) == (left, None)

    at_home(scene, HELD)


def test_a_forged_logout_only_shortens() -> None:
    """Of a session that is not there it does nothing; of one that is, what it held ends, and nothing else."""

    async def scene(house: House) -> None:
        await seen(house)
        await house.login(session="A")
        await house.login(OTHER, session="B")
        await house.logout("nobody's")
        assert house.ends() == HOLD
        await house.logout("A", "mallory")
        assert (house.ends(), house.ends(OTHER)) == (1800, HOLD)

    at_home(scene, HELD)


def test_without_logouts_nothing_is_held_and_somebody_is_told() -> None:
    """It would stretch every window to all that hold allows."""

    async def scene(house: House) -> None:
        await house.live()
        for number in range(_SILENT - 1):
            await house.login(user=f"u{number}")
        assert (house.ends(), house.pipeline.unheld()) == (1800, [])
        await house.login()
        assert house.ends() == 1800
        assert house.pipeline.unheld() == [
            "list: hold is not in force for dovecot: no logouts are seen among its logins"
        ]

    at_home(scene, HELD)


def test_when_logouts_are_seen_no_longer_what_is_held_is_taken_back() -> None:
    """A hundred logins later; grace periods go on."""

    async def scene(house: House) -> None:
        await seen(house)
        await house.login(OTHER, session="A")
        for number in range(_SILENT - 2):
            await house.login(session=f"T{number}")
        assert house.ends(OTHER) == HOLD
        await house.login(session="last")
        assert (house.ends(OTHER), house.ends()) == (1800, 1800)
        assert {entry.rule for entry in await house.kept()} == {"grace"}

    at_home(scene, HELD)


# The past of a log


def test_catching_up_opens_no_window_whose_logout_stands_in_a_later_line() -> None:
    """Not for a moment: a session of an hour ago that has ended since opens nothing."""

    async def scene(house: House) -> None:
        await house.login("203.0.113.1", "zoe", "Z", ago=7300)
        await house.logout("Z", "zoe")
        await house.login(session="A", ago=7200)
        await house.login(OTHER, session="B", ago=7200)
        assert (house.ends(), house.ends(OTHER)) == (None, None)
        await house.logout("A")
        await house.live()
        assert (house.ends(), house.ends(OTHER)) == (None, HOLD - 7206)
        assert "granted client=192.0.2.10" not in "\n".join(house.ear.said)
        assert [seen.outcome for seen in house.pipeline.history.about(frozenset((OTHER,)), None)] == [
            "its grace period is over; its session may be open"
        ]

    at_home(scene, HELD)


@pytest.mark.parametrize(
    ("between", "reason"),
    [
        ("revoke address", Reason.REVOKED),
        ("revoke user", Reason.REVOKED),
        ("revoke all", Reason.REVOKED),
        ("never", Reason.NEVER),
        ("limit", Reason.LIVE),
        ("hold = 0", None),
    ],
)
def test_what_was_decided_while_the_past_was_read_holds_for_open_sessions_too(
    between: str, reason: Reason | None
) -> None:
    """No session that was found open opens what somebody has closed meanwhile."""

    async def scene(house: House) -> None:
        await house.login("203.0.113.1", "zoe", "Z", ago=7300)
        await house.logout("Z", "zoe")
        await house.login(session="A", ago=7200)
        rules = house.pipeline.rules
        if between == "revoke address":
            await house.ask("revoke", address=CLIENT)
        elif between == "revoke user":
            await house.ask("revoke", user="ALICE")
        elif between == "revoke all":
            await house.ask("revoke", all=True)
        elif between == "never":
            house.pipeline.obey(replace(rules, never=networks("192.0.2.0/24")))
        elif between == "limit":
            house.pipeline.obey(replace(rules, limits=Limits(clients=1)), [])
            await house.login(OTHER, "bob")
        else:
            house.pipeline.obey(replace(rules, hold=timedelta()))
        await house.live()
        assert house.ends() is None
        if reason in (Reason.NEVER, Reason.LIVE):
            assert house.windows.counts[f"refused: {reason}"] == 1

    at_home(scene, HELD)


def test_failures_end_what_an_open_session_would_hold() -> None:
    """Though it waits still."""

    async def scene(house: House) -> None:
        await house.login("203.0.113.1", "zoe", "Z")
        await house.logout("Z", "zoe")
        await house.login(session="A")
        await house.failure()
        await house.live()
        assert house.ends() is None

    at_home(scene, replace(HELD, revoke_after_failures=1))


# Restart, reload


def test_a_restart_restores_open_sessions() -> None:
    """They hold on to the second, and their logouts are understood."""
    store, clock = KeptStore(), FakeClock()

    async def before(house: House) -> None:
        await seen(house)
        await house.login(session="A")
        await house.login(OTHER, session="B")

    async def after(house: House) -> None:
        assert house.ends() == HOLD
        house.clock.advance(1801)
        await house.logout("A")
        assert (house.ends(), house.ends(OTHER)) == (None, HOLD - 1801)
        await house.login("192.0.2.12", session="C", ago=1801)
        await house.live()
        assert house.ends("192.0.2.12") == HOLD - 1801 - 6

    at_home(before, HELD, store=store, clock=clock)
    at_home(after, HELD, store=store, clock=clock)


@pytest.mark.parametrize("read", [True, False], ids=["log was read", "log not yet read"])
def test_no_hold_any_more_takes_back_what_is_held(read: bool) -> None:
    """At a reload; sessions of before a restart too, whose log nobody has read yet."""
    store, clock = KeptStore(), FakeClock()

    async def before(house: House) -> None:
        await seen(house)
        await house.login(session="A")

    async def after(house: House) -> None:
        if read:
            await house.failure("203.0.113.9")
        house.pipeline.obey(replace(house.pipeline.rules, hold=timedelta()))
        await house.read()
        assert house.ends() == 1800
        assert names(await house.kept()) >= {(CLIENT, "alice", "grace")}
        assert all(entry.rule != "hold" for entry in await house.kept())

    at_home(before, HELD, store=store, clock=clock)
    at_home(after, HELD, store=store, clock=clock)


@pytest.mark.parametrize(("step", "suspended"), [(-3600, 0), (3600, 0), (0, 3600)])
def test_no_step_of_the_clock_and_no_suspend_makes_a_hold_longer(step: float, suspended: float) -> None:
    """And a logout after it still ends it."""

    async def scene(house: House) -> None:
        await seen(house)
        await house.login(session="A")
        house.clock.step(step)
        house.clock.suspend(suspended)
        await house.read()
        left = house.ends()
        assert left is not None
        assert left == HOLD - max(step, 0) - suspended
        house.clock.advance(1801)
        await house.logout("A")
        assert house.ends() is None

    at_home(scene, HELD)


def test_where_hold_is_off_logouts_change_nothing() -> None:
    """A window ends at its time."""

    async def scene(house: House) -> None:
        await seen(house)
        await house.login(session="A")
        await house.logout("A")
        assert house.ends() == 1800
        assert len(house.followed.holds) == 0

    at_home(scene, Rules(RULES.grace))
