"""What is remembered of a source: places, and whom to doubt behind them."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popbeforesmtp import wiring
from popbeforesmtp.following import Followed, Reading, read_place, write_place
from popbeforesmtp.header import HeaderReader
from popbeforesmtp.model import Block, EventKind
from popbeforesmtp.sources.file import FileSource
from tests.clocks import FakeClock

NOW = datetime(2026, 11, 22, 7, 20, tzinfo=UTC)
CUT = b"Nov 22 07:14:00 mx1 pop3d-ssl: LOGIN FAILED, user=" + b"A" * 486
REST = b"Nov 22 07:19:00 mx1 pop3d-ssl: LOGIN, user=alice, ip=[::ffff:9.9.9.9], port=[4242]"
OTHER = b"Nov 22 07:19:00 mx1 pop3d: LOGIN, user=bob, ip=[::ffff:192.0.2.1], port=[4242]"
FILLER = b"Nov 22 07:15:00 mx1 postfix/smtpd[1]: connect from unknown[192.0.2.9]"


class Log:
    """A log in memory, and who follows it."""

    def __init__(self, place: str | None = None, *, gap: bool = False) -> None:
        self._clock = FakeClock(wall=NOW)
        engine = wiring.engine()
        doubted: Mapping[str, list[bytes]] = {}
        self.place = "0"
        if place is not None:
            self.place, doubted = read_place(place)
        source = FileSource.__new__(FileSource)
        source.name = "mail.log"
        self._followed = Followed(source, engine, lambda: Reading(HeaderReader(UTC), engine.sieve()), doubted=doubted)
        self._gap = gap

    def read(self, *lines: bytes) -> list[str]:
        """Read some lines; return who logged in by them. The place is kept, where it may be."""
        data = b"".join(line + b"\n" for line in lines)
        block = Block(data, 0, str(int(self.place) + len(data)), gap=self._gap)
        self._gap, reading, users = False, self._followed.reading(block), []
        for start, end in self._followed.candidates(reading, data, NOW):
            event = self._followed.read_line(reading, data[start:end], NOW)
            if event is not None and event.kind is EventKind.LOGIN:
                users.append(event.user or "")
        self.kept = self._followed.read_to(reading, block, 0, self._clock.now())
        return users


@given(
    st.text(max_size=20),
    st.dictionaries(st.text(max_size=9), st.lists(st.binary(max_size=9), min_size=1, max_size=3), max_size=3),
)
def test_a_place_is_read_as_it_was_written(checkpoint: str, doubted: dict[str, list[bytes]]) -> None:
    """With everybody who was doubted there, whatever they are called."""
    checkpoint = f"v{checkpoint}"
    assert read_place(write_place(checkpoint, doubted)) == (checkpoint, doubted)


def test_who_was_doubted_is_doubted_behind_a_restart_too() -> None:
    """The place is not kept for a megabyte, so the cut record would be read again; then it is, with the doubt."""
    log = Log()
    assert log.read(CUT) == []
    assert log.kept == ""
    log.read(*[FILLER] * 20_000)
    place = log.kept
    assert place
    for again in (Log(place), Log(place)):
        assert again.read(REST) == []
    assert Log(place).read(OTHER) == ["bob"]
    assert Log(read_place(place)[0]).read(REST) == ["alice"]


def test_a_settled_place_is_the_source_s_own() -> None:
    """Nothing is added to it."""
    log = Log()
    log.read(OTHER)
    assert log.kept == str(len(OTHER) + 1)


@pytest.mark.parametrize(("gap", "users"), [(True, []), (False, ["alice"])])
def test_behind_lines_that_were_passed_by_a_writer_may_have_been_cut(gap: bool, users: list[str]) -> None:
    """Nobody saw it; so it is believed once it cannot be out of step any more."""
    log = Log(gap=gap)
    assert log.read(REST) == users
    quiet = [
        f"Nov 22 07:19:{at:02} mx1 pop3d-ssl: Connection, ip=[192.0.2.1], port=[5]".encode() for at in (1, 9, 9, 9)
    ]
    assert log.read(*quiet, REST.replace(b"07:19:00", b"07:19:30").replace(b"alice", b"carol")) == ["carol"]
    login = b"Nov 22 07:19:31 mx1 dovecot: imap-login: Login: user=<dora>, method=PLAIN, rip=192.0.2.7, lip=192.0.2.8"
    assert Log(gap=gap).read(login) == ["dora"]


def test_the_doubt_of_a_gap_is_as_long_as_that_behind_a_cut_record() -> None:
    """Two records, a silence, and three more."""
    log, believed = Log(gap=True), []
    for number in range(9):
        stamp = NOW - timedelta(seconds=300 - 10 * number)
        line = f"{stamp:%b %d %H:%M:%S} mx1 pop3d: LOGIN, user=u{number}, ip=[192.0.2.1], port=[5]"
        believed += log.read(line.encode())
    assert believed == ["u5", "u6", "u7", "u8"]


def test_who_was_doubted_in_a_log_that_stays_silent_is_doubted_for_good() -> None:
    """A place is kept for all logs of a source together, each time that one of them is read."""
    log = Log(write_place("0", {"another.log": [b"mx1 pop3d: "]}))
    log.read(OTHER)
    assert read_place(log.kept) == (str(len(OTHER) + 1), {"another.log": [b"mx1 pop3d: "]})
