"""Stamps of every style, and the times that they mean."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popbeforesmtp.header import HeaderReader
from popbeforesmtp.stamps import OWN_STAMPS, STAMPS, changes_clock, read_stamp
from tests.headers import BERLIN, NOW, ZONED, ZONELESS, at, time_of, unhurried

AFTER_DST = at("2026-10-25T12:00:00+01:00")
YEARLESS = ("traditional", "zero padded", "short-precise")
LONDON = ZoneInfo("Europe/London")


@unhurried
@given(
    st.sampled_from(sorted(ZONED)),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Tokyo"]),
    st.datetimes(datetime(2001, 9, 10), datetime(2200, 1, 1)),
)
def test_a_stamp_that_names_its_zone_is_one_moment(style: str, zone: str, written: datetime) -> None:
    """In the repeated hour too, and whatever the line before said."""
    time = written.replace(microsecond=0, tzinfo=UTC)
    local = time.astimezone(ZoneInfo(zone))
    for previous in (None, time + timedelta(hours=1), time - timedelta(hours=1)):
        message = HeaderReader(ZoneInfo(zone), previous).read(f"{ZONED[style](local)}mx1 d: x".encode(), NOW)
        assert message is not None
        assert message.time == time


@pytest.mark.parametrize("style", ZONELESS)
def test_every_stamp_without_a_zone_goes_through_the_repeated_hour_in_order(style: str) -> None:
    """The line before tells which of the two hours it is."""
    reader = HeaderReader(BERLIN)
    written = [at("2026-10-24T22:00:00+00:00") + timedelta(minutes=10 * step) for step in range(30)]
    times = []
    for time in written:
        message = reader.read(f"{ZONELESS[style](time.astimezone(BERLIN))}mx1 d: x".encode(), AFTER_DST)
        assert message is not None
        times.append(message.time)
    assert times == written


@pytest.mark.parametrize("style", ZONELESS)
def test_without_a_line_before_the_earlier_of_two_hours_counts(style: str) -> None:
    """In doubt the shorter leave."""
    written = at("2026-10-25T01:30:00+00:00").astimezone(BERLIN)
    stamp = ZONELESS[style](written).removesuffix(" ")
    assert time_of(stamp, AFTER_DST, BERLIN) == at("2026-10-25T00:30:00+00:00")


@pytest.mark.parametrize("style", ZONELESS)
def test_the_hour_that_is_leapt_over_has_no_times_in_any_style(style: str) -> None:
    """A clock that was set forward never showed them."""
    stamp = ZONELESS[style](datetime(2026, 3, 29, 2, 30, tzinfo=BERLIN)).removesuffix(" ")
    assert time_of(stamp, at("2026-03-29T12:00:00+00:00"), BERLIN) is None


@unhurried
@given(
    st.sampled_from(YEARLESS),
    st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)),
    st.integers(-86400, 363 * 86400),
)
def test_the_year_left_out_is_found_again_in_every_style(style: str, written: datetime, later: int) -> None:
    """Across new year and on 29 February."""
    time = written.replace(microsecond=0, tzinfo=UTC)
    assert time_of(ZONELESS[style](time).removesuffix(" "), time + timedelta(seconds=later)) == time


@pytest.mark.parametrize("style", sorted(set(ZONELESS) - set(YEARLESS)))
def test_a_year_that_is_written_counts_as_it_stands(style: str) -> None:
    """However long ago, or still to come."""
    for time in (at("1999-12-31T23:59:59+00:00"), at("2027-12-31T23:59:59+00:00"), at("2024-02-29T00:00:00+00:00")):
        assert time_of(ZONELESS[style](time).removesuffix(" ")) == time


@pytest.mark.parametrize(
    ("style", "stamp", "expected"),
    [
        ("log4j", "2026-11-22 07:14:00,123", "2026-11-22T06:14:00.123000+00:00"),
        ("nginx", "2026/11/22 07:14:00", "2026-11-22T06:14:00+00:00"),
        ("nginx", "2026/07/22 07:14:00", "2026-07-22T05:14:00+00:00"),
        ("apache", "[22/Nov/2026 07:14:00]", "2026-11-22T06:14:00+00:00"),
        ("apache", "[22/Nov/2026:07:14:00 -0530]", "2026-11-22T12:44:00+00:00"),
        ("svlogd", "2026-11-22_07:14:00.12345", "2026-11-22T07:14:00.123450+00:00"),
        ("tai64n", "@400000006920c1a81d2f3c4c", "2025-11-21T19:46:38.489634+00:00"),
        ("tai64n", "@400000000000000a00000000", "1970-01-01T00:00:00+00:00"),
        ("unix", "1795331640.123456", "2026-11-22T07:14:00.123456+00:00"),
        ("iso", "2026-11-22 07:14:00.5", "2026-11-22T06:14:00.500000+00:00"),
        ("iso", "2026-11-22T07:14:60", "2026-11-22T06:15:00+00:00"),
        ("ctime", "Sun Nov  2 07:14:00 2025", "2025-11-02T06:14:00+00:00"),
        ("traditional", "Nov 22 07:14:00.123456789", "2026-11-22T06:14:00.123456+00:00"),
        ("full", "Sun 2026-11-22 07:14:00 CET", "2026-11-22T06:14:00+00:00"),
        ("full", "Sun 2026-10-25 02:14:00 CEST", "2026-10-25T00:14:00+00:00"),
        ("full", "Sun 2026-10-25 02:14:00 CET", "2026-10-25T01:14:00+00:00"),
        ("full", "Sun 2026-11-22 07:14:00 +01", "2026-11-22T06:14:00+00:00"),
        ("full", "Sun 2026-11-22 07:14:00 -0330", "2026-11-22T10:44:00+00:00"),
        ("full", "Sun 2026-11-22 07:14:00 GMT", "2026-11-22T07:14:00+00:00"),
        # Nobody knows, or nobody's clock ever showed it.
        ("full", "Sun 2026-11-22 07:14:00 CEST", None),
        ("full", "Sun 2026-11-22 07:14:00 EST", None),
        ("full", "Sun 2026-11-22 07:14:00 cet", None),
        ("full", "Sun 2026-03-29 02:14:00 CET", None),
        ("monotonic", "[   12.123456]", None),
        ("tai64n", "@400000006920c1a8ffffffff", None),
        ("tai64n", "@ffffffffffffffff00000000", None),
        ("tai64n", "@000000000000000000000000", None),
        ("nginx", "2026/02/29 07:14:00", None),
        ("nginx", "2026/11/22 24:00:00", None),
        ("log4j", "2026-13-22 07:14:00,123", None),
        ("apache", "[22/Xyz/2026 07:14:00]", None),
        ("apache", "[22/Nov/2026 07:14:00 +2400]", None),
        ("svlogd", "2026-11-31_07:14:00.12345", None),
        ("iso", "0000-11-22 07:14:00", None),
        ("iso", "2026-11-22 07:14:61", None),
        ("ctime", "Sun Nov 31 07:14:00 2026", None),
        ("traditional", "Nov 22 0000 07:14:00", None),
        ("rfc3339", "-", None),
    ],
)
def test_a_stamp_means_what_its_style_says(style: str, stamp: str, expected: str | None) -> None:
    """Stamps without a zone are Berlin's here; what is no time is none."""
    time = read_stamp(style, f"{stamp} ".encode(), NOW, BERLIN, None)
    assert time == (None if expected is None else at(expected))
    assert time is None or time.utcoffset() == timedelta()


