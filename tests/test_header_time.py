"""Headers of log lines: what time a stamp means."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from time import tzset
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from popbeforesmtp.header import HeaderReader
from popbeforesmtp.model import LogMessage
from tests.headers import BERLIN, NOW, at, plain, read, time_of, unhurried


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        ("2026-11-22T11:59:58Z", "2026-11-22T11:59:58+00:00"),
        ("2026-11-22T11:59:58+0000", "2026-11-22T11:59:58+00:00"),
        ("2026-11-22T11:59:58+00:00", "2026-11-22T11:59:58+00:00"),
        ("2026-11-22T11:59:58-00:00", "2026-11-22T11:59:58+00:00"),
        ("2026-11-22T12:59:58+01:00", "2026-11-22T11:59:58+00:00"),
        ("2026-11-22T06:29:58-0530", "2026-11-22T11:59:58+00:00"),
        ("2026-11-23T01:44:58+13:45", "2026-11-22T11:59:58+00:00"),
        ("2026-11-22T11:59:58.5Z", "2026-11-22T11:59:58.500000+00:00"),
        ("2026-11-22T11:59:58.000001Z", "2026-11-22T11:59:58.000001+00:00"),
        ("2026-11-22T11:59:58.999999999Z", "2026-11-22T11:59:58.999999+00:00"),
        ("2026-11-22T12:59:58.123456+01:00", "2026-11-22T11:59:58.123456+00:00"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00+00:00"),
        ("2017-01-01T00:59:60.25+01:00", "2017-01-01T00:00:00.250000+00:00"),
        ("2024-02-29T12:00:00Z", "2024-02-29T12:00:00+00:00"),
        ("1999-12-31T23:59:59Z", "1999-12-31T23:59:59+00:00"),
        ("2099-01-01T00:00:00Z", "2099-01-01T00:00:00+00:00"),
    ],
)
def test_an_rfc_3339_stamp_means_what_it_says(stamp: str, expected: str) -> None:
    """Zone and fraction count, the year is taken as it stands, and a leap second is the second after it."""
    time = time_of(stamp)
    assert time == at(expected)
    assert time.utcoffset() == timedelta()


@pytest.mark.parametrize(
    "stamp",
    [
        *("2026-02-29T12:00:00Z", "2026-11-31T12:00:00Z", "2026-13-01T12:00:00Z", "2026-00-01T12:00:00Z"),
        *("2026-11-00T12:00:00Z", "2026-11-22T24:00:00Z", "2026-11-22T12:60:00Z", "2026-11-22T12:00:61Z"),
        *("2026-11-22T12:00:00+24:00", "0000-01-01T00:00:00Z"),
        *("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:60Z", "9999-12-31T23:59:59-01:00"),
        *("Nov 31 12:00:00", "Feb 30 12:00:00", "Nov  0 12:00:00", "Nov 00 12:00:00", "Xyz 22 12:00:00"),
        *("Nov 22 24:00:00", "Nov 22 29:59:59", "Nov 22 12:00:61", "Nov 22 12:00:69"),
    ],
)
def test_a_stamp_that_is_no_time_leaves_the_line_without_one(stamp: str) -> None:
    """An impossible date is not guessed at; the rest of the line is still read."""
    message = read(f"{stamp} mail dovecot: hello".encode())
    assert plain(message) == LogMessage(None, b"dovecot", b"hello")


@pytest.mark.parametrize(
    ("now", "stamp", "expected"),
    [
        ("2026-11-22T12:00:00+00:00", "Nov 22 12:00:00", "2026-11-22T12:00:00+00:00"),
        ("2026-11-22T12:00:00+00:00", "Nov 22 11:59:59", "2026-11-22T11:59:59+00:00"),
        # at most one day ahead, else it was last year
        ("2026-11-22T12:00:00+00:00", "Nov 23 12:00:00", "2026-11-23T12:00:00+00:00"),
        ("2026-11-22T12:00:00+00:00", "Nov 23 12:00:01", "2025-11-23T12:00:01+00:00"),
        ("2026-11-22T12:00:00.999999+00:00", "Nov 23 12:00:01", "2025-11-23T12:00:01+00:00"),
        # new year
        ("2027-01-01T00:00:01+00:00", "Dec 31 23:59:59", "2026-12-31T23:59:59+00:00"),
        ("2027-01-01T00:00:00+00:00", "Dec 31 00:00:00", "2026-12-31T00:00:00+00:00"),
        ("2026-12-31T23:59:59+00:00", "Jan  1 00:00:01", "2027-01-01T00:00:01+00:00"),
        ("2026-12-31T00:00:00+00:00", "Jan  1 00:00:00", "2027-01-01T00:00:00+00:00"),
        ("2026-12-31T00:00:00+00:00", "Jan  1 00:00:01", "2026-01-01T00:00:01+00:00"),
        # 29 February
        ("2028-02-29T12:00:00+00:00", "Feb 29 11:00:00", "2028-02-29T11:00:00+00:00"),
        ("2028-03-01T00:00:00+00:00", "Feb 29 23:59:59", "2028-02-29T23:59:59+00:00"),
        ("2028-02-28T12:00:00+00:00", "Feb 29 12:00:00", "2028-02-29T12:00:00+00:00"),
        ("2028-02-28T11:59:59+00:00", "Feb 29 12:00:00", "2024-02-29T12:00:00+00:00"),
        ("2026-11-22T12:00:00+00:00", "Feb 29 12:00:00", "2024-02-29T12:00:00+00:00"),
        ("2104-02-01T12:00:00+00:00", "Feb 29 12:00:00", "2096-02-29T12:00:00+00:00"),
    ],
)
def test_a_stamp_without_a_year_gets_the_nearest_one_at_most_a_day_ahead(now: str, stamp: str, expected: str) -> None:
    """The year is the one that puts the stamp nearest to now, across new year and on 29 February as well."""
    assert time_of(stamp, at(now)) == at(expected)


@unhurried
@given(st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)), st.integers(-86400, 363 * 86400))
@example(datetime(2028, 2, 29, 12), 363 * 86400)
@example(datetime(2026, 12, 31, 23, 59, 59), 1)
def test_the_year_left_out_is_found_again(written: datetime, later: int) -> None:
    """What is read from a day before it was written to nearly a year after gets the year in which it was written."""
    time = written.replace(microsecond=0, tzinfo=UTC)
    stamp = f"{time:%b} {time.day:2} {time:%H:%M:%S}"
    assert time_of(stamp, time + timedelta(seconds=later)) == time


@pytest.mark.parametrize(
    ("zone", "now", "stamp", "expected"),
    [
        ("Europe/Berlin", "2026-11-22T12:00:00+00:00", "Nov 22 13:00:00", "2026-11-22T12:00:00+00:00"),
        ("Europe/Berlin", "2026-07-22T12:00:00+00:00", "Jul 22 14:00:00", "2026-07-22T12:00:00+00:00"),
        ("Asia/Kolkata", "2026-11-22T12:00:00+00:00", "Nov 22 17:30:00", "2026-11-22T12:00:00+00:00"),
        # the zone's year, not ours: Kiritimati is 14 hours ahead
        ("Pacific/Kiritimati", "2026-12-31T11:00:00+00:00", "Jan  1 00:59:59", "2026-12-31T10:59:59+00:00"),
        ("America/New_York", "2027-01-01T03:00:00+00:00", "Dec 31 21:59:59", "2027-01-01T02:59:59+00:00"),
    ],
)
def test_a_stamp_without_a_zone_is_read_in_the_zone_of_its_source(
    zone: str, now: str, stamp: str, expected: str
) -> None:
    """Local time becomes UTC by the rules of the zone, at new year too."""
    assert time_of(stamp, at(now), ZoneInfo(zone)) == at(expected)


def test_a_stamp_that_names_its_zone_does_not_care_for_ours() -> None:
    """An RFC 3339 stamp is the same moment whatever zone the source has."""
    assert time_of("2026-11-22T12:00:00+02:00", NOW, BERLIN) == at("2026-11-22T10:00:00+00:00")


@pytest.fixture
def machine_in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put this machine into the zone Europe/Berlin."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    tzset()
    yield
    monkeypatch.undo()
    tzset()


@pytest.mark.usefixtures("machine_in_berlin")
def test_without_a_zone_the_machine_s_own_counts() -> None:
    """Where the source names no zone, stamps are local time, with its summer time and its repeated hour."""
    reader = HeaderReader()
    moments = [
        ("Nov 22 13:00:00", "2026-11-22T12:00:00+00:00", NOW),
        ("Jul 22 14:00:00", "2026-07-22T12:00:00+00:00", NOW),
        ("Oct 25 01:59:00", "2026-10-24T23:59:00+00:00", NOW),
        ("Oct 25 02:59:00", "2026-10-25T00:59:00+00:00", NOW),
        ("Oct 25 02:01:00", "2026-10-25T01:01:00+00:00", NOW),
    ]
    for stamp, expected, now in moments:
        message = reader.read(f"{stamp} mail dovecot: hello".encode(), now)
        assert message is not None
        assert message.time == at(expected)


AFTER_DST = at("2026-10-25T12:00:00+01:00")  # the clocks went back at 03:00 CEST = 01:00 UTC


@pytest.mark.parametrize(
    ("previous", "stamp", "expected"),
    [
        (None, "Oct 25 01:59:59", "2026-10-24T23:59:59+00:00"),
        (None, "Oct 25 02:00:00", "2026-10-25T00:00:00+00:00"),  # in doubt the earlier: the shorter leave
        (None, "Oct 25 02:59:59", "2026-10-25T00:59:59+00:00"),
        (None, "Oct 25 03:00:00", "2026-10-25T02:00:00+00:00"),
        ("2026-10-25T00:59:59+00:00", "Oct 25 02:00:00", "2026-10-25T01:00:00+00:00"),
        ("2026-10-25T00:20:00+00:00", "Oct 25 02:30:00", "2026-10-25T00:30:00+00:00"),
        ("2026-10-25T01:20:00+00:00", "Oct 25 02:30:00", "2026-10-25T01:30:00+00:00"),
        ("2026-10-25T01:00:00+00:00", "Oct 25 02:30:00", "2026-10-25T00:30:00+00:00"),  # both as near: the earlier
        ("2026-10-25T01:00:01+00:00", "Oct 25 02:30:00", "2026-10-25T01:30:00+00:00"),
        ("2026-10-25T09:00:00+00:00", "Oct 25 02:30:00", "2026-10-25T01:30:00+00:00"),
        ("2026-10-01T09:00:00+00:00", "Oct 25 02:30:00", "2026-10-25T00:30:00+00:00"),
    ],
)
def test_the_repeated_hour_is_told_by_the_line_before(previous: str | None, stamp: str, expected: str) -> None:
    """In the hour that comes twice the reading nearest to the preceding line counts, without one the earlier."""
    reader = HeaderReader(BERLIN, previous=None if previous is None else at(previous))
    message = reader.read(f"{stamp} mail dovecot: hello".encode(), AFTER_DST)
    assert message is not None
    assert message.time == at(expected)


def test_lines_in_order_go_through_the_repeated_hour_in_order() -> None:
    """A log that says something every ten minutes is read without a jump through both passes of the hour."""
    reader = HeaderReader(BERLIN)
    written = [at("2026-10-24T22:00:00+00:00") + timedelta(minutes=10 * step) for step in range(30)]
    times = []
    for time in written:
        local = time.astimezone(BERLIN)
        message = reader.read(f"{local:%b} {local.day:2} {local:%H:%M:%S} mail dovecot: hello".encode(), AFTER_DST)
        assert message is not None
        times.append(message.time)
    assert times == written


def test_a_stamp_that_names_its_zone_tells_the_next_one_which_hour_it_is() -> None:
    """Both kinds of stamps mixed in one file help each other."""
    reader = HeaderReader(BERLIN)
    reader.read(b"2026-10-25T02:10:00+01:00 mail dovecot: second pass", AFTER_DST)
    message = reader.read(b"Oct 25 02:20:00 mail dovecot: hello", AFTER_DST)
    assert message is not None
    assert message.time == at("2026-10-25T01:20:00+00:00")


@pytest.mark.parametrize("stamp", ["Mar 29 02:00:00", "Mar 29 02:30:00", "Mar 29 02:59:59"])
def test_the_hour_that_is_leapt_over_has_no_times(stamp: str) -> None:
    """A clock that was set forward never showed these times, so they are impossible: no time, not last year's."""
    reader = HeaderReader(BERLIN, previous=at("2026-03-29T00:59:59+00:00"))
    message = reader.read(f"{stamp} mail dovecot: hello".encode(), at("2026-03-29T12:00:00+00:00"))
    assert message is not None
    assert message.time is None
    assert reader.previous == at("2026-03-29T00:59:59+00:00")


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [("Mar 29 01:59:59", "2026-03-29T00:59:59+00:00"), ("Mar 29 03:00:00", "2026-03-29T01:00:00+00:00")],
)
def test_the_hours_around_a_leap_forward_are_ordinary(stamp: str, expected: str) -> None:
    """One second before and after the hour that does not exist, times are read as ever."""
    assert time_of(stamp, at("2026-03-29T12:00:00+00:00"), BERLIN) == at(expected)


