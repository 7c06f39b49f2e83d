"""Who makes Courier's logger write pieces of lines lets nobody in, however many wait and whenever it reads."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from popbeforesmtp import sessions
from popbeforesmtp.formats._engine import Engine
from popbeforesmtp.formats._format import load
from popbeforesmtp.model import EventKind, LogMessage
from popbeforesmtp.sessions import Sessions
from tests.formats.courierlogger import LATE, PERFECT, SHORT, Pipe, failed, records

NOW = datetime(2026, 11, 22, 7, 20, tzinfo=UTC)
ENGINE = Engine([load("courier")])
FORGED = "9.9.9.9"
LOGIN = b"INFO: LOGIN, user=bob, ip=[192.0.2.7], port=[7]\n"
SIZES = (0, 0, 10, 30, 400, 480, 500, 600, 700, 800, 900, 930, 940, 950, 960, 970, 980, 990, 1000, 1100)


def logins(seed: int, count: int) -> list[str | None]:
    """Return who is let in while strangers fail with names of some lengths, and the logger falls behind, or waits.

    The strangers can do more than they can: each record that does not begin as a line does, and has room for it, is a
    login as the server writes it, though it stood in the middle of a name.
    """
    chance, pipe, now, written, found = random.Random(seed), Pipe(), NOW, 0, []
    sizes = chance.choices(SIZES, k=chance.randrange(1, 6))

    def write(lines: int) -> None:
        nonlocal written
        for _ in range(lines):
            size = chance.choice(sizes)
            pipe.write(failed(b"A" * size) if size else chance.choice((SHORT, LOGIN)))
        written += lines

    def wait() -> bool:
        nonlocal now
        if written >= count:
            return False
        quiet = chance.random() < 0.3
        now += timedelta(seconds=chance.choice((5, 10, 3600)) if quiet else 0)
        write(1 if quiet else chance.choice((1, 1, 2, 8, 30)))
        return True

    write(chance.choice((0, 1, 5, 20, 64)))
    together = Sessions()
    for record in records(pipe, wait):
        text = PERFECT if not record.first and len(record.text) >= len(PERFECT) else record.text
        event = ENGINE.read(LogMessage(now, b"pop3d", text, None, b"mx1 pop3d: "))
        event = None if event is None else together.join(event)
        if event is not None and event.kind is EventKind.LOGIN:
            found.append(event.client)
    return found


def test_nobody_is_let_in_by_a_piece_of_a_line_however_the_logger_is_kept_waiting() -> None:
    """And those who did log in are, most of the time: one long name does not keep everybody out."""
    found = [client for seed in range(500) for client in logins(seed, 100)]
    assert FORGED not in found
    assert len(found) > 500


@pytest.mark.parametrize(("name", "value"), [("_HELD", 0), ("_AHEAD", 1000), ("_SILENCE", timedelta(0))])
def test_less_doubt_would_let_strangers_in(name: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attack works where the doubt ends too early: else the test above would prove nothing."""
    monkeypatch.setattr(sessions, name, value)
    assert any(FORGED in logins(seed, 100) for seed in range(5000))


def test_a_whole_record_of_a_strangers_choice_need_not_stand_right_behind_the_cut_one() -> None:
    """Nothing is made up here, as it is above: what the logger reads begins in the middle of a name."""
    pipe, together, texts = Pipe(), Sessions(), []
    for line in LATE:
        pipe.write(line)
    for record in records(pipe, lambda: False):
        texts.append(record.text)
        event = ENGINE.read(LogMessage(NOW, b"pop3d", record.text, None, b"mx1 pop3d: "))
        event = None if event is None else together.join(event)
        assert event is None or event.kind is not EventKind.LOGIN
    place = texts.index(PERFECT)
    assert (len(texts[place - 2]), len(texts[place - 1])) == (505, 307)


def test_the_next_that_comes_after_a_silence_is_believed() -> None:
    """Once what may have been held back is over: three records."""
    together, times = Sessions(), iter((0, 0, 0, 10, 10, 10, 10))
    lines = [failed(b"A" * 600)[6:510], b"A" * 96, b"Disconnected, ip=[192.0.2.1], port=[1]", *[LOGIN[6:-1]] * 4]
    believed = []
    for text in lines:
        message = LogMessage(NOW + timedelta(seconds=next(times)), b"pop3d", text, None, b"mx1 pop3d: ")
        event = ENGINE.read(message)
        event = None if event is None else together.join(event)
        believed.append(event is not None and event.kind is EventKind.LOGIN)
    assert believed == [False] * 6 + [True]
