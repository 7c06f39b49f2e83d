"""SeveralSource: all files that a pattern names, now and later, each read as a log of its own."""

import gzip
import resource
import shutil
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popbeforesmtp.model import Block
from popbeforesmtp.sources._several import SeveralSource
from popbeforesmtp.sources.file import FileSource, open_source
from tests.sources.following import (
    Hand,
    append,
    at_time,
    become_nobody,
    become_self,
    drain,
    open_files,
    wait_for_threads,
)
from tests.sources.stamped import at, lines, since


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch) -> Hand:
    """Make a clock that is turned by hand."""
    hand = Hand()
    for module in ("_several", "_history", "_openlog", "file"):
        monkeypatch.setattr(f"popbeforesmtp.sources.{module}.time", hand)
    return hand


def by_log(blocks: Iterable[Block]) -> dict[str, bytes]:
    """Put together what was handed over of each file, by its name."""
    texts: dict[str, bytes] = defaultdict(bytes)
    for block in blocks:
        texts[Path(block.log).name] += block.data
    return dict(texts)


def test_all_that_match_now_and_later_are_followed(tmp_path: Path, hand: Hand) -> None:
    """Also in folders that come later."""
    for host in ("a", "b"):
        (tmp_path / host).mkdir()
        (tmp_path / host / "mail.log").write_bytes(host.encode() + b"\n")
    source = open_source(path=tmp_path / "*" / "mail.log")
    texts = {block.log: block.data for block in drain(source)}
    assert texts == {str(tmp_path / "a" / "mail.log"): b"a\n", str(tmp_path / "b" / "mail.log"): b"b\n"}
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "mail.log").write_bytes(b"c\n")
    hand.seconds += 6
    assert by_log(drain(source)) == {"mail.log": b"c\n"}
    assert source.report().state == "following 3 files"
    source.close()


def test_rotated_forms_that_match_are_no_logs_of_their_own(tmp_path: Path) -> None:
    """Their lines were read when they were written, or are read as their log's."""
    log = tmp_path / "dovecot.log"
    log.write_bytes(b"one\n")
    for name in (
        "dovecot.log.1",
        "dovecot.log.2.gz",
        "dovecot.log-20261122",
        "dovecot-20261122.log",
        "dovecot.log.old",
    ):
        log.with_name(name).write_bytes(b"old\n")
    daily = tmp_path / "dovecot-other-20261122.log"
    daily.write_bytes(b"daily\n")
    source = open_source(path=tmp_path / "dovecot*")
    assert by_log(drain(source)) == {"dovecot.log": b"one\n", daily.name: b"daily\n"}
    source.close()


def test_each_file_is_followed_through_its_rotations(tmp_path: Path, hand: Hand) -> None:
    """As if it were the only one."""
    first, second = tmp_path / "1.log", tmp_path / "2.log"
    first.write_bytes(b"one\n")
    second.write_bytes(b"two\n")
    source = open_source(path=tmp_path / "*.log")
    drain(source)
    append(first, b"three\n")
    first.rename(tmp_path / "1.log.1")
    first.write_bytes(b"four\n")
    append(second, b"five\n")
    hand.seconds += 2
    assert by_log(drain(source)) == {"1.log": b"three\nfour\n", "2.log": b"five\n"}
    source.close()


def test_a_busy_file_does_not_keep_the_others_back(tmp_path: Path) -> None:
    """Each has its turn after a block of each other."""
    (tmp_path / "a.log").write_bytes(b"busy\n" * 1_000_000)
    (tmp_path / "b.log").write_bytes(b"quiet\n")
    source = open_source(path=tmp_path / "*.log")
    names = [Path(block.log).name for block in drain(source)]
    assert "b.log" in names[:2]
    assert names.count("a.log") > 10
    source.close()


def test_one_checkpoint_holds_the_places_of_all(tmp_path: Path, hand: Hand) -> None:
    """Whichever file's block it came with."""
    logs = [tmp_path / f"{number}.log" for number in range(3)]
    for log in logs:
        log.write_bytes(b"one\n")
    source = open_source(path=tmp_path / "*.log")
    checkpoint = drain(source)[-1].checkpoint
    source.close()
    logs[0].rename(tmp_path / "0.log.1")  # and no new one yet
    append(tmp_path / "0.log.1", b"two\n")
    append(logs[1], b"three\n")
    source = open_source(path=tmp_path / "*.log", checkpoint=checkpoint)
    assert by_log(drain(source)) == {"0.log": b"two\n", "1.log": b"three\n"}
    source.close()


