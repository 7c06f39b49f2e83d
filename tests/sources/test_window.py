"""FileSource: from nothing, or from far behind, reading begins where the window does."""

import gzip
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popbeforesmtp.sources import _history
from popbeforesmtp.sources._openlog import OpenLog
from popbeforesmtp.sources.file import FileSource
from tests.sources.following import Hand, append, at_time, drain, last_checkpoint, rest_after, text
from tests.sources.stamped import at, line, lines, since


@pytest.fixture(autouse=True)
def hand(monkeypatch: pytest.MonkeyPatch) -> Hand:
    """Let the window stand still, or move as a test wants it."""
    hand = Hand()
    monkeypatch.setattr("popbeforesmtp.sources._history.time", hand)
    return hand


def write(path: Path, data: bytes, seconds: float) -> None:
    """Make a file that was last written at a time."""
    path.write_bytes(data)
    at_time(path, int(at(seconds).timestamp()))


def read_all(log: Path, seconds: float, checkpoint: str | None = None) -> tuple[bytes, list[str]]:
    """Read a log whose window begins some seconds after noon."""
    return rest_after(log, checkpoint, since=at(seconds))


def test_a_log_that_was_never_read_is_begun_at_the_start_of_the_window(log: Path) -> None:
    """What is older can authorize nobody, and may be gigabytes."""
    data = lines(range(10_000))
    write(log, data, 10_000)
    seen, notices = read_all(log, 9_000)
    assert seen == since(data, 9_000 - 60)
    (notice,) = notices
    assert f"from offset {len(data) - len(seen)} on" in notice


@pytest.mark.parametrize(
    ("tagged", "back", "first"),
    [
        (8_900, 1_000_000, 0),  # it reaches to the beginning: nothing is passed by
        (8_900, 10_000, None),
        (8_000, 10_000, 8_940),  # too far before the window
    ],
)
def test_some_of_what_is_older_is_read_where_it_may_tell_how_to_read_on(
    log: Path, monkeypatch: pytest.MonkeyPatch, tagged: int, back: int, first: int | None
) -> None:
    """Of programs that say so; whoever reads on is told whether lines were passed by before that."""
    monkeypatch.setattr(_history, "_LOOK_BACK", back)
    all_lines = [line(number) for number in range(10_000)]
    all_lines[tagged] = line(tagged).replace(b"dovecot: ", b"pop3d: ")
    assert b" pop3d: " in all_lines[tagged]
    data = b"".join(all_lines)
    write(log, data, 10_000)
    source = FileSource(log, since=at(9_000), marks=(b"imapd: ", b" pop3d: "))
    blocks = drain(source)
    source.close()
    begun = data.index(blocks[0].data)
    start = data.index(all_lines[8_940])
    assert begun == (data.index(all_lines[first]) if first is not None else data.index(b"\n", start - back) + 1)
    assert [block.gap for block in blocks] == [begun > 0, *[False] * (len(blocks) - 1)]


def test_a_log_that_is_not_in_order_is_read_whole_and_said(log: Path) -> None:
    """Better slow than a login missed."""
    data = lines([*range(5_000), *range(5_000)])
    write(log, data, 5_000)
    seen, notices = read_all(log, 4_000)
    assert seen == data
    assert any("not in order" in notice for notice in notices)


def test_rotated_files_that_reach_into_the_window_are_read_too(log: Path) -> None:
    """The oldest from the start of the window on, older ones not at all."""
    for number, suffix in ((0, "3.gz"), (1, "2.gz"), (2, "1")):
        data = lines(range(number * 1000, number * 1000 + 1000))
        path = log.with_name(f"mail.log.{suffix}")
        write(path, gzip.compress(data) if suffix.endswith("gz") else data, number * 1000 + 999)
    current = lines(range(3000, 3500))
    write(log, current, 3500)
    seen, notices = read_all(log, 1500)
    expected = since(lines(range(1000, 2000)), 1440) + lines(range(2000, 3000)) + current
    assert seen == expected
    assert len(notices) == 3


def test_no_rotated_file_is_opened_where_the_current_one_reaches_back_far_enough(log: Path) -> None:
    """It may be damaged, or huge; it does not matter."""
    write(log.with_name("mail.log.1.gz"), b"no gzip file", 1000)
    data = lines(range(1000, 5000))
    write(log, data, 5000)
    seen, notices = read_all(log, 4000)
    assert seen == since(data, 3940)
    assert len(notices) == 1


