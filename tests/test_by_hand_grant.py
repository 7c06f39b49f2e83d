"""Grants by hand: on the disk before they are confirmed, and as long as they say."""

from dataclasses import replace
from pathlib import Path

import pytest

from popbeforesmtp.errors import DataError
from popbeforesmtp.stores.sqlite import open_store
from tests.clocks import FakeClock
from tests.house import OTHER, BrokenStore, House, at_home, names
from tests.test_pipeline import CLIENT, RULES
from tests.test_rules import networks


def test_a_grant_is_on_the_disk_before_it_is_confirmed() -> None:
    """With who did it and why; it ends to the second, whatever the accounts there do."""

    async def scene(house: House) -> None:
        answer = await house.ask("grant", address=CLIENT, until=house.until(3600), reason="printer", uid=1000)
        assert answer == {"address": CLIENT, "expires_at": house.until(3600), "logins_refused": False}
        (kept,) = house.store.load(house.clock.now())
        assert (kept.rule, kept.uid, kept.why) == ("by hand", 1000, "printer")
        house.clock.advance(3599.999999)
        assert house.ends() is not None
        house.clock.advance(microseconds=1)
        assert house.ends() is None

    at_home(scene)


@pytest.mark.parametrize(
    ("question", "complaint"),
    [
        ({"address": "host.example"}, "that is no IPv4 or IPv6 address"),
        ({"address": "192.0.2.0/24"}, "that is no IPv4 or IPv6 address"),
        ({"address": "127.0.0.1"}, "127.0.0.1 cannot be authorized: never-authorized network"),
        ({"address": "198.51.100.1"}, "198.51.100.1 cannot be authorized: never-authorized network"),
        ({"until": 0}, "the end of the window has come already"),
        ({"until": 65535 * 60 + 1}, "65535 minutes (45 days) from now are the most; name an earlier time"),
        ({"until": "2026-11-23T12:00:00"}, "65535 minutes (45 days) from now are the most; name an earlier time"),
        ({"until": "soon"}, "that is no time"),
        ({"until": None}, "that is no time"),
        ({"reason": "\ud800"}, "that reason is no text"),
    ],
)
def test_a_grant_that_cannot_be_is_one_sentence(question: dict[str, object], complaint: str) -> None:
    """And nothing changes."""

    async def scene(house: House) -> None:
        end = question.get("until", 3600)
        until = house.until(end) if isinstance(end, int) else end
        with pytest.raises(DataError) as raised:
            await house.ask("grant", **{"address": CLIENT, **question, "until": until})
        assert str(raised.value) == complaint
        assert len(house.windows.active) == 0

    at_home(scene, replace(RULES, never=networks("198.51.100.0/24")))


def test_a_grant_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """It holds now, and the administrator knows that a restart would undo it."""
    store = BrokenStore()

    async def scene(house: House) -> None:
        store.broken = True
        with pytest.raises(DataError, match="granted now, but a restart would undo it"):
            await house.ask("grant", address=CLIENT, until=house.until(60))
        assert house.ends() == 60
        store.broken = False
        assert names(await house.kept()) == {(CLIENT, "", "by hand")}

    at_home(scene, store=store)


@pytest.mark.parametrize("reason", ["caf\udce9 \udcff", "a\nb\x1b[31m\u202e\0", "x" * 5000])
def test_no_reason_keeps_the_store_from_being_written(reason: str, tmp_path: Path) -> None:
    """Bytes that are no UTF-8 come from every terminal; what was granted with them survives a restart."""
    store = open_store(clock=FakeClock(), path=tmp_path / "state.sqlite")

    async def scene(house: House) -> None:
        await house.ask("grant", address=CLIENT, until=house.until(60), reason=reason)
        await house.ask("revoke", address=OTHER, reason=reason)
        await house.ask("revoke", user="caf\udce9", reason=reason)
        (kept,) = store.load(house.clock.now())
        assert kept.why == reason.replace("\udce9", "\\xe9").replace("\udcff", "\\xff")
        assert {(each.kind, each.name) for each in store.tombstones()} == {("address", OTHER), ("user", "caf\udce9")}

    at_home(scene, store=store)


@pytest.mark.parametrize(
    ("revoked", "refused"),
    [({"address": CLIENT}, True), ({"all": True}, True), ({"user": "alice"}, False), ({"address": OTHER}, False)],
)
def test_a_grant_by_hand_holds_while_logins_are_refused(revoked: dict[str, object], refused: bool) -> None:
    """Whoever grants is told; a login from there still opens nothing."""

    async def scene(house: House) -> None:
        await house.ask("revoke", **revoked, until=house.until(7200))
        house.clock.advance(1)
        answer = await house.ask("grant", address=CLIENT, until=house.until(60))
        assert answer["logins_refused"] is refused
        await house.login(user="bob")
        assert house.ends() == (60 if refused else 1800)

    at_home(scene)
