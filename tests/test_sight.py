"""Whether a log still shows what happens: each sign of blindness, on both sides of where it begins."""

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popbeforesmtp.model import EventKind, LogMessage
from popbeforesmtp.sight import SYSLOGDS, Sight, looks_like_a_login
from tests.clocks import FakeClock
from tests.hostile import EVENTS
from tests.samples import lines as lines_of
from tests.samples import message
from tests.site import Site, wait_for

LINES, SAMPLES, SILENT, GAPS = 200, 12, 3600.0, 100


def lines(sight: Sight, clock: FakeClock, count: int, unknown: int) -> None:
    """Take in lines, one by one; the first ones have no header that we know."""
    for number in range(count):
        sight.saw(1, int(number < unknown), None, clock.now(), live=False)


def signs(sight: Sight, clock: FakeClock) -> set[str]:
    """Return what it warns of."""
    return set(sight.warnings(clock.now()))


# Headers


@pytest.mark.parametrize(
    ("count", "unknown", "warned"),
    [(0, 0, 0), (1, 1, 0), (199, 199, 0), (200, 99, 0), (200, 100, 1), (200, 200, 1), (399, 199, 0), (399, 200, 1)],
)
def test_half_of_the_lines_without_a_header_is_a_sign(count: int, unknown: int, warned: int) -> None:
    """Not of a few lines, and not less than half."""
    sight, clock = Sight(), FakeClock()
    lines(sight, clock, count, unknown)
    assert len(signs(sight, clock) & {"headers"}) == warned


def test_what_is_understood_again_is_no_sign_any_more() -> None:
    """Nor are a few strange lines in a long log."""
    sight, clock = Sight(), FakeClock()
    lines(sight, clock, 5000, 5000)
    assert "100 % of the last lines have no header" in sight.warnings(clock.now())["headers"]
    lines(sight, clock, 2000, 0)
    assert signs(sight, clock) == set()
    lines(sight, clock, 190, 190)
    assert signs(sight, clock) == set()
    lines(sight, clock, 600, 600)
    assert signs(sight, clock) == {"headers"}


def test_one_block_of_many_lines_counts_as_they_do() -> None:
    """However the source cuts."""
    sight, clock = Sight(), FakeClock()
    sight.saw(100_000, 100_000, None, clock.now(), live=False)
    assert signs(sight, clock) == {"headers"}
    sight.saw(1_000_000, 0, None, clock.now(), live=False)
    assert signs(sight, clock) == set()


# Clock


def stamped(sight: Sight, clock: FakeClock, *offsets: float, live: bool = True) -> None:
    """Take in a line for each offset of its stamp from our clock, a second apart."""
    for offset in offsets:
        now = clock.advance(1)
        sight.saw(1, 0, now.wall + timedelta(seconds=offset), now, live=live)


@pytest.mark.parametrize("offset", [-3600, 3600, 7200, -19800, 61, -61])
def test_stamps_a_steady_time_away_are_a_sign(offset: float) -> None:
    """A log in another time zone, or a clock that nobody sets."""
    sight, clock = Sight(), FakeClock()
    stamped(sight, clock, *[offset] * (SAMPLES - 1))
    assert signs(sight, clock) == set()
    stamped(sight, clock, offset)
    said = sight.warnings(clock.now())["clock"]
    assert ("ahead of" if offset > 0 else "behind") in said
    assert "set timezone for this source" in said


@pytest.mark.parametrize("offset", [0, 60, -60, 59.9, -1])
def test_stamps_that_are_close_enough_are_no_sign(offset: float) -> None:
    """What the rules let pass for the same time."""
    sight, clock = Sight(), FakeClock()
    stamped(sight, clock, *[offset] * 50)
    assert signs(sight, clock) == set()


def test_jitter_is_no_sign_and_a_little_of_it_hides_none() -> None:
    """Stamps that agree within half a minute agree."""
    sight, clock = Sight(), FakeClock()
    stamped(sight, clock, *[3600, 3630] * 6)
    assert signs(sight, clock) == {"clock"}
    stamped(sight, clock, 3600, 3631)
    assert signs(sight, clock) == set()
    for wild in range(0, -1200, -100):  # a queue that is written late
        stamped(sight, clock, wild)
    assert signs(sight, clock) == set()


def test_a_clock_that_was_set_right_is_no_sign_any_more() -> None:
    """As soon as nothing of before is left."""
    sight, clock = Sight(), FakeClock()
    stamped(sight, clock, *[7200] * 20)
    assert signs(sight, clock) == {"clock"}
    stamped(sight, clock, *[0] * SAMPLES)
    assert signs(sight, clock) == set()


