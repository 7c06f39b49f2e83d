"""FileSource: rotated logs that were compressed, damaged ones, and those that are unpacked while others wait."""

import bz2
import gzip
import lzma
import os
import threading
from pathlib import Path

import pytest

from popbeforesmtp.sources._unpacking import Unpacking
from popbeforesmtp.sources.file import FileSource
from tests.sources.following import Hand, at_time, drain, last_checkpoint, open_files, rest_after, text
from tests.sources.stamped import at, line, lines


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


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)])
def test_the_rest_of_a_compressed_log_comes_before_the_new_one(log: Path, suffix: str, pack: object) -> None:
    """While it is unpacked nothing is handed over, and the bell rings when it is done."""
    assert callable(pack)
    write(log, lines(range(10)), 10)
    checkpoint = last_checkpoint(log)
    write(log.with_name(f"mail.log.1{suffix}"), pack(lines(range(20))), 20)
    write(log, lines([30]), 30)
    rung = threading.Event()
    source = FileSource(log, checkpoint, ring=rung.set)
    assert source.read() is None
    assert source.report().state.startswith("unpacking")
    assert rung.wait(10)
    assert text(drain(source)) == lines(range(20))[len(lines(range(10))) :] + lines([30])
    source.close()


def test_a_restart_while_a_log_is_unpacked_loses_nothing(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place that is written then is still the one in the packed file."""
    write(log, lines(range(10)), 10)
    checkpoint = last_checkpoint(log)
    packed = [log.with_name(f"mail.log.{number}.gz") for number in (2, 1)]
    write(packed[0], gzip.compress(lines(range(20))), 20)
    write(packed[1], gzip.compress(lines(range(20, 30))), 30)
    write(log, lines([40]), 40)
    monkeypatch.setattr(Unpacking, "ready", lambda *_: False)
    source = FileSource(log, checkpoint)
    assert source.read() is None
    again = source._checkpoint()
    source.close()
    monkeypatch.undo()
    rest = lines(range(20))[len(lines(range(10))) :] + lines(range(20, 30))
    assert rest_after(log, again)[0] == rest + lines([40])


@pytest.mark.parametrize("data", [b"no gzip file", gzip.compress(lines(range(1000)))[:-20]], ids=["other", "cut"])
def test_a_compressed_log_that_is_damaged_keeps_nobody_back_and_is_said(log: Path, data: bytes) -> None:
    """What follows it is read."""
    write(log.with_name("mail.log.1.gz"), data, 1000)
    write(log, lines([2000]), 2000)
    before = open_files()
    seen, notices = read_all(log, 500)
    assert seen == lines([2000])
    assert any("mail.log.1.gz cannot be read" in notice for notice in notices)
    assert open_files() == before


def test_nothing_but_a_damaged_log_is_waited_on_for_better(log: Path) -> None:
    """The path names nothing yet, and what was rotated away is of no use."""
    write(log.with_name("mail.log.1.gz"), b"no gzip file", 1000)
    source = FileSource(log, since=at(500))
    assert drain(source) == []
    log.write_bytes(lines([2000]))
    assert text(drain(source)) == lines([2000])
    assert len([notice for notice in source.notices() if "cannot be read" in notice]) == 1
    source.close()


def test_a_log_that_cannot_be_unpacked_here_is_said_once(log: Path) -> None:
    """Silence would look like all was well."""
    write(log, lines(range(10)), 10)
    checkpoint = last_checkpoint(log)
    write(log.with_name("mail.log.1.zst"), b"\x28\xb5\x2f\xfd", 20)
    log.unlink()
    write(log, lines([30]), 30)
    seen, notices = read_all(log, 5, checkpoint)
    assert seen == lines([30])
    assert len([notice for notice in notices if "mail.log.1.zst cannot be unpacked" in notice]) == 1


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_log_that_is_compressed_right_after_its_rotation_is_read_once(log: Path, suffix: str) -> None:
    """The compressed file has the time of the one that we still have open, and holds nothing else."""
    data = lines(range(100))
    write(log, data, 100)
    source = FileSource(log)
    assert text(drain(source)) == data
    write(log.with_name(f"mail.log.1{suffix}"), gzip.compress(data), 100)
    log.unlink()
    log.write_bytes(lines([200]))
    assert text(drain(source)) == lines([200])
    assert not any("unpack" in notice for notice in source.notices())
    source.close()


def test_a_compressed_log_that_only_begins_like_another_is_read(log: Path) -> None:
    """Both were last written to within one second, and their first lines are the same."""
    first, second, third = line(1, "x" * 300) + line(2), line(1, "x" * 300) + line(3), line(4)
    write(log.with_name("mail.log.2.gz"), gzip.compress(first), 3)
    write(log.with_name("mail.log.1"), second, 3)
    write(log, third, 4)
    assert read_all(log, 0)[0] == first + second + third


def test_closing_while_a_log_is_unpacked_lets_go_of_everything(log: Path) -> None:
    """Whether its thread is done or not."""
    write(log, lines(range(10)), 10)
    checkpoint = last_checkpoint(log)
    write(log.with_name("mail.log.1.gz"), gzip.compress(os.urandom(100) + lines(range(20))), 20)
    write(log.with_name("mail.log.2.gz"), gzip.compress(lines(range(20))), 15)
    write(log, lines([30]), 30)
    before = open_files()
    for wait in (False, True):
        source = FileSource(log, checkpoint)
        assert source.read() is None
        threads = [thread for thread in threading.enumerate() if thread.name == "unpack"]
        if wait:
            for thread in threads:
                thread.join(10)
        source.close()
        for thread in threads:
            thread.join(10)
    assert open_files() == before
