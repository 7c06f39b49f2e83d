"""Watch: the bell rings also for folders that come late, are replaced, or are reached through a symbolic link."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from popbeforesmtp.sources import _watch
from popbeforesmtp.sources._watch import Watch
from popbeforesmtp.sources.file import FileSource
from tests.sources.following import append, drain, text

_LIMIT = 5.0  # seconds


@pytest.fixture
def follow(tmp_path: Path) -> Iterator[Callable[[Path], tuple[FileSource, threading.Event]]]:
    """Follow logs until the test ends."""
    sources = []

    def begin(log: Path) -> tuple[FileSource, threading.Event]:
        source, rung = FileSource(log), threading.Event()
        source.watch(rung.set)
        sources.append(source)
        return source, rung

    yield begin
    for source in sources:
        source.close()


Following = Callable[[Path], tuple[FileSource, threading.Event]]


def expect_ring(source: FileSource, rung: threading.Event, log: Path) -> None:
    """Write a line, and see that it rings and is read."""
    while text(drain(source)):
        pass
    rung.clear()
    append(log, b"rings\n")
    assert rung.wait(_LIMIT)
    assert text(drain(source)) == b"rings\n"


def test_a_folder_that_comes_later_is_watched_then(tmp_path: Path, follow: Following) -> None:
    """The next look finds it; after that events do."""
    log = tmp_path / "later" / "mail.log"
    source, rung = follow(log)
    log.parent.mkdir()
    log.write_bytes(b"one\n")
    assert text(drain(source)) == b"one\n"
    expect_ring(source, rung, log)


def test_a_folder_that_is_replaced_is_watched_anew(tmp_path: Path, follow: Following) -> None:
    """Under the old name is another folder now: renamed away, or mounted over."""
    folder, log = tmp_path / "logs", tmp_path / "logs" / "mail.log"
    folder.mkdir()
    log.write_bytes(b"one\n")
    source, rung = follow(log)
    drain(source)
    folder.rename(tmp_path / "away")
    folder.mkdir()
    log.write_bytes(b"two\n")
    assert text(drain(source)) == b"two\n"
    expect_ring(source, rung, log)


def test_a_folder_that_is_a_symlink_is_watched_where_it_leads_to(tmp_path: Path, follow: Following) -> None:
    """And where it leads to when it was switched."""
    folder = tmp_path / "logs"
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mail.log").write_bytes(b"one\n")
    folder.symlink_to(tmp_path / "a")
    source, rung = follow(folder / "mail.log")
    expect_ring(source, rung, folder / "mail.log")
    folder.unlink()
    folder.symlink_to(tmp_path / "b")
    drain(source)
    expect_ring(source, rung, folder / "mail.log")


def test_a_log_that_is_a_symlink_rings_where_the_lines_are_written(tmp_path: Path, follow: Following) -> None:
    """Its own folder is quiet."""
    (tmp_path / "data").mkdir()
    real, log = tmp_path / "data" / "today", tmp_path / "mail.log"
    real.write_bytes(b"one\n")
    log.symlink_to(real)
    source, rung = follow(log)
    expect_ring(source, rung, real)


def test_without_any_events_the_look_finds_everything(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network file system has none, and a system may have no watches left; that is said once."""

    class Broken:
        def start(self) -> None:
            raise OSError(24, "inotify instance limit reached")

    monkeypatch.setattr(_watch, "Observer", Broken)
    log.write_bytes(b"one\n")
    source = FileSource(log)
    source.watch(lambda: None)
    assert text(drain(source)) == b"one\n"
    log.rename(log.with_name("mail.log.1"))
    log.write_bytes(b"two\n")
    assert text(drain(source)) == b"two\n"
    assert len([notice for notice in source.notices() if "inotify instance limit reached" in notice]) == 1
    source.close()


def test_reading_does_not_ring(tmp_path: Path) -> None:
    """Or the bell would never be silent."""
    log = tmp_path / "mail.log"
    log.write_bytes(b"one\n")
    told: list[str] = []
    done = threading.Event()

    def tell(path: str) -> None:
        told.append(path)
        if path.endswith("done"):
            done.set()

    watch = Watch(tell)
    watch.look([str(tmp_path)])
    log.read_bytes()
    (tmp_path / "done").write_bytes(b"")
    assert done.wait(_LIMIT)
    watch.close()
    assert not any(path.endswith("mail.log") for path in told)


def test_no_more_folders_are_watched_than_threads_are_worth(tmp_path: Path) -> None:
    """The others are looked at."""
    folders = [str(tmp_path / f"{number:03}") for number in range(50)]
    for folder in folders:
        os.mkdir(folder)  # noqa: PTH102
    watch = Watch(lambda _: None)
    assert watch.look(folders) == []
    assert len(watch._watched) == _watch._AT_MOST
    watch.close()
