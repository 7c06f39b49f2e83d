"""FileSource: one path is one endless log, whatever becomes of the files that it is written to."""

import gzip
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popbeforesmtp.errors import NotPermittedError
from popbeforesmtp.lines import LONGEST_LINE
from popbeforesmtp.model import Block
from popbeforesmtp.sources._checkpoint import Place, read_checkpoint, write_checkpoint
from popbeforesmtp.sources.file import FileSource, open_source

NOBODY = 65534


class Hand:
    """A monotonic clock that a test turns by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.seconds


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Name a log that is not there yet."""
    return tmp_path / "mail.log"


@pytest.fixture
def folder_for_all() -> Iterator[Path]:
    """Make a folder that every user can look into, unlike pytest's own, for tests in which modes matter."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        become_self()


def become_nobody() -> None:
    """Give up root's rights, where the tests run as root, until ``become_self``."""
    if os.getuid() == 0:
        os.seteuid(NOBODY)


def become_self() -> None:
    """Take them back."""
    os.seteuid(os.getuid())


def drain(source: FileSource) -> list[Block]:
    """Read until there is nothing more at present."""
    blocks = []
    while (block := source.read()) is not None:
        blocks.append(block)
    return [block for block in blocks if block.data]


def text(blocks: list[Block]) -> bytes:
    """Put together what was handed over."""
    return b"".join(block.data for block in blocks)


def append(path: Path, data: bytes) -> None:
    """Write behind the end, as a syslog daemon does."""
    with path.open("ab") as stream:
        stream.write(data)


def at_time(path: Path, seconds: int) -> None:
    """Set when a file was written last, so that no test hangs on the resolution of the file system's clock."""
    os.utime(path, (seconds, seconds))


def open_files() -> int:
    """Count this process's descriptors."""
    return len(list(Path("/proc/self/fd").iterdir()))


# Rotation


def test_lines_written_to_the_old_file_after_the_new_one_appeared_are_read(log: Path) -> None:
    """A writer goes on in the renamed file until it is told of the new one; neither file's lines are lost."""
    with log.open("ab", buffering=0) as writer:
        writer.write(b"one\n")
        source = FileSource(log)
        assert text(drain(source)) == b"one\n"
        log.rename(log.with_name("mail.log.1"))
        log.write_bytes(b"three\n")
        assert text(drain(source)) == b"three\n"
        writer.write(b"two\n")
        assert text(drain(source)) == b"two\n"
        append(log, b"four\n")
        assert text(drain(source)) == b"four\n"
    assert len([notice for notice in source.notices() if "rotated" in notice]) == 1
    source.close()


def test_the_old_file_is_read_to_its_end_before_the_new_one(log: Path) -> None:
    """Lines come in the order in which they were written."""
    log.write_bytes(b"one\n")
    source = FileSource(log)
    drain(source)
    append(log, b"two\n")
    log.rename(log.with_name("mail.log.1"))
    log.write_bytes(b"three\n")
    assert text(drain(source)) == b"two\nthree\n"
    source.close()


