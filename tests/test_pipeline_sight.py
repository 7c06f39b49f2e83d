"""The loop, of what it passes by, whom it does not believe, and when it says that it is blind."""

from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta

import pytest

from popbeforesmtp import maillog, pipeline, report, wiring
from popbeforesmtp.entry import EntryReader
from popbeforesmtp.following import Followed, Reading
from popbeforesmtp.header import HeaderReader
from popbeforesmtp.model import Block
from popbeforesmtp.pipeline import Pipeline
from tests.clocks import START, FakeClock
from tests.entries import FAILURE, FORGERIES, LOGOUT, WRITTEN, entry
from tests.test_pipeline import CLIENT, ListSource, Parts, login

OFTEN = 40
FORGED = "refused: not written by the server itself"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """A clock that stands still, and a loop that looks after its logs each time it comes round."""
    monkeypatch.setattr(pipeline, "_LOOK", 0.0)
    maillog.open_log("stderr", debug=True)
    return FakeClock()


def stranger(clock: FakeClock, program: str, text: str = "x") -> bytes:
    """Write a line of some program."""
    return f"{clock.now().wall.isoformat()} mx1 {program}: {text}\n".encode()


# What is passed by


@pytest.mark.parametrize("program", ["postfix/smtpd[1]", "imap-login", "dovecot2", "mx1", "2026-11-22", "+00", "x/y"])
def test_a_flood_of_one_program_hides_no_login(clock: FakeClock, program: str) -> None:
    """In blocks of any size; all lines count as read, and the place is behind all of them."""
    flood = [stranger(clock, program) for _ in range(OFTEN)]
    parts = Parts(clock, *flood, b"".join(flood) + login(clock) + flood[0], flood[0], login(clock, "192.0.2.11"))
    followed = parts.run().followed[0]
    assert sorted(parts.active) == [CLIENT, "192.0.2.11"]
    assert (followed.counts["lines"], followed.counts["unknown headers"]) == (2 * OFTEN + 4, 0)
    assert parts.store.progress()["list"].checkpoint == str(parts.source.offset)


def test_the_time_of_the_last_line_is_known_even_if_it_was_passed_by(clock: FakeClock) -> None:
    """Status shows it, and the store keeps it."""
    flood = b"".join(stranger(clock, "postfix/smtpd[1]") for _ in range(OFTEN))
    parts = Parts(clock, flood, stranger(clock, "postfix/smtpd[1]"))
    assert parts.run().followed[0].last_line_at == START
    assert parts.store.progress()["list"].time == START


def test_login_text_of_other_programs_opens_nothing_before_and_after_they_are_passed_by(clock: FakeClock) -> None:
    """`logger` with any tag but the server's."""
    text = login(clock).decode().partition("dovecot: ")[2].rstrip("\n")
    lines = b"".join(stranger(clock, "dovecot2", text) + stranger(clock, "dovecot/x", text) for _ in range(OFTEN))
    assert len(Parts(clock, lines, lines).run().windows.active) == 0


# The journal


def journal(clock: FakeClock, *entries: bytes) -> Pipeline:
    """Run on the journal."""
    parts = Parts(clock, *entries)
    followed = Followed(parts.source, wiring.engine(), lambda: Reading(EntryReader(), None))
    return run(parts, followed)


def run(parts: Parts, followed: Followed, more: Callable[[Pipeline], None] = lambda _: None) -> Pipeline:
    """Run on something else than a log."""

    class Other(Pipeline):
        def __init__(self, **given: object) -> None:
            super().__init__(**{**given, "followed": [followed]})  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.test_pipeline.Pipeline", Other)
        return parts.run(more)


@pytest.fixture
def then() -> FakeClock:
    """A clock that stands at when the entries were written."""
    maillog.open_log("stderr", debug=True)
    return FakeClock(WRITTEN + timedelta(seconds=1))


