"""Windows: limits, failed logins that end a window, and addresses that stand for a crowd."""

from dataclasses import replace
from datetime import timedelta

import pytest

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.model import Reason
from popbeforesmtp.rules import Limits, Rules
from tests.clocks import FakeClock
from tests.house import OTHER, House, at_home, names
from tests.test_pipeline import CLIENT, GRACE, RULES, KeptStore

THIRD = ClientAddress("192.0.2.12")
V6 = ClientAddress("2001:db8:1:2::5")


def limited(**limits: int) -> Rules:
    """Return rules with some limits."""
    return replace(RULES, limits=Limits(**limits))


def refusals(house: House) -> dict[str, int]:
    """Return how often was refused, and why."""
    return {name: count for name, count in house.windows.counts.items() if name.startswith("refused: ")}


# Limits


def test_at_the_limit_of_accounts_on_an_address_a_new_one_is_refused() -> None:
    """Nobody is evicted, who is in may renew, and other addresses are not concerned."""

    async def scene(house: House) -> None:
        for user in ("alice", "bob", "carol", "alice", "bob"):
            await house.login(user=user)
        assert refusals(house) == {f"refused: {Reason.ACCOUNTS}": 1}
        assert names(await house.kept()) == {(CLIENT, "alice", "grace"), (CLIENT, "bob", "grace")}
        await house.login(OTHER, "carol")
        assert house.ends(OTHER) is not None
        house.clock.advance(GRACE.total_seconds())
        await house.login(user="carol")
        assert house.ends() == GRACE.total_seconds()

    at_home(scene, limited(accounts_per_address=2))


def test_at_the_limit_of_addresses_of_an_account_a_new_one_is_refused() -> None:
    """One that has ended, or was revoked, counts no more."""

    async def scene(house: House) -> None:
        for client in (CLIENT, OTHER, THIRD):
            await house.login(client)
        assert (house.ends(), house.ends(OTHER), house.ends(THIRD)) == (1800, 1800, None)
        await house.login(THIRD, "bob")
        assert house.ends(THIRD) == 1800
        house.windows.revoke(OTHER, Reason.NEVER)
        await house.login("192.0.2.13")
        assert house.ends("192.0.2.13") == 1800
        assert refusals(house) == {f"refused: {Reason.ADDRESSES}": 1}

    at_home(scene, limited(addresses_per_account=2))


@pytest.mark.parametrize("limits", [{"addresses_per_account": 1}, {"accounts_per_address": 1}], ids=str)
def test_an_account_is_one_account_however_it_is_written(limits: dict[str, int]) -> None:
    """As to all other rules: who types other letters opens no further address, and is nobody else on the same one."""

    async def scene(house: House) -> None:
        await house.login(CLIENT, "alice")
        await house.login(CLIENT, "Alice")
        assert not refusals(house)
        await house.login(OTHER, "ALICE")
        assert (house.ends(OTHER) is None) == ("addresses_per_account" in limits)

    at_home(scene, limited(**limits))


@pytest.mark.parametrize("step", [0, -3600, 3600])
def test_at_the_limit_of_new_clients_in_a_minute_one_more_is_refused(step: float) -> None:
    """A minute by CLOCK_BOOTTIME: no step of the wall clock makes it longer or shorter."""

    async def scene(house: House) -> None:
        for client in (CLIENT, OTHER, THIRD, CLIENT):
            await house.login(client)
        house.clock.step(step)
        house.clock.advance(59.999999)
        await house.login("192.0.2.13")
        house.clock.advance(microseconds=1)
        await house.login("192.0.2.14")
        assert (house.ends(THIRD), house.ends("192.0.2.13"), house.ends("192.0.2.14")) == (None, None, 1800)
        assert refusals(house) == {f"refused: {Reason.RATE}": 2}

    at_home(scene, limited(grants_per_minute=2))


def test_at_the_limit_of_clients_a_new_one_is_refused_until_one_has_ended() -> None:
    """Never another's evicted; renewing is no new client."""

    async def scene(house: House) -> None:
        await house.login(CLIENT)
        house.clock.advance(60)
        for client in (OTHER, THIRD, OTHER):
            await house.login(client)
        assert (house.ends(), house.ends(OTHER), house.ends(THIRD)) == (1740, 1800, None)
        house.clock.advance(1740)
        await house.login(THIRD)
        assert (house.ends(), house.ends(THIRD)) == (None, 1800)

    at_home(scene, limited(clients=2))


def test_a_grant_by_hand_is_no_account() -> None:
    """Beside one, before or after the login, an address has as many accounts as log in there."""

    async def scene(house: House) -> None:
        await house.ask("grant", address=CLIENT, until=house.until(7200))
        await house.login(user="alice")
        assert refusals(house) == {}
        await house.login(user="bob")
        await house.login(OTHER, "carol")
        await house.ask("grant", address=OTHER, until=house.until(7200))
        await house.login(OTHER, "dave")
        assert refusals(house) == {f"refused: {Reason.ACCOUNTS}": 2}

    at_home(scene, limited(accounts_per_address=1))