def test_a_quiet_log_that_is_rotated_is_looked_at_for_a_while_too(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer of a log that was silent for minutes before its rotation may still write to the old file."""
    hand = Hand()
    monkeypatch.setattr("popbeforesmtp.sources.file.time", hand)
    monkeypatch.setattr("popbeforesmtp.sources._openlog.time", hand)
    log.write_bytes(b"one\n")
    source = FileSource(log)
    drain(source)
    hand.seconds += 300
    assert drain(source) == []
    old = log.rename(log.with_name("mail.log.1"))
    log.write_bytes(b"")
    assert drain(source) == []
    hand.seconds += 1
    assert drain(source) == []
    append(old, b"two\n")
    assert text(drain(source)) == b"two\n"
    source.close()


def test_a_renamed_file_that_stays_silent_is_let_go(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rotation each night must not cost a descriptor each night."""
    hand = Hand()
    monkeypatch.setattr("popbeforesmtp.sources.file.time", hand)
    monkeypatch.setattr("popbeforesmtp.sources._openlog.time", hand)
    log.write_bytes(b"0\n")
    source = FileSource(log)
    drain(source)
    before = open_files()
    for number in range(5):
        log.rename(log.with_name(f"mail.log.{number}"))
        log.write_bytes(b"%d\n" % number)
        drain(source)
    assert open_files() == before + 5
    hand.seconds += 3600
    for _ in range(6):
        drain(source)
    assert open_files() == before
    source.close()


def test_a_file_that_comes_late_is_read_from_its_beginning(log: Path) -> None:
    """The log of a new machine is not there yet; that is said once and waited for."""
    source = FileSource(log)
    assert drain(source) == []
    assert drain(source) == []
    assert len(source.notices()) == 1
    assert source.notices() == []
    assert source.report().state == "waiting for the file"
    log.write_bytes(b"one\n")
    assert text(drain(source)) == b"one\n"
    source.close()


def test_a_file_that_was_removed_and_made_again_is_read_whole_and_once(log: Path) -> None:
    """A log without its file for a while is an everyday thing."""
    log.write_bytes(b"one\n")
    source = FileSource(log)
    drain(source)
    log.unlink()
    assert drain(source) == []
    log.write_bytes(b"two\n")
    assert text(drain(source)) == b"two\n"
    assert drain(source) == []
    source.close()


def test_a_file_that_was_moved_away_and_back_is_not_read_again(log: Path) -> None:
    """It is the same file, and its lines were acted on."""
    log.write_bytes(b"one\n")
    source = FileSource(log)
    drain(source)
    away = log.rename(log.with_name("away"))
    assert drain(source) == []
    away.rename(log)
    append(log, b"two\n")
    assert text(drain(source)) == b"two\n"
    source.close()


def test_a_symlink_is_followed_to_the_file_it_names_now(log: Path, tmp_path: Path) -> None:
    """A log may be a symlink to today's file, and the old file is still read to its end."""
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(b"one\n")
    second.write_bytes(b"three\n")
    log.symlink_to(first)
    source = FileSource(log)
    assert text(drain(source)) == b"one\n"
    append(first, b"two\n")
    log.unlink()
    log.symlink_to(second)
    assert text(drain(source)) == b"two\nthree\n"
    source.close()


def test_a_symlink_to_nothing_is_waited_for(log: Path, tmp_path: Path) -> None:
    """It may be made before its file is."""
    log.symlink_to(tmp_path / "later")
    source = FileSource(log)
    assert drain(source) == []
    (tmp_path / "later").write_bytes(b"one\n")
    assert text(drain(source)) == b"one\n"
    source.close()


# Truncated, and written over


def test_a_truncated_file_is_read_from_its_beginning_and_said(log: Path) -> None:
    """After copytruncate the file is shorter than what was read of it."""
    log.write_bytes(b"one\ntwo\n")
    source = FileSource(log)
    drain(source)
    os.truncate(log, 0)
    append(log, b"3\n")
    assert text(drain(source)) == b"3\n"
    assert any("truncated" in notice for notice in source.notices())
    source.close()


def test_lines_that_the_copy_of_a_truncated_log_holds_are_read(log: Path) -> None:
    """With copytruncate, lines that came between our last look and logrotate's copy are in the copy."""
    log.write_bytes(b"one\ntwo\n")
    source = FileSource(log)
    drain(source)
    append(log, b"three\n")
    copy = log.with_name("mail.log.1")
    copy.write_bytes(log.read_bytes())
    os.truncate(log, 0)
    append(log, b"4\n")
    assert text(drain(source)) == b"three\n4\n"
    source.close()


def test_a_file_that_was_written_over_is_read_from_its_beginning(log: Path) -> None:
    """Its size says nothing: where we stand, no line ends any more."""
    log.write_bytes(b"one\ntwo\n")
    source = FileSource(log)
    drain(source)
    log.write_bytes(b"something quite different\nand longer\n")
    assert text(drain(source)) == b"something quite different\nand longer\n"
    assert any("written over" in notice for notice in source.notices())
    source.close()


def test_a_file_that_was_written_over_with_lines_of_the_same_length_is_noticed(log: Path) -> None:
    """An LF in the right place does not make it the file that was read."""
    log.write_bytes(b"one\ntwo\n")
    source = FileSource(log)
    drain(source)
    log.write_bytes(b"six\nten\nfor\n")
    assert text(drain(source)) == b"six\nten\nfor\n"
    source.close()


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
    assert (block.line, block.offset, block.data) == (2, len(strange), b"next\n")
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
    assert (block.line, block.offset) == (4, 4 + length + 1 + 6)
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


def test_no_checkpoint_stands_inside_a_line(log: Path) -> None:
    """Read again from any of them, a long line is passed by again and its tail is never taken for a line."""
    data = b"one\n" + b"x" * 600_000 + b"tail\nthree\n" + b"half"
    log.write_bytes(data)
    source = FileSource(log)
    blocks = drain(source)
    source.close()
    for block in blocks:
        for place in read_checkpoint(block.checkpoint):
            assert place.offset == 0 or data[place.offset - 1 : place.offset] == b"\n"
        again = FileSource(log, block.checkpoint)
        assert text(drain(again)) in (b"one\nthree\n", b"three\n", b"")
        again.close()


# Going on where it was left off


def rest_after(path: Path, checkpoint: str | None) -> tuple[bytes, list[str]]:
    """Read a log from a checkpoint on, as another process would."""
    source = FileSource(path, checkpoint)
    blocks = drain(source)
    notices = source.notices()
    source.close()
    return text(blocks), notices


def last_checkpoint(path: Path) -> str:
    """Read a log to its end and return where that is."""
    source = FileSource(path)
    checkpoint = drain(source)[-1].checkpoint
    source.close()
    return checkpoint


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("line"), st.binary(max_size=40).map(lambda data: data.replace(b"\n", b""))),
        st.tuples(st.just("half"), st.binary(min_size=1, max_size=10).map(lambda data: data.replace(b"\n", b"."))),
        st.tuples(st.just("rotate"), st.just(b"")),
        st.tuples(st.just("read"), st.just(b"")),
    ),
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_every_checkpoint_leads_to_exactly_the_lines_not_yet_read(steps: list[tuple[str, bytes]]) -> None:
    """Each line is acted on exactly once, wherever the daemon was killed and however often the log was rotated."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "mail.log"
        path.write_bytes(b"")
        at_time(path, 1)
        source = FileSource(path)
        whole, half, read, rotations, unseen = b"", b"", b"", 0, False
        places: list[tuple[str, int]] = []
        assert drain(source) == []
        for clock, (what, data) in enumerate(steps, start=2):
            if what == "read" or (what == "rotate" and unseen):  # a running daemon looks at least once a rotation
                for block in drain(source):
                    assert block.line == read.count(b"\n") + 1
                    read += block.data
                    places.append((block.checkpoint, len(read)))
                assert read == whole
                unseen = False
            if what == "line":
                append(path, data + b"\n")
                whole, half = whole + half + data + b"\n", b""
            elif what == "half":
                append(path, data)
                half += data
            elif what == "rotate":
                for number in range(rotations, 0, -1):
                    path.with_name(f"mail.log.{number}").rename(path.with_name(f"mail.log.{number + 1}"))
                path.rename(path.with_name("mail.log.1"))
                path.write_bytes(b"")
                rotations, half, unseen = rotations + 1, b"", True
            at_time(path, clock)
        source.close()
        for checkpoint, length in places:
            assert rest_after(path, checkpoint)[0] == whole[length:]


def test_a_rotation_while_down_loses_nothing(log: Path) -> None:
    """The rest of the renamed file comes first, then the new one."""
    log.write_bytes(b"one\n")
    checkpoint = last_checkpoint(log)
    append(log, b"two\n")
    at_time(log, 1000)
    log.rename(log.with_name("mail.log.1"))
    log.write_bytes(b"three\n")
    assert rest_after(log, checkpoint) == (b"two\nthree\n", [])


def test_several_rotations_while_down_lose_nothing(log: Path) -> None:
    """Also files that came and went while nobody looked are read, in their order."""
    log.write_bytes(b"one\n")
    checkpoint = last_checkpoint(log)
    append(log, b"two\n")
    at_time(log, 1000)
    log.rename(log.with_name("mail.log.2"))
    log.with_name("mail.log.1").write_bytes(b"three\n")
    at_time(log.with_name("mail.log.1"), 2000)
    log.write_bytes(b"four\n")
    at_time(log, 3000)
    assert rest_after(log, checkpoint)[0] == b"two\nthree\nfour\n"


def test_a_rotation_to_a_name_with_a_date_while_down_loses_nothing(log: Path) -> None:
    """So logrotate's dateext names them."""
    log.write_bytes(b"one\n")
    checkpoint = last_checkpoint(log)
    append(log, b"two\n")
    at_time(log, 1000)
    log.rename(log.with_name("mail.log-20261122"))
    log.write_bytes(b"three\n")
    assert rest_after(log, checkpoint)[0] == b"two\nthree\n"


