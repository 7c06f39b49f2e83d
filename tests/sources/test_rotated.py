"""Which files are a log's older ones, wherever logrotate and its kin put them."""

import os
import tempfile
from pathlib import Path

import pytest

from popbeforesmtp.sources._rotated import is_rotated, relatives
from popbeforesmtp.sources.file import FileSource
from tests.sources.following import at_time, drain, last_checkpoint, rest_after, text

FORMS = [
    "mail.log.1",
    "mail.log.0",
    "mail.log.12.gz",
    "mail.log-20261122",
    "mail.log-2026-11-22.xz",
    "mail.log.20261122T000000.bz2",
    "mail.log-1795300000",
    "mail.log_20261122",
    "mail.log.old",
    "mail.log.1.zst",
    "mail.log.gz",
    "mail.1.log",
    "mail-20261122.log",
    "mail-20261122.log.gz",
]
OTHERS = [
    "mail.log.lock",
    "mail.log.bak",
    "mail.log~",
    "mail.err",
    "mail.err.1",
    "xmail.log.1",
    "mail.logs",
    "mail-a.log",
]


@pytest.mark.parametrize("name", FORMS)
def test_a_rotated_log_is_known_by_its_name(log: Path, name: str) -> None:
    """While the log is there, it is also no log of its own."""
    log.write_bytes(b"")
    log.with_name(name).write_bytes(b"")
    assert [file.path.name for file in relatives(log) if file.rotated] == [name]
    assert is_rotated(str(log.with_name(name)))


@pytest.mark.parametrize("name", OTHERS)
def test_other_files_are_no_part_of_the_log(log: Path, name: str) -> None:
    """Though one that looks alike is looked at where a place is searched."""
    log.write_bytes(b"")
    log.with_name(name).write_bytes(b"")
    assert not any(file.rotated for file in relatives(log))


@pytest.mark.parametrize("name", ["mail.log", "host-20261122.log", "dovecot-2.log", "mail2.log"])
def test_a_log_with_a_number_in_its_name_may_be_one_of_its_own(tmp_path: Path, name: str) -> None:
    """As rsyslog makes one for each day or host."""
    assert not is_rotated(str(tmp_path / name))


def test_they_come_in_the_order_in_which_they_were_written(log: Path) -> None:
    """By their time, and where that is the same by their number."""
    names = ["mail.log.3.gz", "mail.log.2", "mail.log.1"]
    for name in names:
        log.with_name(name).write_bytes(b"")
        at_time(log.with_name(name), 1000)
    log.with_name("mail.log-20261122").write_bytes(b"")
    at_time(log.with_name("mail.log-20261122"), 500)
    assert [file.path.name for file in relatives(log)] == ["mail.log-20261122", *names]


@pytest.mark.parametrize("name", [*FORMS[:2], "mail-20261122.log", "old/mail.log.1", "archive/mail.log-20261122"])
def test_a_rotation_to_any_of_these_while_down_loses_nothing(log: Path, name: str) -> None:
    """The rest of the file, the files between, and the new one."""
    log.write_bytes(b"one\n")
    checkpoint = last_checkpoint(log)
    log.write_bytes(b"one\ntwo\n")
    at_time(log, 1000)
    target = log.parent / name
    target.parent.mkdir(exist_ok=True)
    log.rename(target)
    log.write_bytes(b"three\n")
    at_time(log, 2000)
    between = target.with_name("mail.log.0.1")
    between.write_bytes(b"between\n")
    at_time(between, 1500)
    assert rest_after(log, checkpoint) == (b"two\nbetween\nthree\n", [])


def test_the_log_of_another_in_a_folder_below_is_not_taken_for_ours(log: Path) -> None:
    """Where a log of the same name lives, its rotated files are its own."""
    log.write_bytes(b"one\n")
    at_time(log, 1000)
    checkpoint = last_checkpoint(log)
    other = log.parent / "remote" / "mail.log"
    other.parent.mkdir()
    other.write_bytes(b"theirs\n")
    other.with_name("mail.log.1").write_bytes(b"theirs\n")
    log.rename(log.with_name("mail.log.1"))
    log.write_bytes(b"two\n")
    assert rest_after(log, checkpoint)[0] == b"two\n"


def test_a_symlink_that_was_switched_while_down_loses_nothing(tmp_path: Path) -> None:
    """Today's file has a name of its own, and so had those of the days between."""
    log = tmp_path / "mail.log"
    days = [tmp_path / "days" / f"mail-202611{day}.log" for day in (20, 21, 22)]
    days[0].parent.mkdir()
    days[0].write_bytes(b"one\n")
    log.symlink_to(days[0])
    checkpoint = last_checkpoint(log)
    for number, day in enumerate(days):
        day.write_bytes(b"one\ntwo\n" if number == 0 else b"%d\n" % number)
        at_time(day, 1_000_000 + number)
    log.unlink()
    log.symlink_to(days[2])
    at_time(days[0], 1_000_000)
    assert rest_after(log, checkpoint)[0] == b"two\n1\n2\n"


def test_a_symlink_that_was_switched_to_another_name_while_down_loses_nothing(tmp_path: Path) -> None:
    """The old file is found by its inode, whatever it is called."""
    log, first, second = (tmp_path / name for name in ("mail.log", "a", "b"))
    first.write_bytes(b"one\n")
    log.symlink_to(first)
    checkpoint = last_checkpoint(log)
    first.write_bytes(b"one\ntwo\n")
    second.write_bytes(b"three\n")
    log.unlink()
    log.symlink_to(second)
    assert rest_after(log, checkpoint)[0] == b"two\nthree\n"


def test_a_rotation_into_a_folder_while_we_follow_loses_nothing(log: Path) -> None:
    """Also of a file that came and went between two looks."""
    log.write_bytes(b"one\n")
    at_time(log, 1000)
    source = FileSource(log)
    drain(source)
    old = log.parent / "old"
    old.mkdir()
    log.rename(old / "mail.log.2")
    (old / "mail.log.1").write_bytes(b"two\n")
    log.write_bytes(b"three\n")
    assert text(drain(source)) == b"two\nthree\n"
    source.close()


def test_a_folder_that_may_not_be_entered_hides_nothing_beside_it() -> None:
    """Systemd makes /var/log/private, which is root's only, and the daemon is not root."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:  # pytest's own folders are root's only
        folder = Path(name)
        folder.chmod(0o755)
        log = folder / "mail.log"
        for path in (log, folder / "mail.log.1"):
            path.write_bytes(b"x\n")
        (folder / "private").mkdir(mode=0)
        user = os.geteuid()
        os.seteuid(65534 if user == 0 else user)
        try:
            assert [file.path.name for file in relatives(log)] == ["mail.log.1"]
            source = FileSource(log)
            assert text(drain(source)) == b"x\n"
            source.close()
        finally:
            os.seteuid(user)
