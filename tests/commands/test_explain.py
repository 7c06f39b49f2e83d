"""``explain`` in different situations, each with the expected words."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from popbeforesmtp.accounts import Accounts
from popbeforesmtp.commands.explain import _lines
from popbeforesmtp.rules import Limits, Rules
from tests.house import OTHER, House, at_home
from tests.test_pipeline import CLIENT, RULES
from tests.test_rules import networks

HELD = replace(RULES, hold=timedelta(hours=8))
Scene = Callable[[House], Awaitable[object]]


async def said(house: House, who: str = CLIENT) -> tuple[bool, str]:
    """Return whether somebody may relay, and all that ``explain`` says of it."""
    answer = await house.ask("explain", who=who)
    may = bool(answer["authorizations"]) if answer["address"] is None else answer["expires_at"] is not None
    return may, "\n".join(_lines(answer, may=may))


async def nothing(house: House) -> None:
    """Let nothing happen."""
    del house


async def login(house: House) -> None:
    """Log in."""
    await house.login()


async def long_ago(house: House) -> None:
    """Have logged in, long ago."""
    await house.login()
    house.clock.advance(1800)
    await house.read()


async def revoked(house: House) -> None:
    """Be revoked for a day."""
    await house.login()
    await house.ask("revoke", address=CLIENT, until=house.until(86400), reason="stolen laptop", uid=1000)


async def by_hand(house: House) -> None:
    """Be granted by hand."""
    await house.ask("grant", address=CLIENT, until=house.until(60), reason="printer", uid=1000)


async def session(house: House) -> None:
    """Have a session open."""
    await house.live()
    await house.login(OTHER, "zoe", "Z")
    await house.logout("Z", "zoe")
    await house.login()


async def failed(house: House) -> None:
    """Fail to log in."""
    await house.failure(user="alice")


async def crowded(house: House) -> None:
    """Come behind another account."""
    await house.login(user="bob")
    await house.login(user="alice")
    house.windows.expire()


MAY = "192.0.2.10 may relay until "
NOT = "192.0.2.10 may not relay"


@pytest.mark.parametrize(
    ("rules", "scene", "may", "words"),
    [
        (RULES, nothing, False, [NOT, "none that the daemon remembers", "to let it relay: log in to POP or IMAP"]),
        (
            RULES,
            login,
            True,
            [MAY, "login of alice (imap, dovecot) in list, offset 0, id ", "set: may relay", "granted"],
        ),
        (
            RULES,
            long_ago,
            False,
            [NOT, " alice imap granted (list, offset 0)", "a login of alice from 192.0.2.10 now:", "log in to POP"],
        ),
        (
            replace(RULES, never=networks("192.0.2.0/24")),
            login,
            False,
            [
                NOT,
                "refused: never-authorized network",
                "FAILS   never-authorized network",
                "nothing: logins from there",
            ],
        ),
        (
            replace(RULES, trusted=networks("192.0.2.0/24")),
            nothing,
            False,
            [NOT, "FAILS   trusted network", "nothing is needed: it is one of the trusted networks"],
        ),
        (
            RULES,
            revoked,
            False,
            [
                "revoked: 192.0.2.10 at ",
                " by uid 1000 (stolen laptop); older logins count no more; no login counts until ",
                "FAILS   revoked by hand",
                "wait until the revocation ends",
            ],
        ),
        (RULES, by_hand, True, [MAY, "granted by hand by uid 1000: printer", "none that the daemon remembers"]),
        (HELD, session, True, [MAY, "its session is open; login of alice", "passes  names an account"]),
        (RULES, failed, False, ["alice imap failed login", "to let it relay: log in to POP or IMAP from there"]),
        (
            replace(RULES, deny_accounts=Accounts(["al*"])),
            login,
            False,
            ["refused: account that is denied", "take the account out of [rules] deny_accounts"],
        ),
        (replace(RULES, tls=True), login, False, ["FAILS   not known to be encrypted", "log in over TLS"]),
        (
            replace(RULES, limits=Limits(accounts_per_address=1)),
            crowded,
            True,
            [MAY, "refused: limit: accounts on one address", "login of bob"],
        ),
        (replace(RULES, tls=True), nothing, False, ["passes  the address may be", "log in to POP or IMAP from there"]),
    ],
    ids=[
        *("nobody", "logged in", "ended", "never", "trusted", "revoked", "by hand", "held", "failed", "denied", "tls"),
        *("limit", "no login seen"),
    ],
)
def test_an_address_is_explained(rules: Rules, scene: Scene, may: bool, words: list[str]) -> None:
    """With what was seen, why it may or not, and what to do."""

    async def play(house: House) -> None:
        await scene(house)
        house.clock.advance(1)
        may_relay, text = await said(house)
        assert may_relay is may, text
        assert [word for word in words if word not in text] == [], text

    at_home(play, rules)


@pytest.mark.parametrize(
    ("rules", "scene", "may", "words"),
    [
        (RULES, login, True, ["account Alice: opens relay for:", "192.0.2.10 until", "login of alice"]),
        (RULES, nothing, False, ["account Alice: opens relay for no address now", "log in to POP or IMAP"]),
        (
            replace(RULES, deny_accounts=Accounts(["alice"])),
            nothing,
            False,
            ["a login of Alice now:", "FAILS   account that is denied", "deny_accounts"],
        ),
        (replace(RULES, accounts=Accounts(["bob"])), nothing, False, ["FAILS   account that opens no relay"]),
        (RULES, failed, False, ["192.0.2.10 alice imap failed login"]),
    ],
    ids=["logged in", "nobody", "denied", "no account of ours", "failed"],
)
def test_an_account_is_explained(rules: Rules, scene: Scene, may: bool, words: list[str]) -> None:
    """However it is written, and also where it was never seen."""

    async def play(house: House) -> None:
        await scene(house)
        may_relay, text = await said(house, "Alice")
        assert may_relay is may, text
        assert [word for word in words if word not in text] == [], text

    at_home(play, rules)


@pytest.mark.parametrize("scene", [login, failed], ids=["login", "failure"])
@pytest.mark.parametrize("name", ["\u202eecila", "a\u0085\u200bb\u2028c", "caf\udcff", "a\\x1b[31m"])
def test_a_hostile_name_is_shown_as_it_is_and_does_nothing(name: str, scene: Scene) -> None:
    """On a terminal: no mark, control or separator comes through, and no line is made."""

    async def play(house: House) -> None:
        await (house.login(user=name) if scene is login else house.failure(user=name))
        for who in (CLIENT, name):
            _, text = await said(house, who)
            assert all(line.isprintable() for line in text.split("\n"))
            assert text.count("\n") < 40
            assert "\\" in text
            assert name not in text

    at_home(play)


def test_a_revoked_account_is_explained_by_its_name_only() -> None:
    """An account that is called as an address is revoked is another one."""

    async def play(house: House) -> None:
        await house.ask("revoke", user="alice\u202e", reason="\x1b[31m")
        _, text = await said(house, "ALICE\u202e")
        assert "revoked: account alice\\u202e at " in text
        assert "(\\x1b[31m)" in text
        _, text = await said(house)
        assert "revoked: " not in text

    at_home(play)


def test_a_forged_line_does_not_explain_what_a_login_would_do() -> None:
    """Where a real login was seen, that one is asked about."""
    from popbeforesmtp.history import Seen

    async def play(house: House) -> None:
        await house.login()
        (seen,) = house.pipeline.history.about(frozenset((CLIENT,)), None)
        house.pipeline.history.add(Seen(seen.event._replace(genuine=False, user="evil"), seen.origin, "refused: x"))
        house.clock.advance(1800)
        _, text = await said(house)
        assert "a login of alice from 192.0.2.10 now:" in text
        assert "FAILS" not in text

    at_home(play)


def test_an_address_in_a_prefix_is_explained_by_its_network() -> None:
    """Which was opened by another address."""

    async def play(house: House) -> None:
        await house.login("2001:db8:1:2::5")
        may, text = await said(house, "2001:db8:1:2::6")
        assert may
        assert "2001:db8:1:2::/64 until" in text
        await house.ask("revoke", address="2001:db8:1:2::7")
        house.clock.advance(1)
        may, text = await said(house, "2001:db8:1:2::6")
        assert not may
        assert "revoked: 2001:db8:1:2::/64 at " in text

    at_home(play, replace(RULES, ipv6_prefix=64))