def test_a_copy_and_truncation_while_down_loses_nothing_that_the_copy_holds(log: Path) -> None:
    """The copy has another inode; it is known by what it holds."""
    log.write_bytes(b"one\ntwo\n")
    checkpoint = last_checkpoint(log)
    append(log, b"three\n")
    log.with_name("mail.log.1").write_bytes(log.read_bytes())
    at_time(log.with_name("mail.log.1"), 1000)
    os.truncate(log, 0)
    append(log, b"4\n")
    assert rest_after(log, checkpoint)[0] == b"three\n4\n"


def test_an_empty_log_that_is_rotated_while_down_loses_nothing(log: Path) -> None:
    """Even of a file in which nothing stood the place is kept."""
    log.write_bytes(b"")
    source = FileSource(log)
    block = source.read()
    source.close()
    assert block is not None
    assert block.data == b""
    append(log, b"one\n")
    log.rename(log.with_name("mail.log.1"))
    log.write_bytes(b"two\n")
    assert rest_after(log, block.checkpoint)[0] == b"one\ntwo\n"


def test_a_rotation_with_compression_while_down_loses_nothing(log: Path) -> None:
    """Without delaycompress, the rest of the old file lies in a .gz."""
    log.write_bytes(b"one\n")
    checkpoint = last_checkpoint(log)
    append(log, b"two\n")
    with gzip.open(log.with_name("mail.log.1.gz"), "wb") as packed:
        packed.write(log.read_bytes())
    at_time(log.with_name("mail.log.1.gz"), 1000)
    log.unlink()
    log.write_bytes(b"three\n")
    assert rest_after(log, checkpoint)[0] == b"two\nthree\n"