def test_other_limits_count_who_is_there_already() -> None:
    """After a reload, from what is stored; what was known of accounts on an address is kept."""

    async def scene(house: House) -> None:
        for client, user in ((CLIENT, "alice"), (CLIENT, "bob"), (OTHER, "alice")):
            await house.login(client, user)
        rules = limited(accounts_per_address=2, addresses_per_account=2)
        house.pipeline.obey(rules, await house.recorder.entries(house.clock.now()))
        await house.login(CLIENT, "carol")
        await house.login(THIRD, "alice")
        assert refusals(house) == {f"refused: {Reason.ACCOUNTS}": 1, f"refused: {Reason.ADDRESSES}": 1}

    at_home(scene)


def test_a_restart_forgets_no_account() -> None:
    """Limits go on from what the store holds."""
    store = KeptStore()

    async def before(house: House) -> None:
        await house.login(user="alice")
        await house.login(user="bob")

    async def after(house: House) -> None:
        await house.login(user="carol")
        await house.login(OTHER, "alice")
        assert refusals(house) == {f"refused: {Reason.ACCOUNTS}": 1, f"refused: {Reason.ADDRESSES}": 1}

    rules = limited(accounts_per_address=2, addresses_per_account=1)
    at_home(before, rules, store=store)
    at_home(after, rules, store=store)


def test_a_session_that_ended_counts_no_more_against_a_limit() -> None:
    """Its account's end is that of the grace period again."""

    async def scene(house: House) -> None:
        await house.live()
        await house.login(user="alice", session="A")
        await house.logout("A")  # logouts are seen
        await house.login(user="alice", session="B")
        await house.login(user="bob", session="C")
        await house.logout("B")
        house.clock.advance(1800)
        await house.login(user="carol", session="D")
        assert refusals(house) == {}

    at_home(scene, replace(limited(accounts_per_address=2, addresses_per_account=2), hold=timedelta(hours=8)))


# Failures


def test_too_many_failures_end_a_window_and_a_login_begins_anew() -> None:
    """Only those of this client, since its last login, and at the number that is set."""

    async def scene(house: House) -> None:
        await house.login()
        await house.failure()
        await house.failure()
        await house.failure(OTHER)
        assert house.ends() == 1800
        await house.login()
        await house.failure()
        await house.failure()
        assert house.ends() == 1800
        await house.failure()
        assert (house.ends(), await house.in_map(), await house.kept()) == (None, {}, [])
        await house.login()
        await house.failure()
        assert house.ends() == 1800
        assert set(house.windows._failures) == {CLIENT}
        house.clock.advance(1800)
        await house.read()
        assert not house.windows._failures

    at_home(scene, replace(RULES, revoke_after_failures=3))


@pytest.mark.parametrize("span", [600, 7200], ids=["shorter than the login's", "longer than the login's"])
def test_failures_end_no_grant_by_hand(span: float) -> None:
    """It ends at its time whatever happens to logins, after a restart too; what a login opened beyond it does end."""
    store, clock, rules = KeptStore(), FakeClock(), replace(RULES, revoke_after_failures=2)

    async def before(house: House) -> None:
        await house.login()
        await house.ask("grant", address=CLIENT, until=house.until(span))
        await house.failure()
        await house.failure()
        assert (house.ends(), await house.in_map()) == (span, {CLIENT: span})
        assert "by hand" in {entry.rule for entry in await house.kept()}

    async def after(house: House) -> None:
        await house.failure()
        await house.failure()
        assert house.ends() == span
        await house.ask("revoke", address=CLIENT)
        assert (house.ends(), await house.kept()) == (None, [])
        await house.failure()
        await house.failure()
        assert house.ends() is None

    at_home(before, rules, store=store, clock=clock)
    at_home(after, rules, store=store, clock=clock)


def test_failures_of_strangers_are_not_remembered() -> None:
    """Whoever guesses passwords from a million addresses costs no memory."""

    async def scene(house: House) -> None:
        for last in range(50):
            await house.failure(f"203.0.113.{last}")
        assert not house.windows._failures

    at_home(scene, replace(RULES, revoke_after_failures=3))


def test_failures_anywhere_in_a_prefix_end_its_window() -> None:
    """It was granted as one client."""

    async def scene(house: House) -> None:
        await house.login(V6)
        await house.failure("2001:db8:1:2::99")
        assert house.ends(V6) is None

    at_home(scene, replace(RULES, revoke_after_failures=1, ipv6_prefix=64))


# Crowds


def test_twenty_accounts_on_one_address_are_warned_of_once() -> None:
    """Not nineteen; and again once the window has ended and it happens anew."""

    async def scene(house: House) -> None:
        def warned() -> int:
            return sum("accounts log in from there" in said for said in house.ear.said)

        for _ in range(2):
            before = warned()
            for number in range(19):
                await house.login(user=f"u{number}")
            assert (warned() - before, house.windows.crowded(house.clock.now())) == (0, [])
            await house.login(user="u19")
            await house.login(user="u20")
            assert warned() - before == 1
            assert len(house.windows.crowded(house.clock.now())) == 1
            house.clock.advance(1800)
            await house.read()
        assert not house.windows._crowded

    at_home(scene)


def test_what_has_ended_is_let_go_of_while_an_address_goes_on() -> None:
    """A million accounts behind one address, one after the other, cost no memory."""

    async def scene(house: House) -> None:
        for number in range(40):
            await house.login(user=f"u{number}")
            house.clock.advance(900)
            await house.read()
        assert all(len(known) <= 3 for known in house.windows.crowds._accounts.values())
        assert len(house.windows.crowds._addresses) <= 3

    at_home(scene, limited(addresses_per_account=5))