def test_a_log_that_is_caught_up_with_is_not_behind_the_clock() -> None:
    """Old lines have old stamps."""
    sight, clock = Sight(), FakeClock()
    stamped(sight, clock, *[-86400] * 1000, live=False)
    assert signs(sight, clock) == set()
    stamped(sight, clock, *[0] * 20)
    assert signs(sight, clock) == set()


# Silence


def rhythm(sight: Sight, clock: FakeClock, every: float, times: int, *, live: bool = True) -> None:
    """Take in a line every so many seconds."""
    for _ in range(times):
        now = clock.advance(every)
        sight.saw(1, 0, now.wall, now, live=live)


@pytest.mark.parametrize(("every", "limit"), [(1, SILENT), (30, SILENT), (100, GAPS * 100)])
def test_a_log_that_falls_silent_is_a_sign(every: float, limit: float) -> None:
    """After an hour, and a hundred times as long as it usually takes; and none any more when it goes on."""
    sight, clock = Sight(), FakeClock()
    rhythm(sight, clock, every, 1000)
    clock.advance(limit * 0.99)
    assert signs(sight, clock) == set()
    clock.advance(limit * 0.01)
    assert signs(sight, clock) == {"silence"}
    rhythm(sight, clock, every, 1)
    assert signs(sight, clock) == set()


def test_a_log_that_never_was_lively_may_be_silent() -> None:
    """Nothing is known of its rhythm; nor is of one that was never written to."""
    sight, clock = Sight(), FakeClock()
    clock.advance(1_000_000)
    assert signs(sight, clock) == set()
    rhythm(sight, clock, 1, LINES - 1)
    clock.advance(1_000_000)
    assert signs(sight, clock) == set()


def test_a_step_of_the_wall_clock_is_no_silence() -> None:
    """Silence is measured by the clock that nobody sets."""
    sight, clock = Sight(), FakeClock()
    rhythm(sight, clock, 1, 1000)
    clock.step(86400)
    assert signs(sight, clock) == set()


def test_a_log_that_was_caught_up_with_is_not_known_to_be_lively() -> None:
    """A thousand blocks in a second at the start say nothing of how often somebody writes."""
    sight, clock = Sight(), FakeClock()
    rhythm(sight, clock, 0.001, 1000, live=False)
    rhythm(sight, clock, 600, 3)
    clock.advance(2 * SILENT)  # a small server at night
    assert signs(sight, clock) == set()


# Dropped messages

DROPPED = {
    "rsyslog 5, imuxsock": (b"rsyslogd", b"imuxsock lost 12 messages from pid 34 due to rate-limiting"),
    # written by Debian 12's rsyslog 8.2302 when a program sent 30 lines, and 5 were allowed
    "rsyslog 8, imuxsock": (
        b"rsyslogd",
        b"imuxsock[pid: 91, name: /usr/bin/log]: 25 messages lost due to rate-limiting (5 allowed within 2 seconds)",
    ),
    # runtime/ratelimit.c: "%s: %u messages lost due to rate-limiting (%u allowed within %u seconds)"
    "rsyslog 8, imjournal": (
        b"rsyslogd",
        b"imjournal: 7 messages lost due to rate-limiting (20000 allowed within 600 seconds)",
    ),
    "journald": (b"systemd-journald", b"Suppressed 512 messages from dovecot.service"),
    "journald, a unit with a hyphen": (b"systemd-journald", b"Suppressed 5 messages from system-getty.slice"),
}


@pytest.mark.parametrize("which", DROPPED)
def test_a_syslog_daemon_that_dropped_messages_is_a_sign(which: str) -> None:
    """Logins may have been among them."""
    program, text = DROPPED[which]
    sight, clock = Sight(), FakeClock()
    assert sight.heard(LogMessage(None, program, text))
    assert sight.heard(LogMessage(None, program, text))
    sight.saw(2, 0, None, clock.now(), live=True)  # the block that they stand in
    number = next(int(word) for word in text.split() if word.isdigit() and int(word) > 1)
    assert f"dropped {2 * number} messages" in sight.warnings(clock.now())["dropped"]


@pytest.mark.parametrize("program", [b"dovecot", b"postfix/smtpd", b"", None, b"rsyslogd2", b"Rsyslogd"])
def test_no_other_program_says_that_messages_were_dropped(program: bytes | None) -> None:
    """A stranger chooses what Postfix writes of a HELO."""
    sight, clock = Sight(), FakeClock()
    for _, text in DROPPED.values():
        assert not sight.heard(LogMessage(None, program, text))
    assert signs(sight, clock) == set()


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"x", b'[origin software="rsyslogd"] start', b"-- MARK --", b"Suppressed messages from x"),
        b"helo=<imuxsock lost 12 messages from pid 34 due to rate-limiting>",
        b"Suppressed " + b"9" * 5000 + b" messages from x",
        b"imuxsock[pid: 91, name: x] from <mx1:dovecot>: begin to drop messages due to rate-limiting",
    ],
)
def test_whatever_else_a_syslog_daemon_says_is_no_sign(text: bytes) -> None:
    """Nor does a number without end stop anything."""
    assert not Sight().heard(LogMessage(None, b"rsyslogd", text))