def test_a_copy_beside_the_log_is_not_taken_for_a_part_of_it(log: Path) -> None:
    """An administrator's copy is newer than a quiet log, yet no line of it was written after the checkpoint."""
    log.write_bytes(b"one\n")
    at_time(log, 1000)
    checkpoint = last_checkpoint(log)
    log.with_name("mail.log.bak").write_bytes(log.read_bytes())
    assert rest_after(log, checkpoint)[0] == b""


def test_a_checkpoint_that_fits_no_file_reads_from_the_beginning_and_says_so(log: Path) -> None:
    """Better a line twice than never; and the administrator hears of it."""
    log.write_bytes(b"one\ntwo\n")
    elsewhere = write_checkpoint([Place(1, 2, 3, 4, "00", "00")])
    data, notices = rest_after(log, elsewhere)
    assert data == b"one\ntwo\n"
    assert any("not found again" in notice for notice in notices)


@pytest.mark.parametrize("checkpoint", ["", "{}", "[]", "null", "12", "not JSON", '{"version": 1, "files": 3}'])
def test_text_that_is_no_checkpoint_reads_from_the_beginning(log: Path, checkpoint: str) -> None:
    """A store of another version, or none, is no reason to stop."""
    log.write_bytes(b"one\n")
    assert rest_after(log, checkpoint)[0] == b"one\n"


def test_a_file_written_over_while_down_is_read_from_its_beginning(log: Path) -> None:
    """The inode is the same, the contents are not."""
    log.write_bytes(b"one\ntwo\n")
    checkpoint = last_checkpoint(log)
    log.write_bytes(b"six\nten\nfor\n")
    data, notices = rest_after(log, checkpoint)
    assert data == b"six\nten\nfor\n"
    assert notices != []


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


def test_an_unreadable_file_beside_the_log_does_not_make_us_blind(folder_for_all: Path) -> None:
    """Somebody's mail.log.lock is none of our business."""
    log = folder_for_all / "mail.log"
    log.write_bytes(b"one\n")
    at_time(log, 1000)
    checkpoint = last_checkpoint(log)
    neighbour = log.with_name("mail.log.lock")
    neighbour.write_bytes(b"x\n")
    neighbour.chmod(0)
    append(log, b"two\n")
    at_time(log, 1001)
    become_nobody()
    assert rest_after(log, checkpoint)[0] == b"two\n"


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