@pytest.mark.parametrize(
    "checkpoint", ["", "{}", "[]", "12", "x", '{"version":1,"logs":[]}', '{"version":2,"logs":{}}']
)
def test_text_that_is_no_checkpoint_is_no_reason_to_stop(tmp_path: Path, checkpoint: str) -> None:
    """The files are read as new ones."""
    (tmp_path / "a.log").write_bytes(b"one\n")
    source = open_source(path=tmp_path / "*.log", checkpoint=checkpoint)
    assert by_log(drain(source)) == {"a.log": b"one\n"}
    source.close()


def test_a_file_that_may_not_be_read_is_said_once_and_read_once_it_may_be(folder_for_all: Path, hand: Hand) -> None:
    """And keeps no other file back meanwhile."""
    closed, other = folder_for_all / "a.log", folder_for_all / "b.log"
    closed.write_bytes(b"one\n")
    closed.chmod(0)
    other.write_bytes(b"two\n")
    become_nobody()
    source = open_source(path=folder_for_all / "*.log")
    assert by_log(drain(source)) == {"b.log": b"two\n"}
    for _ in range(3):
        hand.seconds += 2
        assert drain(source) == []
    assert source.notices() == [f"{closed}: Permission denied"]
    assert source.report().waiting
    become_self()
    closed.chmod(0o644)
    become_nobody()
    hand.seconds += 2
    assert by_log(drain(source)) == {"a.log": b"one\n"}
    assert source.notices() == [f"{closed} can be read again"]
    source.close()


def test_a_file_that_is_gone_for_good_is_forgotten(tmp_path: Path, hand: Hand) -> None:
    """It costs no descriptor for ever, and no room in the checkpoint."""
    (tmp_path / "a.log").write_bytes(b"one\n")
    source = open_source(path=tmp_path / "*.log")
    before = open_files()
    (tmp_path / "b.log").write_bytes(b"two\n")
    hand.seconds += 6
    drain(source)
    (tmp_path / "a.log").unlink()
    (tmp_path / "b.log").unlink()
    hand.seconds += 6
    drain(source)
    hand.seconds += 4000
    drain(source)
    assert open_files() == before
    assert source.report().state == "waiting for a file"
    (tmp_path / "a.log").write_bytes(b"three\n")
    hand.seconds += 6
    (block,) = drain(source)
    assert block.data == b"three\n"
    assert "b.log" not in block.checkpoint
    source.close()