@given(st.sampled_from(SYSLOGDS), st.binary(max_size=60), st.integers(0, 10**12))
def test_nothing_that_is_said_breaks_the_sight(program: bytes, junk: bytes, number: int) -> None:
    """Whoever calls himself a syslog daemon gets a warning out of it, and nothing else."""
    sight, clock = Sight(), FakeClock()
    for text in (
        junk,
        b"imuxsock lost %d messages from %b" % (number, junk),
        b"Suppressed %d messages from %b" % (number, junk),
    ):
        sight.heard(LogMessage(None, program, text))
    assert signs(sight, clock) <= {"dropped"}
    assert all(said.isascii() for said in sight.warnings(clock.now()).values())


# What the administrator hears of it


def test_a_sign_is_said_once_and_shown_by_status_with_exit_status_1(site: Site) -> None:
    """By a real daemon, of a log of which it understands nothing."""
    site.start()
    site.ready()
    assert site.command("status", "--config", site.config).returncode == 0
    with site.log.open("a") as log:
        log.write("what is this\n" * 300)
    wait_for("it is said", lambda: "have no header that we know" in site.said())
    status = site.command("status", "--config", site.config)
    assert status.returncode == 1
    assert f"warning         {site.log}: 100 % of the last lines have no header that we know" in status.stdout
    assert site.said().count("have no header that we know") == 1


# Logins that are not understood


LIKE_A_LOGIN = b"imap-login: Logged in: user=<alice>, remote=192.0.2.1\x1b[2J"


def test_lines_that_look_like_logins_and_fit_nothing_are_a_sign() -> None:
    """With one example, escaped, and the command that helps."""
    sight, clock = Sight(), FakeClock()
    for _ in range(2):
        sight.not_understood(LogMessage(None, b"dovecot", LIKE_A_LOGIN))
    assert signs(sight, clock) == set()
    sight.not_understood(LogMessage(None, b"dovecot", LIKE_A_LOGIN))
    warning = sight.warnings(clock.now())["unread"]
    assert "Logged in: user=<alice>, remote=192.0.2.1\\x1b[2J" in warning
    assert "scan --explain" in warning


@pytest.mark.parametrize("sample", EVENTS, ids=lambda path: path.stem)
def test_the_login_of_every_server_looks_like_one_if_its_layout_changes(sample: Path) -> None:
    """Else nobody would hear of a new version that is not understood."""
    texts = lines_of(sample)
    for number, event in EVENTS[sample]:
        if event.kind is EventKind.LOGIN:
            read = message(texts[number - 1])
            assert read is not None
            assert looks_like_a_login(read.text + b" new"), read.text


@pytest.mark.parametrize(
    "text", [b"imap-login: Disconnected: user=<Logged in>", b"Login failed", b"not authenticated", b"x"]
)
def test_what_says_that_nobody_logged_in_is_none(text: bytes) -> None:
    """Failures are for strangers to write."""
    sight, clock = Sight(), FakeClock()
    for _ in range(100):
        sight.not_understood(LogMessage(None, b"dovecot", text))
    assert signs(sight, clock) == set()


def test_few_among_many_that_are_understood_are_none() -> None:
    """One in ten is."""
    sight, clock = Sight(), FakeClock()
    for _ in range(100):
        sight.logged_in(clock.now(), live=True)
    for _ in range(9):
        sight.not_understood(LogMessage(None, b"dovecot", LIKE_A_LOGIN))
    assert signs(sight, clock) == set()
    sight.not_understood(LogMessage(None, b"dovecot", LIKE_A_LOGIN))
    assert signs(sight, clock) == {"unread"}


def test_logins_that_stop_while_the_log_goes_on_are_a_sign() -> None:
    """The server may have been told to log less."""
    sight, clock = Sight(), FakeClock()
    for _ in range(300):
        now = clock.advance(10)
        sight.saw(1, 0, now.wall, now, live=True)
        sight.logged_in(now, live=True)
    for _ in range(400):
        now = clock.advance(10)
        sight.saw(1, 0, now.wall, now, live=True)
    assert signs(sight, clock) == {"rare"}
    sight.logged_in(clock.now(), live=True)
    assert signs(sight, clock) == set()
