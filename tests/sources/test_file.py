"""FileSource: the lines of a log as they are handed over, and a log that is none or may not be read."""

import os
import threading
from pathlib import Path

import pytest

from popbeforesmtp.errors import NotPermittedError
from popbeforesmtp.lines import LONGEST_LINE
from popbeforesmtp.sources.file import FileSource, open_source
from tests.sources.following import (
    append,
    at_time,
    become_nobody,
    become_self,
    drain,
    last_checkpoint,
    open_files,
    text,
)

# Lines


def test_a_half_line_is_never_handed_over(log: Path) -> None:
    """A line is there when its LF is, and not a byte earlier."""
    log.write_bytes(b"one\ntw")
    source = FileSource(log)
    assert text(drain(source)) == b"one\n"
    append(log, b"o")
    assert drain(source) == []
    append(log, b"\n")
    assert text(drain(source)) == b"two\n"
    source.close()


def test_a_log_written_byte_by_byte_comes_in_whole_lines(log: Path) -> None:
    """Whatever a reader sees of a write that is under way, it waits for the LF."""
    whole = b"Nov 22 07:14:00 mx1 a: one\n\nthree\n"
    log.write_bytes(b"")
    source = FileSource(log)
    seen = b""
    for end in range(1, len(whole) + 1):
        append(log, whole[end - 1 : end])
        for block in drain(source):
            assert block.data.endswith(b"\n")
            seen += block.data
        assert seen == whole[: whole.rfind(b"\n", 0, end) + 1]
    source.close()


def test_nothing_but_lf_ends_a_line(log: Path) -> None:
    """CR, NUL, VT, FF, NEL and Unicode's line ends are bytes of a line, or a stranger could begin one."""
    strange = b"a\rb\x00c\x0bd\x0ce\x1cf" + "g\u2028h\u2029i\u0085j".encode() + b"\xff\r\n"
    log.write_bytes(strange)
    source = FileSource(log)
    assert text(drain(source)) == strange
    append(log, b"next\n")
    (block,) = drain(source)
    assert (block.offset, block.data) == (len(strange), b"next\n")
    source.close()


def test_a_line_of_the_greatest_length_is_handed_over(log: Path) -> None:
    """The limit itself is still a line."""
    line = b"x" * LONGEST_LINE + b"\n"
    log.write_bytes(line)
    source = FileSource(log)
    assert text(drain(source)) == line
    assert source.report().too_long == 0
    source.close()


@pytest.mark.parametrize("length", [LONGEST_LINE + 1, 2 * LONGEST_LINE, 300_000, 600_000])
def test_a_longer_line_is_passed_by_and_counted_and_the_next_is_read(log: Path, length: int) -> None:
    """A line without an end must not fill the memory, nor hide what follows it, however it was written."""
    log.write_bytes(b"one\n" + b"x" * length + b"\nthree\n")
    source = FileSource(log)
    blocks = drain(source)
    assert text(blocks) == b"one\nthree\n"
    assert source.report().too_long == 1
    append(log, b"four\n")
    (block,) = drain(source)
    assert block.offset == 4 + length + 1 + 6
    source.close()


def test_a_longer_line_that_comes_in_pieces_is_passed_by_whole(log: Path) -> None:
    """The end of it is no line of its own, though it looks like one."""
    log.write_bytes(b"")
    source = FileSource(log)
    append(log, b"x" * (LONGEST_LINE + 1))
    assert text(drain(source)) == b""
    append(log, b"Nov 22 07:14:00 mx1 dovecot: pop3-login: Login: user=<a>")
    assert text(drain(source)) == b""
    append(log, b" tail\nnext\n")
    assert text(drain(source)) == b"next\n"
    assert source.report().too_long == 1
    source.close()


# What is no log, or may not be read


