"""Who may relay, and that everybody hears of it: map, store, counts, audit trail."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.model import Reason
from popbeforesmtp.rules import Limits, Rules, by_hand
from popbeforesmtp.stores import StoreError
from tests.clocks import FakeClock
from tests.house import OTHER, House, at_home, names
from tests.test_pipeline import CLIENT, GRACE, RULES, KeptStore
from tests.test_rules import networks

THIRD = ClientAddress("192.0.2.12")
V6, NET = ClientAddress("2001:db8:1:2::5"), ClientAddress("2001:db8:1:2::/64")
"""An IPv6 client, and its network."""


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


# By hand


@pytest.mark.parametrize("length", [600, 1800, 7200])
def test_a_grant_by_hand_is_said_and_kept_whatever_else_goes_on(length: int, tmp_path: Path) -> None:
    """Also where a login's window ends later, so that nothing changes now."""

    async def scene(house: House) -> None:
        await house.login()
        now = house.clock.now()
        house.windows.grant_by_hand(
            by_hand(CLIENT, now.wall + timedelta(seconds=length), now, 1000, "printer"), await house.kept(), now
        )
        assert house.ends() == max(length, 1800)
        assert names(await house.kept()) == {(CLIENT, "alice", "grace"), (CLIENT, "", "by hand")}
        last = house.trail()[-1]
        assert (last["event"], last["rule"], last["uid"], last["reason"]) == ("grant", "by hand", 1000, "printer")
        assert sum("granted" in said and 'rule="by hand"' in said for said in house.ear.said) == 1
        assert await house.in_map() == {CLIENT: max(length, 1800)}

    at_home(scene, audit=tmp_path / "audit")


@pytest.mark.parametrize("login", [False, True])
def test_a_later_grant_by_hand_takes_the_place_of_the_earlier_one(login: bool) -> None:
    """Also where it is shorter: the map hears of the earlier end."""

    async def scene(house: House) -> None:
        if login:
            await house.login()
        for length, expected in ((7200, 7200), (60, 1800 if login else 60)):
            await house.ask("grant", address=CLIENT, until=house.until(length))
            assert house.ends() == expected
            assert await house.in_map() == {CLIENT: expected}
        assert len(await house.kept()) == 1 + login

    at_home(scene)


def test_every_login_is_in_the_audit_trail_also_where_nothing_changes(tmp_path: Path) -> None:
    """Another account's login on an address is a decision of its own."""

    async def scene(house: House) -> None:
        await house.login(user="alice")
        await house.login(user="bob", ago=60)
        await house.login(user="alice", ago=-1)
        assert [(each["event"], each["account"]) for each in house.trail()] == [
            ("grant", "alice"),
            ("renew", "bob"),
            ("renew", "alice"),
        ]
        assert len({each["id"] for each in house.trail()}) == 3
        house.clock.advance(1800)
        await house.read()
        assert house.trail()[-1]["event"] == "expire"

    at_home(scene, audit=tmp_path / "audit")


# Settling


def test_what_was_taken_back_is_tried_again_while_the_store_cannot_be_read() -> None:
    """The window stays as it is meanwhile, and ends at its time at the latest."""

    class Broken(KeptStore):
        broken = False

        def load_client(self, client: ClientAddress, now: object) -> list[object]:  # type: ignore[override]
            if self.broken:
                raise StoreError("disk I/O error")
            return super().load_client(client, now)  # type: ignore[arg-type,return-value]

    store = Broken()

    async def scene(house: House) -> None:
        await house.login()
        (kept,) = await house.kept()
        store.broken = True
        house.windows.close(kept)
        with pytest.raises(StoreError):
            await house.windows.settle()
        assert (house.ends(), house.windows.unsettled) == (1800, True)
        store.broken = False
        await house.windows.settle()
        assert (house.ends(), house.windows.unsettled) == (None, False)

    at_home(scene, store=store)


def test_a_login_that_comes_while_a_window_is_settled_counts() -> None:
    """Settling asks the store in a thread; who logs in meanwhile is among what is left."""

    class Slow(KeptStore):
        between = staticmethod(lambda: None)

        def load_client(self, client: ClientAddress, now: object) -> list[object]:  # type: ignore[override]
            found = super().load_client(client, now)  # type: ignore[arg-type]
            self.between()
            return found  # type: ignore[return-value]

    store = Slow()

    async def scene(house: House) -> None:
        import asyncio

        await house.login(user="alice")
        (kept,) = await house.kept()
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def grant() -> None:
            house.windows.grant(replace(kept, user="bob"), house.clock.now())
            done.set()

        def between() -> None:
            asyncio.run_coroutine_threadsafe(_call(grant), loop).result(5)

        store.between = between  # type: ignore[assignment]
        house.windows.close(kept)
        await house.windows.settle()
        assert done.is_set()
        assert house.ends() == 1800
        assert names(await house.kept()) == {(CLIENT, "bob", "grace")}

    at_home(scene, store=store)


async def _call(work: object) -> None:
    assert callable(work)
    work()


# Prefixes and networks


def test_a_prefix_is_one_client_to_whoever_asks() -> None:
    """Each address in it may relay, none beside it."""

    async def scene(house: House) -> None:
        await house.login(V6)
        assert list(house.windows.active) == [NET]
        assert house.windows.permits(ClientAddress("2001:db8:1:2:ffff::1"))
        assert not house.windows.permits(ClientAddress("2001:db8:1:3::1"))
        assert house.ends("2001:db8:1:2:ffff::1") == 1800
        house.pipeline.obey(replace(RULES, ipv6_prefix=128))
        assert (house.ends(V6), await house.in_map(), await house.kept()) == (None, {}, [])
        assert house.windows.counts[f"revoked: {Reason.PREFIX}"] == 1

    at_home(scene, replace(RULES, ipv6_prefix=64))


def test_a_never_network_takes_back_what_lies_in_it() -> None:
    """Prefixes that only touch it too; everybody else stays."""

    async def scene(house: House) -> None:
        for client in (CLIENT, "198.51.100.9", V6):
            await house.login(client)
        house.pipeline.obey(replace(house.pipeline.rules, never=networks("192.0.2.0/24", "2001:db8:1:2:8000::/65")))
        assert list(house.windows.active) == ["198.51.100.9"]

    at_home(scene, replace(RULES, ipv6_prefix=64))
