"""FileSource: one path is one endless log, whatever becomes of the files that it is written to."""

import errno
import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from popbeforesmtp.sources import _history
from popbeforesmtp.sources.file import FileSource
from tests.sources.following import Hand, append, drain, open_files, text
from tests.sources.stamped import at, lines

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


def test_a_file_that_is_renamed_while_its_folder_is_read_is_not_missed(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that is changed while it is read may show a file under neither of its names (readdir(3))."""
    log.write_bytes(b"one\n")
    source = FileSource(log)
    drain(source)
    log.rename(log.with_name("mail.log-1"))
    log.write_bytes(b"two\n")
    log.rename(log.with_name("mail.log-2"))
    log.write_bytes(b"three\n")
    listings = []
    usual = _history.relatives

    def relatives(path: Path, inodes: frozenset[int] = frozenset()) -> list[_history.Relative]:
        listings.append(path)
        return [file for file in usual(path, inodes) if len(listings) > 1 or file.path.name != "mail.log-2"]

    monkeypatch.setattr(_history, "relatives", relatives)
    assert text(drain(source)) == b"two\nthree\n"
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


def test_a_symlink_that_is_switched_while_we_look_ends_no_watching(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """realpath(3) finds a link that readlink(2) finds no more; the watcher's thread must not die of it."""
    real = tmp_path / "real.log"
    real.write_bytes(b"one\n")
    log.symlink_to(real)
    rung: list[bool] = []
    source = FileSource(log)
    source._ring = lambda: rung.append(True)
    assert text(drain(source)) == b"one\n"

    def gone(path: object) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(os.path, "realpath", gone)
    append(real, b"two\n")
    source._heard(str(log))
    assert rung == [True]
    assert text(drain(source)) == b"two\n"
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


@pytest.mark.parametrize("packed", [False, True])
def test_the_copy_of_what_came_between_two_truncations_is_read(log: Path, packed: bool) -> None:
    """Truncated to nothing, written to, and copied and truncated again, all between two of our looks."""
    log.with_name("mail.log.2").write_bytes(b"old\n")
    os.utime(log.with_name("mail.log.2"), (0, 0))
    log.write_bytes(b"one\ntwo\n")
    source = FileSource(log)
    drain(source)
    os.truncate(log, 0)
    if packed:
        log.with_name("mail.log.1.gz").write_bytes(gzip.compress(b"three\n"))
    else:
        log.with_name("mail.log.1").write_bytes(b"three\n")
    os.truncate(log, 0)
    append(log, b"4\n")
    assert text(drain(source)) == b"three\n4\n"
    assert text(drain(source)) == b""
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


def test_a_writer_that_goes_on_behind_a_hole_after_a_truncation_loses_no_line(log: Path) -> None:
    """Without O_APPEND it writes where it was, and NULs fill what lies before."""
    with log.open("wb", buffering=0) as writer:
        writer.write(b"one\n" * 100_000)
        source = FileSource(log)
        drain(source)
        os.truncate(log, 0)
        drain(source)
        writer.write(b"two\n")
        assert text(drain(source)) == b"two\n"
        assert source.report().too_long == 0
        writer.write(b"three\n")
        assert text(drain(source)) == b"three\n"
    source.close()


def test_a_file_truncated_to_nothing_is_noticed_before_it_grows(log: Path) -> None:
    """As `> mail.log` does."""
    log.write_bytes(b"one\n")
    source = FileSource(log)
    drain(source)
    os.truncate(log, 0)
    assert drain(source) == []
    append(log, b"one\n")
    assert text(drain(source)) == b"one\n"
    assert len([notice for notice in source.notices() if "truncated" in notice]) == 1
    source.close()


def test_a_compressed_copy_of_a_truncated_log_is_read_to_its_end(log: Path) -> None:
    """So logrotate does with copytruncate, and without delaycompress."""
    log.write_bytes(b"one\ntwo\n")
    source = FileSource(log)
    drain(source)
    log.with_name("mail.log.1.gz").write_bytes(gzip.compress(b"one\ntwo\nthree\n"))
    os.truncate(log, 0)
    append(log, b"4\n")
    assert text(drain(source)) == b"three\n4\n"
    source.close()


def test_a_file_that_was_written_over_with_a_line_that_ends_alike_is_noticed(log: Path) -> None:
    """Lines of one kind may have a long end in common, and the same length."""
    log.write_bytes(b"one " + b"x" * 100 + b"\n")
    source = FileSource(log)
    drain(source)
    again = b"two " + b"x" * 100 + b"\n"
    log.write_bytes(again)
    assert text(drain(source)) == again
    source.close()


# Gone, and broken


def test_a_log_that_is_gone_is_said_and_warned_of_after_a_while(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rotation without a new file is no reason to worry, a minute without any is."""
    hand = Hand()
    monkeypatch.setattr("popbeforesmtp.sources.file.time", hand)
    log.write_bytes(b"one\n")
    source = FileSource(log)
    drain(source)
    log.rename(log.with_name("mail.log.1"))
    drain(source)
    report = source.report()
    assert ("gone" in report.state, report.waiting) == (True, False)
    hand.seconds += 100
    drain(source)
    assert source.report().waiting
    log.write_bytes(b"two\n")
    assert text(drain(source)) == b"two\n"
    assert source.report().state == "following"
    source.close()


def test_a_deleted_log_is_let_go_when_it_stays_silent(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gigabytes of a file without a name are not kept on the disk by us alone; and nothing is read twice."""
    hand = Hand()
    monkeypatch.setattr("popbeforesmtp.sources.file.time", hand)
    monkeypatch.setattr("popbeforesmtp.sources._openlog.time", hand)
    before = open_files()
    log.with_name("mail.log.1").write_bytes(lines(range(-100, -50)))
    log.write_bytes(lines(range(10)))
    source = FileSource(log, since=at(-1000))
    assert text(drain(source)) == lines(range(-100, -50)) + lines(range(10))
    log.unlink()
    for _ in range(3):
        hand.seconds += 100
        assert drain(source) == []
    assert open_files() == before
    log.write_bytes(lines([20]))
    assert text(drain(source)) == lines([20])
    source.close()


def test_a_file_that_its_server_has_forgotten_is_opened_anew(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS says so with ESTALE, for ever; we go on where we were."""
    log.write_bytes(b"one\n")
    source = FileSource(log)
    drain(source)
    append(log, b"two\n")
    monkeypatch.setattr(source._files[0], "read", fail(errno.ESTALE))
    drain(source)
    assert text(drain(source)) == b"two\n"
    source.close()


def test_an_old_file_that_cannot_be_read_keeps_the_new_one_back_not(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad sector is said, and passed by."""
    log.write_bytes(b"one\n")
    source = FileSource(log)
    drain(source)
    log.rename(log.with_name("mail.log.1"))
    log.write_bytes(b"two\n")
    assert text(drain(source)) == b"two\n"
    monkeypatch.setattr(source._files[0], "read", fail(errno.EIO))
    append(log, b"three\n")
    assert text(drain(source)) == b"three\n"
    assert any("cannot be read" in notice for notice in source.notices())
    source.close()


def fail(number: int) -> Callable[[], bytes]:
    """Make a reader that fails."""

    def read() -> bytes:
        raise OSError(number, os.strerror(number))

    return read