def test_a_genuine_entry_opens_the_relay(then: FakeClock) -> None:
    """From the journal as from a file."""
    ran = journal(then, entry(), entry(LOGOUT), entry(FAILURE))
    assert ran.windows.permits(CLIENT)
    assert dict(ran.windows.counts) == {"login": 1, "logout": 1, "failure": 1, "granted": 1}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_entry_opens_nothing_and_is_said_and_counted(
    then: FakeClock, forgery: str, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever in it does not fit; a broken one beside it stops nothing."""
    monkeypatch.setattr(maillog, "_said", OrderedDict())  # of each client it is said once
    ran = journal(then, entry(changes=FORGERIES[forgery]), b"{}\n", b"\xff\n", b"[" * 5000 + b"\n")
    assert len(ran.windows.active) == 0
    assert ran.windows.counts[FORGED] == 1
    assert ran.windows.counts["errors"] == 0
    assert [text for text in said if 'reason="not written by the server itself"' in text]


def test_what_others_wrote_is_not_counted_as_the_servers(then: FakeClock) -> None:
    """Else anybody could fill the statistics with failures."""
    forged = FORGERIES["another user"]
    ran = journal(then, entry(changes=forged), entry(LOGOUT, forged), entry(FAILURE, forged), entry(FAILURE))
    assert (ran.windows.counts["login"], ran.windows.counts["logout"], ran.windows.counts["failure"]) == (0, 0, 1)
    assert ran.windows.counts[FORGED] >= 1


def test_a_forged_entry_does_not_end_or_move_anybodys_window(then: FakeClock) -> None:
    """Nor does it say that the client's window began later."""
    ran = journal(then, entry(ago=timedelta(minutes=5)), entry(changes=FORGERIES["no unit"]), entry(LOGOUT))
    assert ran.windows.active.expires_at(CLIENT, then.now()) == WRITTEN + timedelta(minutes=25)


# Blindness


def warnings(ran: Pipeline, clock: FakeClock) -> list[str]:
    """Return what status would warn of."""
    return report.warnings(ran, clock.now())


def test_a_sign_is_said_once_and_again_after_it_had_gone(clock: FakeClock, said: list[str]) -> None:
    """Not with every look."""
    junk, good = b"what\n" * 2000, stranger(clock, "cron") * 5000
    ran = Parts(clock, junk, None, junk, None, None, junk, None).run()
    assert len([text for text in said if "have no header that we know" in text]) == 1
    assert [text for text in warnings(ran, clock) if text.startswith("list: ") and "have no header" in text]
    said.clear()
    ran = Parts(clock, junk, None, good, None, junk, None, junk, None, good, None).run()
    assert len([text for text in said if "have no header that we know" in text]) == 2
    assert warnings(ran, clock) == []


@pytest.mark.parametrize("program", ["rsyslogd", "systemd-journald[1]", "syslog-ng", "journal"])
def test_messages_that_were_dropped_are_heard_of_however_much_a_syslog_daemon_says(
    clock: FakeClock, program: str, said: list[str]
) -> None:
    """Behind many other lines of its own."""
    dropped = stranger(clock, program, "Suppressed 7 messages from dovecot.service")
    ran = Parts(clock, stranger(clock, program) * OFTEN, dropped, None, dropped, None).run()
    assert [text for text in warnings(ran, clock) if "dropped 14 messages" in text]
    assert len([text for text in said if "the syslog daemon dropped" in text]) == 1


def test_nobody_but_a_syslog_daemon_says_that_messages_were_dropped(clock: FakeClock) -> None:
    """Text of a stranger in Postfix's lines is nothing; with that tag it is a warning, and never more."""
    text = "Suppressed 7 messages from dovecot.service"
    ran = Parts(clock, stranger(clock, "postfix/smtpd[1]", text), stranger(clock, "dovecot", text), None).run()
    assert warnings(ran, clock) == []
    ran = Parts(clock, stranger(clock, "rsyslogd", text) * 5, login(clock), None).run()
    assert (len(warnings(ran, clock)), ran.windows.permits(CLIENT), ran.windows.counts["errors"]) == (1, True, 0)


class Ticking(ListSource):
    """A source between whose blocks time goes by."""

    def __init__(self, clock: FakeClock, seconds: float, *blocks: bytes | None) -> None:
        super().__init__(*blocks)
        self._clock, self._seconds = clock, seconds

    def read(self) -> Block | None:
        """Let time go by, and return the next block."""
        self._clock.advance(self._seconds)
        return super().read()


def tick(clock: FakeClock, seconds: float, *blocks: bytes | None, entries: bool = False) -> Pipeline:
    """Run on blocks that come so many seconds apart."""
    parts = Parts(clock)
    parts.source = Ticking(clock, seconds, *blocks)
    engine = wiring.engine()
    header = EntryReader if entries else HeaderReader
    return run(parts, Followed(parts.source, engine, lambda: Reading(header(), None if entries else engine.sieve())))


def test_a_log_in_another_time_zone_is_said_as_soon_as_it_is_followed(clock: FakeClock, said: list[str]) -> None:
    """With the way out; and not while old lines are read."""
    lines = [
        f"{(START + timedelta(seconds=number, hours=2)).isoformat()} mx1 cron: x\n".encode() for number in range(30)
    ]
    assert warnings(tick(clock, 1, *lines), clock) == []
    now = FakeClock()
    ran = tick(now, 1, None, *(block for line in lines for block in (line, None)))
    assert [text for text in warnings(ran, now) if "ahead of this machine's clock; set timezone" in text]
    assert len([text for text in said if "set timezone" in text]) == 1


def test_lines_without_a_stamp_are_no_sign_of_a_wrong_clock(clock: FakeClock) -> None:
    """The stamp of the line before them is as old as that line."""
    old = f"{(START - timedelta(minutes=10)).isoformat()} mx1 cron: x\n".encode()
    assert warnings(tick(clock, 1, None, old, *[b"no stamp\n"] * 20, None), clock) == []


def test_entries_of_before_the_start_are_no_sign_of_a_wrong_clock(clock: FakeClock) -> None:
    """Journalctl takes a while to begin; what it then says of the hour before was not written just now."""
    burst = [entry(changes={"__REALTIME_TIMESTAMP": str(int(START.timestamp() - 3600 + n) * 10**6)}) for n in range(20)]
    assert warnings(tick(clock, 0.01, None, *burst, None, entries=True), clock) == []


def test_the_loop_goes_on_while_it_is_blind(clock: FakeClock) -> None:
    """A warning is no fault: logins that are understood are granted."""
    ran = Parts(clock, b"what\n" * 1000, None, login(clock), None).run()
    assert ran.windows.permits(CLIENT)
    assert len(warnings(ran, clock)) == 1