def test_a_folder_in_the_place_of_a_log_is_an_error_until_the_log_is_there(log: Path) -> None:
    """The error says so each time, and reading begins when the administrator has put it right."""
    log.mkdir()
    source = FileSource(log)
    for _ in range(2):
        with pytest.raises(OSError, match="no regular file"):
            source.read()
    log.rmdir()
    log.write_bytes(b"one\n")
    assert text(drain(source)) == b"one\n"
    source.close()


def test_a_fifo_is_refused_without_waiting_for_its_writer(log: Path) -> None:
    """Opening one would stop the daemon until somebody writes."""
    os.mkfifo(log)
    source = open_source(path=log)
    with pytest.raises(OSError, match="no regular file"):
        source.read()
    source.close()


def test_an_unreadable_log_is_an_error_of_reading_and_read_once_it_may_be(folder_for_all: Path) -> None:
    """The pipeline says it, tries again, and goes on by itself when the mode was put right."""
    log = folder_for_all / "mail.log"
    log.write_bytes(b"one\n")
    log.chmod(0)
    source = FileSource(log)
    become_nobody()
    with pytest.raises(PermissionError):
        source.read()
    become_self()
    log.chmod(0o644)
    become_nobody()
    assert text(drain(source)) == b"one\n"
    source.close()


def test_an_unreadable_log_is_refused_at_the_start_with_a_way_out(folder_for_all: Path) -> None:
    """The sentence names the file and the group."""
    log = folder_for_all / "mail.log"
    log.write_bytes(b"one\n")
    log.chmod(0)
    become_nobody()
    with pytest.raises(NotPermittedError, match=r"mail\.log.*adm"):
        open_source(path=log)


def test_reading_that_fails_again_and_again_keeps_no_file_open(folder_for_all: Path) -> None:
    """A daemon that waits for a mode to be put right over a weekend still has descriptors on Monday."""
    log = folder_for_all / "mail.log"
    old = log.with_name("mail.log.1")
    log.write_bytes(b"one\n")
    at_time(log, 1000)
    checkpoint = last_checkpoint(log)
    log.rename(old)
    log.write_bytes(b"two\n")
    log.chmod(0)
    source = FileSource(log, checkpoint)
    become_nobody()
    with pytest.raises(PermissionError):
        source.read()
    before = open_files()  # the old file is open, and stays so
    for _ in range(5):
        with pytest.raises(PermissionError):
            source.read()
    after = open_files()
    source.close()
    assert after == before


def test_closing_lets_go_of_all_files(log: Path) -> None:
    """Also of those that were rotated away."""
    before = open_files()
    log.write_bytes(b"one\n")
    source = FileSource(log)
    drain(source)
    log.rename(log.with_name("mail.log.1"))
    log.write_bytes(b"two\n")
    drain(source)
    assert open_files() == before + 2
    source.close()
    assert open_files() == before


# What it says of itself


def test_the_report_says_how_far_it_was_read(log: Path) -> None:
    """A half line is not read."""
    log.write_bytes(b"one\nhalf")
    source = FileSource(log)
    drain(source)
    report = source.report()
    assert (report.name, report.state, report.offset, report.size) == (str(log), "following", 4, 8)
    assert not source.ended()
    source.close()


def test_the_bell_rings_for_a_line_and_for_a_rotation(log: Path) -> None:
    """Nobody has to wait for the look every second."""
    log.write_bytes(b"")
    source = FileSource(log)
    rung = threading.Event()
    source.watch(rung.set)
    append(log, b"one\n")
    assert rung.wait(5)
    rung.clear()
    log.rename(log.with_name("mail.log.1"))
    assert rung.wait(5)
    source.close()


def test_a_log_whose_folder_is_missing_is_looked_for_all_the_same(tmp_path: Path) -> None:
    """Without events the look every second must do, and that is said."""
    log = tmp_path / "later" / "mail.log"
    source = FileSource(log)
    source.watch(lambda: None)
    assert any("looking every second" in notice for notice in source.notices())
    assert drain(source) == []
    log.parent.mkdir()
    log.write_bytes(b"one\n")
    assert text(drain(source)) == b"one\n"
    source.close()