def test_what_was_rotated_away_is_read_before_the_new_file_comes(log: Path) -> None:
    """With logrotate's nocreate the path may name nothing for hours."""
    data = lines(range(1000))
    write(log.with_name("mail.log.1"), data, 1000)
    source = FileSource(log, since=at(500))
    assert text(drain(source)) == since(data, 440)
    new = line(2000)
    log.write_bytes(new)
    assert text(drain(source)) == new
    source.close()


def test_a_rotation_while_a_log_is_opened_for_the_first_time_loses_nothing(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files that were listed have other names by the time they are opened, and some were missed (readdir(3))."""
    parts = [lines(range(number * 100, number * 100 + 100)) for number in range(4)]
    write(log.with_name("mail.log.3"), parts[0], 100)
    write(log.with_name("mail.log.2"), parts[1], 200)
    write(log.with_name("mail.log.1"), parts[2], 300)
    write(log, parts[3], 400)
    usual = _history.relatives

    def relatives(path: Path, inodes: frozenset[int] = frozenset()) -> list[_history.Relative]:
        files = usual(path, inodes)
        if log.exists():
            for number in (3, 2, 1):
                log.with_name(f"mail.log.{number}").rename(log.with_name(f"mail.log.{number + 1}"))
            log.rename(log.with_name("mail.log.1"))
            files = [file for file in files if file.path.name != "mail.log.2"]
        return files

    monkeypatch.setattr(_history, "relatives", relatives)
    assert read_all(log, -60)[0] == b"".join(parts)


def test_a_file_that_is_open_already_is_no_copy_of_itself(log: Path, tmp_path: Path) -> None:
    """The next day's file may be met before the symbolic link leads to it: what came to it then is unread."""
    tomorrow = tmp_path / "mail-20261123.log"
    tomorrow.touch()
    met = OpenLog(tomorrow)
    append(tomorrow, lines(range(20)))
    log.symlink_to(tomorrow)
    (found,) = _history.History(log).newer(0, [met])
    assert found.offset == 0
    found.close()


@pytest.mark.parametrize("beginning", [b"", b"\n"])
def test_what_came_and_was_truncated_within_one_tick_of_the_clock_is_read_in_its_copy(
    log: Path, beginning: bytes
) -> None:
    """The file's time says nothing of it, and what it begins with neither."""
    log.write_bytes(b"one\n")
    source = FileSource(log)
    assert text(drain(source)) == b"one\n"
    log.rename(log.with_name("mail.log.2"))
    log.write_bytes(beginning)
    assert source.read() is not None  # the new file is open, and was not read
    times = log.stat()
    append(log, b"two\n")
    copy = Path(shutil.copy(log, log.with_name("mail.log.1")))
    log.write_bytes(b"\nthree\n")
    for path in (copy, log):
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert text(drain(source)).split() == [b"two", b"three"]
    source.close()


def test_what_is_truncated_while_its_copies_are_looked_for_is_not_lost(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the copy and the truncation: the copy was made too late to be that of an earlier truncation."""
    log.write_bytes(b"one\n")
    source = FileSource(log)
    assert text(drain(source)) == b"one\n"
    log.rename(log.with_name("mail.log.2"))
    log.touch()
    assert source.read() is not None  # the new file is open
    usual = source._history.find_copies

    def find_copies(opened: OpenLog, known: list[OpenLog]) -> list[OpenLog]:
        found = usual(opened, known)
        if log.read_bytes() == b"two\n":
            log.write_bytes(b"three\n")
        return found

    append(log, b"two\n")
    copy = Path(shutil.copy(log, log.with_name("mail.log.1")))
    later = log.stat().st_mtime_ns + 1
    os.utime(copy, ns=(later, later))
    monkeypatch.setattr(source._history, "find_copies", find_copies)
    assert set(text(drain(source)).split()) == {b"two", b"three"}
    source.close()


@pytest.mark.parametrize("old", [0, 3, 1000], ids=["nothing old", "few old lines", "many old lines"])
@pytest.mark.parametrize("begins", [b"\n", b"\n\n", b""])
def test_what_is_truncated_while_an_older_file_is_read_is_read_in_its_copy(log: Path, old: int, begins: bytes) -> None:
    """It was opened, and where the window begins in it is looked for only then: in what it holds by then."""
    first, newer = lines([5_000] * 9), lines([6_000, 6_001, 6_002])
    rotated, copy = log.with_name("mail.log.1"), log.with_name("mail.log.2")
    write(rotated, first, 5_000)
    lost = begins + lines(range(old)) + line(5_500, "in the copy only")
    write(log, lost, 5_500)
    source = FileSource(log, since=at(4_900))
    read = b""
    while first not in read:
        block = source.read()
        assert block is not None
        read += block.data
    shutil.copyfile(log, copy)
    log.write_bytes(b"")
    append(log, begins + newer)
    read += text(drain(source))
    source.close()
    assert line(5_500, "in the copy only") in read
    assert read.endswith(newer)


def test_the_window_of_a_log_that_comes_late_begins_late(log: Path, hand: Hand) -> None:
    """A file that was brought from elsewhere a day after the start is not read back to the start."""
    source = FileSource(log, since=at(0))
    assert drain(source) == []
    hand.seconds += 86_400
    data = lines(range(0, 90_000, 60))
    write(log, data, 90_000)
    assert text(drain(source)) == since(data, 86_340)
    source.close()


def test_rotated_files_from_before_the_window_are_not_read_after_a_long_time_down(log: Path) -> None:
    """Nothing that stands in them can still authorize anybody, and that they are gone is no news."""
    write(log, lines(range(10)), 10)
    checkpoint = last_checkpoint(log)
    log.rename(log.with_name("mail.log.2"))
    write(log.with_name("mail.log.1"), lines(range(100, 200)), 200)
    write(log, lines(range(1000, 1010)), 1010)
    seen, notices = read_all(log, 900, checkpoint)
    assert seen == lines(range(1000, 1010))
    assert not any("not found" in notice for notice in notices)


def test_a_checkpoint_far_behind_the_window_is_passed_by(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file grew by gigabytes while we were down; how much is left out is said."""
    monkeypatch.setattr("popbeforesmtp.sources._history._FAR", 100_000)
    old, new = lines(range(100)), lines(range(100, 10_000))
    write(log, old, 100)
    checkpoint = last_checkpoint(log)
    append(log, new)
    at_time(log, int(at(10_000).timestamp()))
    seen, notices = read_all(log, 9_000, checkpoint)
    assert seen == since(new, 8_940)
    assert any(f"{len(new) - len(seen)} bytes" in notice for notice in notices)


def test_a_checkpoint_that_is_near_is_read_from(log: Path) -> None:
    """Whatever the stamps say: nothing needs to be left out."""
    write(log, lines(range(10)), 100)
    checkpoint = last_checkpoint(log)
    new = lines([5, 300, 2])
    append(log, new)
    assert read_all(log, 200, checkpoint)[0] == new


def test_offsets_count_from_where_they_always_did(log: Path) -> None:
    """The offset is the file's."""
    data = lines(range(1000))
    write(log, data, 1000)
    source = FileSource(log, since=at(900))
    (block,) = drain(source)
    assert block.offset == len(data) - len(block.data)
    assert block.log == str(log)
    source.close()


STEPS = st.lists(st.tuples(st.sampled_from(["line", "line", "line", "rotate", "pack"]), st.floats(0, 300)), max_size=60)


@settings(max_examples=80, deadline=None)
@given(STEPS, st.floats(-10, 5000))
def test_whatever_was_rotated_every_line_since_the_window_began_is_read_once(
    steps: list[tuple[str, float]], seconds: float
) -> None:
    """In order, and nothing that is more than a minute older, but for a last line."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr("popbeforesmtp.sources._history.time", Hand())
        log, whole, now = Path(name) / "mail.log", b"", 0.0
        write(log, b"", 0)
        for number, (what, pause) in enumerate(steps):
            now += pause
            if what == "line":
                data = line(now, f"number {number}")
                whole += data
                write(log, log.read_bytes() + data, now + 1)
            elif what == "rotate":
                log.rename(log.with_name(f"mail.log-{1_795_000_000 + number}"))
                write(log, b"", now + 1)
            else:
                for old in log.parent.glob("mail.log-*[0-9]"):
                    packed = old.with_name(f"{old.name}.gz")
                    packed.write_bytes(gzip.compress(old.read_bytes()))
                    os.utime(packed, ns=(old.stat().st_mtime_ns,) * 2)
                    old.unlink()
        seen, _ = read_all(log, seconds)
        wanted = since(whole, seconds)
        assert seen.endswith(wanted)
        assert whole.endswith(seen)
        assert seen.count(b"\n") <= since(whole, seconds - 60).count(b"\n") + 1


# Compressed logs
