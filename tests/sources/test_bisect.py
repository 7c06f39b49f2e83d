"""Stamps: where the window begins in a log is found by reading little of it, or it is said that it cannot be."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popbeforesmtp.sources._bisect import Stamps
from tests.sources.stamped import NOON, at, line, lines, since

LAST = at(86_400)
SLACK = 60


@contextmanager
def stamps_of(data: bytes) -> Iterator[Stamps]:
    """Put data into a file."""
    descriptor = os.memfd_create("log")
    try:
        os.write(descriptor, data)
        yield Stamps(descriptor, UTC, LAST)
    finally:
        os.close(descriptor)


def start_in(data: bytes, seconds: float, begin: int = 0) -> int | None:
    """Find where the window begins in some data."""
    with stamps_of(data) as stamps:
        return stamps.find_start(begin, at(seconds))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0, 30), max_size=400), st.floats(-100, 10_000), st.integers(1, 30))
def test_every_line_since_the_moment_lies_behind_the_place(steps: list[float], seconds: float, scale: int) -> None:
    """And the place is the beginning of a line, at most a minute's lines too early, or a line at the end."""
    times, now = [], 0.0
    for step in steps:
        now += step * scale / 10
        times.append(now)
    data = lines(times)
    start = start_in(data, seconds)
    assert start is not None
    assert start == 0 or data[start - 1 : start] == b"\n"
    assert data[start:].endswith(since(data, seconds))
    assert len(data[start:]) <= max(len(since(data, seconds - SLACK)), 100)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-29, 29), min_size=1, max_size=500), st.floats(0, 500))
def test_a_little_disorder_loses_no_line(jitter: list[float], seconds: float) -> None:
    """Lines of several machines do not come in the order of their stamps."""
    data = lines(number + offset for number, offset in enumerate(jitter))
    start = start_in(data, seconds)
    assert start is not None
    for part in since(data, seconds).splitlines(keepends=True):
        assert data.find(part) >= start


@pytest.mark.parametrize("seconds", [0, 20_000, 60_000])
def test_stamps_that_are_not_in_order_are_noticed(seconds: float) -> None:
    """Then only a look at every line finds all."""
    times = list(range(0, 80_000, 4))
    random.Random(1).shuffle(times)
    assert start_in(lines(times), seconds) is None


def test_lines_that_come_late_before_the_place_are_noticed() -> None:
    """A relay that was away for an hour sends what is an hour old, among what is new."""
    times = [float(number) for number in range(0, 40_000, 4)]
    place = times.index(20_000)
    times[place - 200] = 30_000.0
    assert start_in(lines(times), 20_000) is None


def test_a_clock_that_was_set_back_by_hours_is_noticed() -> None:
    """The same hours are there twice, and both count."""
    times = [*range(0, 40_000, 4), *range(10_000, 30_000, 4)]
    assert start_in(lines(times), 25_000) is None


def test_lines_without_a_time_are_stepped_over() -> None:
    """A trace over many lines has no stamps."""
    data = b"".join(line(number) + b"  no stamp here\n" * 100 for number in range(1000))
    start = start_in(data, 700)
    assert start is not None
    assert data[start:].startswith(line(700 - SLACK))


def test_a_file_without_stamps_is_read_whole() -> None:
    """There is nothing to go by."""
    assert start_in(b"no stamp here\n" * 10_000, 0) is None


def test_an_empty_file_begins_at_its_beginning() -> None:
    """There is nothing to find, and nothing wrong."""
    with stamps_of(b"") as stamps:
        assert stamps.find_start(0, NOON) in (0, None)


def test_a_half_line_at_the_end_is_not_looked_at() -> None:
    """Its stamp may be half, too."""
    data = lines(range(100)) + line(10_000)[:-1]
    start = start_in(data, 5_000)
    assert start is not None
    assert start <= len(lines(range(100)))


def test_nothing_before_the_beginning_is_looked_at() -> None:
    """What lies before a checkpoint was read, and may be in any order."""
    old = lines(range(50_000, 0, -5))
    new = lines(range(60_000, 70_000))
    start = start_in(old + new, 65_000, len(old))
    assert start is not None
    assert (old + new)[start:].startswith(at(65_000 - SLACK).isoformat(timespec="microseconds").encode())


def test_stamps_without_a_year_are_of_the_last_year_that_fits() -> None:
    """The file's last writing tells the year."""
    first = datetime(2025, 12, 1, tzinfo=UTC)
    times = [first + timedelta(minutes=number) for number in range(60 * 24 * 60)]
    data = b"".join(time.strftime("%b %e %H:%M:%S mx1 dovecot: text\n").encode() for time in times)
    descriptor = os.memfd_create("log")
    os.write(descriptor, data)
    start = Stamps(descriptor, UTC, times[-1]).find_start(0, datetime(2026, 1, 10, tzinfo=UTC))
    os.close(descriptor)
    assert start is not None
    assert data[start:].startswith(b"Jan  9 23:59:00 ")


def test_a_large_file_is_hardly_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few hundred kilobytes tell where to begin in any file."""
    log = tmp_path / "mail.log"
    with log.open("wb") as stream:
        for hour in range(60):
            stream.write(lines(hour * 3600 + number * 0.36 for number in range(10_000)))
    read = 0
    pread = os.pread

    def counting(descriptor: int, size: int, offset: int) -> bytes:
        nonlocal read
        data = pread(descriptor, size, offset)
        read += len(data)
        return data

    monkeypatch.setattr(os, "pread", counting)
    descriptor = os.open(log, os.O_RDONLY)
    start = Stamps(descriptor, UTC, LAST).find_start(0, at(58 * 3600))
    assert start is not None
    assert pread(descriptor, 26, start).startswith(at(58 * 3600 - SLACK).isoformat()[:18].encode())
    os.close(descriptor)
    assert log.stat().st_size > 30_000_000
    assert read < 200_000