def test_too_many_files_are_said_once(tmp_path: Path, hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pattern that was written carelessly must not take all descriptors from the live answers."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (40, 40))
    for number in range(15):
        (tmp_path / f"{number:02}.log").write_bytes(b"one\n")
    source = open_source(path=tmp_path / "*.log")
    assert len(by_log(drain(source))) == 10
    hand.seconds += 6
    drain(source)
    (notice,) = source.notices()
    assert "more than 10 files" in notice
    assert "LimitNOFILE" in notice
    source.close()


def test_each_file_begins_at_the_start_of_the_window(tmp_path: Path, hand: Hand) -> None:
    """With what was rotated away since."""
    for name in ("a", "b"):
        data = lines(range(1000))
        (tmp_path / f"{name}.log.1.gz").write_bytes(gzip.compress(data))
        at_time(tmp_path / f"{name}.log.1.gz", int(at(1000).timestamp()))
        (tmp_path / f"{name}.log").write_bytes(lines(range(1000, 1100)))
    source = open_source(path=tmp_path / "*.log", since=at(500))
    texts: dict[str, bytes] = defaultdict(bytes)
    while len(texts) < 2 or any(child.source.report().state != "following" for child in source._logs.values()):
        for name, data in by_log(drain(source)).items():
            texts[name] += data
        hand.seconds += 1
    for name, data in by_log(drain(source)).items():
        texts[name] += data
    expected = since(lines(range(1000)), 440) + lines(range(1000, 1100))
    assert dict(texts) == {"a.log": expected, "b.log": expected}
    source.close()


def test_a_path_that_only_looks_like_a_pattern_is_a_path(tmp_path: Path) -> None:
    """Somebody's log is called mail[1].log."""
    log = tmp_path / "mail[1].log"
    log.write_bytes(b"one\n")
    source = open_source(path=log)
    assert isinstance(source, FileSource)
    source.close()


def test_the_bell_rings_for_each_file_and_for_a_new_one(tmp_path: Path) -> None:
    """Nobody has to wait for the look every second; other files in the folder do not ring."""
    log = tmp_path / "a.log"
    log.write_bytes(b"one\n")
    source = open_source(path=tmp_path / "*.log")
    rung = threading.Event()
    source.watch(rung.set)
    drain(source)
    append(log, b"two\n")
    assert rung.wait(5)
    assert by_log(drain(source)) == {"a.log": b"two\n"}
    rung.clear()
    (tmp_path / "other").write_bytes(b"x\n")
    (tmp_path / "b.log").write_bytes(b"three\n")
    assert rung.wait(5)
    source.close()


STEPS = st.lists(
    st.tuples(st.sampled_from(["line", "rotate", "copytruncate", "read", "pack", "restart"]), st.integers(0, 2)),
    max_size=40,
)


@settings(max_examples=80, deadline=None)
@given(STEPS)
def test_random_histories_of_several_files_give_every_line_once_and_in_order(steps: list[tuple[str, int]]) -> None:
    """Whatever is rotated, compressed or restarted between the looks."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        hand = Hand()
        patch.setattr("popbeforesmtp.sources._several.time", hand)
        folder = Path(name)
        written: dict[str, bytes] = {f"{number}.log": b"" for number in range(3)}
        read: dict[str, bytes] = dict.fromkeys(written, b"")
        counts = dict.fromkeys(written, 0)
        blind: set[str] = set()  # logs of which a file was rotated that had nothing in it
        for log in written:
            (folder / log).write_bytes(b"")
            at_time(folder / log, 999_999)
        checkpoint = None
        source = SeveralSource(folder / "*.log", FileSource)

        def catch_up() -> None:
            nonlocal checkpoint
            busy = True
            while busy:
                hand.seconds += 10
                while (block := source.read()) is not None:
                    checkpoint = block.checkpoint
                    read[Path(block.log).name] += block.data
                busy = any(log.source.report().state.startswith("unpacking") for log in source._logs.values())
                wait_for_threads()

        catch_up()
        for clock, (what, number) in enumerate(steps):
            log = folder / f"{number}.log"
            if what == "line":
                data = b"%06d " % clock + b"x" * 300 + b"\n"
                append(log, data)
                written[log.name] += data
                at_time(log, 1_000_000 + clock)
            elif what in ("rotate", "copytruncate"):
                if what == "copytruncate":
                    catch_up()  # else nobody could tell what was in the file
                for older in range(counts[log.name], 0, -1):
                    for suffix in ("", ".gz"):
                        old = folder / f"{log.name}.{older}{suffix}"
                        if old.exists():
                            old.rename(folder / f"{log.name}.{older + 1}{suffix}")
                if not log.stat().st_size:
                    blind.add(log.name)
                if what == "copytruncate":
                    shutil.copyfile(log, folder / f"{log.name}.1")
                    at_time(folder / f"{log.name}.1", 1_000_000 + clock)
                else:
                    log.rename(folder / f"{log.name}.1")
                log.write_bytes(b"")
                at_time(log, 1_000_000 + clock)
                counts[log.name] += 1
            elif what == "pack":
                old = folder / f"{log.name}.1"
                if old.exists() and old.stat().st_size:
                    (folder / f"{log.name}.1.gz").write_bytes(gzip.compress(old.read_bytes()))
                    at_time(folder / f"{log.name}.1.gz", int(old.stat().st_mtime))
                    old.unlink()
            elif what == "read":
                catch_up()
            else:
                source.close()
                source = SeveralSource(folder / "*.log", FileSource, checkpoint)
        catch_up()
        source.close()
        # Whoever is told after a restart of a rotated file that had nothing in it cannot know what has become of it:
        # it may be any that was packed since. So these are read, and one that was read before is read again.
        for empty in blind:
            read[empty] = b"".join(dict.fromkeys(read[empty].splitlines(keepends=True)))
        assert read == written