def test_the_time_of_the_line_before_is_kept_and_an_impossible_one_changes_nothing() -> None:
    """``previous`` is the last time that was one: it is saved, and reading goes on from it after a restart."""
    reader = HeaderReader(UTC)
    assert reader.previous is None
    reader.read(b"Nov 22 11:00:00 mail dovecot: hello", NOW)
    assert reader.previous == at("2026-11-22T11:00:00+00:00")
    reader.read(b"Nov 31 11:00:01 mail dovecot: hello", NOW)
    reader.read(b"no header at all", NOW)
    assert reader.previous == at("2026-11-22T11:00:00+00:00")
    reader.read(b"2026-11-22T10:59:59Z mail dovecot: hello", NOW)
    assert reader.previous == at("2026-11-22T10:59:59+00:00")


def test_lines_of_the_same_second_have_the_same_time_and_each_its_own_text() -> None:
    """A stamp that is repeated is remembered, but nothing else of its line is."""
    reader = HeaderReader(UTC)
    first = reader.read(b"Nov 22 11:00:00 mail dovecot: one", NOW)
    second = reader.read(b"Nov 22 11:00:00 mail postfix/smtpd[3]: two", NOW)
    third = reader.read(b"Nov 22 11:00:01 mail dovecot: three", NOW)
    fourth = reader.read(b"Nov 31 11:00:01 mail dovecot: four", NOW)
    fifth = reader.read(b"Nov 31 11:00:01 mail dovecot: five", NOW)
    eleven = at("2026-11-22T11:00:00+00:00")
    assert plain(first) == LogMessage(eleven, b"dovecot", b"one")
    assert plain(second) == LogMessage(eleven, b"postfix/smtpd", b"two")
    assert plain(third) == LogMessage(eleven + timedelta(seconds=1), b"dovecot", b"three")
    assert plain(fourth) == LogMessage(None, b"dovecot", b"four")
    assert plain(fifth) == LogMessage(None, b"dovecot", b"five")
