"""What blocking costs and does: so much memory and no more, and nobody hears of it but the program."""

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from inspect import signature

import pytest

from popbeforesmtp import blocking as module
from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.blocking import Failures
from popbeforesmtp.blocksettings import COMMANDS
from popbeforesmtp.model import EventKind
from popbeforesmtp.mtas import command
from popbeforesmtp.publisher import Publisher
from tests.clocks import START
from tests.guard import BAD, BAD6, GOOD, LIMIT, NETWORK6, Guard
from tests.scenes import play, until
from tests.test_pipeline import SetMap


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