def test_gmt_is_not_british_summer_time() -> None:
    """UTC by another name, in whatever zone."""
    assert time_of("Wed 2026-07-22 07:14:00 GMT", NOW, LONDON) == at("2026-07-22T07:14:00+00:00")
    assert time_of("Wed 2026-07-22 07:14:00 BST", NOW, LONDON) == at("2026-07-22T06:14:00+00:00")


@unhurried
@given(
    st.one_of(
        *(
            st.tuples(
                st.just(style),
                st.from_regex(source.decode(), fullmatch=True, alphabet=st.characters(max_codepoint=126)),
            )
            for style, source in {**STAMPS, **OWN_STAMPS}.items()
        )
    ),
    st.datetimes(),
    st.sampled_from([None, UTC, BERLIN, ZoneInfo("Pacific/Kiritimati")]),
    st.none() | st.datetimes(timezones=st.just(UTC)),
)
def test_no_stamp_raises(
    stamp: tuple[str, str], now: datetime, zone: ZoneInfo | None, previous: datetime | None
) -> None:
    """Whatever an expression lets through is a time in UTC, or none, at any time."""
    style, text = stamp
    time = read_stamp(style, text.encode(), now.replace(tzinfo=UTC), zone, previous)
    assert time is None or time.utcoffset() == timedelta()


@pytest.mark.parametrize("source", [*STAMPS.values(), *OWN_STAMPS.values()])
def test_every_stamp_ends_with_its_blank_and_with_no_line_s_end(source: bytes) -> None:
    """So whoever joins the expressions cannot run over into the next line."""
    assert source.endswith(b" ")
    assert b"\\s" not in source
    assert b"[^" not in source


@pytest.mark.parametrize(
    ("first", "last", "changes"),
    [
        ("2026-11-01T00:00:00+00:00", "2026-11-22T00:00:00+00:00", False),
        ("2026-10-26T00:59:00+00:00", "2026-11-22T00:00:00+00:00", True),
        ("2026-10-26T01:01:00+00:00", "2026-11-22T00:00:00+00:00", False),
        ("2026-10-24T01:01:00+00:00", "2026-10-24T01:01:00+00:00", True),
        ("2026-03-28T12:00:00+00:00", "2026-03-28T13:00:00+00:00", True),
        ("0001-01-01T00:00:00+00:00", "2026-03-28T13:00:00+00:00", True),
        ("2026-03-28T13:00:00+00:00", "9999-12-31T23:00:00+00:00", True),
    ],
)
def test_a_change_of_the_clock_is_seen_a_day_around(first: str, last: str, changes: bool) -> None:
    """Also where no calendar reaches."""
    assert changes_clock(at(first), at(last), BERLIN) is changes
