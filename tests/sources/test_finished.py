"""Files of a log that were read to their end and let go."""

import gzip
from datetime import UTC, datetime
from pathlib import Path

import pytest

from popbeforesmtp.sources._checkpoint import Place, read_checkpoint, read_finished, write_checkpoint
from popbeforesmtp.sources._finished import Finished
from popbeforesmtp.sources._openlog import OpenLog
from popbeforesmtp.sources.file import FileSource
from tests.sources.following import Hand, append, drain, rest_after, text

SINCE = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
NEWS = b"2026-11-22T12:00:09+00:00 mail dovecot: of the new file, and of no other one\n"


def lines(name: str, count: int = 5) -> bytes:
    """Return some lines of the window, long enough that a file is known by them."""
    return b"".join(
        b"2026-11-22T12:00:%02d+00:00 mail dovecot: %s, said at some length, line %d\n"
        % (second, name.encode(), second)
        for second in range(count)
    )


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch) -> Hand:
    """Turn the clock by which files are let go."""
    hand = Hand()
    for module in ("file", "_openlog", "_history"):
        monkeypatch.setattr(f"popbeforesmtp.sources.{module}.time", hand)
    return hand


def read_and_let_go(log: Path, hand: Hand) -> str:
    """Read a log and the rotated file beside it until that is let go; return the last checkpoint."""
    source = FileSource(log, since=SINCE, zone=UTC)
    assert text(drain(source)) == lines("old") + lines("new")
    hand.seconds += 120
    drain(source)
    append(log, lines("more"))
    block = source.read()
    source.close()
    assert block is not None
    assert block.data == lines("more")
    assert len(read_checkpoint(block.checkpoint)) == 1
    return block.checkpoint


def replace_log(log: Path) -> None:
    """Put another file in the log's place, so that no place is found again."""
    log.unlink()
    log.with_name("new").write_bytes(NEWS)
    log.with_name("new").rename(log)


@pytest.mark.parametrize("packed", [False, True])
def test_a_restart_reads_no_file_twice_though_its_log_was_removed(log: Path, hand: Hand, *, packed: bool) -> None:
    """A clock that was set back meanwhile would make the windows longer that its lines opened."""
    old = log.with_name("mail.log.1.gz" if packed else "mail.log.1")
    old.write_bytes(gzip.compress(lines("old")) if packed else lines("old"))
    log.write_bytes(lines("new"))
    checkpoint = read_and_let_go(log, hand)
    replace_log(log)
    data, notices = rest_after(log, checkpoint, SINCE)
    assert data == NEWS
    assert any("not found again" in notice for notice in notices)


def test_a_file_that_was_let_go_is_known_when_it_is_compressed(log: Path, hand: Hand) -> None:
    """Under another name, in another form, with another inode."""
    old = log.with_name("mail.log.1")
    old.write_bytes(lines("old"))
    log.write_bytes(lines("new"))
    checkpoint = read_and_let_go(log, hand)
    log.with_name("mail.log.2.gz").write_bytes(gzip.compress(lines("old")))
    old.unlink()
    replace_log(log)
    assert rest_after(log, checkpoint, SINCE)[0] == NEWS


def test_what_comes_late_to_a_file_that_was_let_go_is_read(log: Path, hand: Hand) -> None:
    """Its writer still held it."""
    old = log.with_name("mail.log.1")
    old.write_bytes(lines("old"))
    log.write_bytes(lines("new"))
    checkpoint = read_and_let_go(log, hand)
    append(old, lines("late"))
    replace_log(log)
    assert rest_after(log, checkpoint, SINCE)[0] == lines("late") + NEWS


@pytest.mark.parametrize("packed", [False, True])
def test_another_file_that_begins_alike_is_read(log: Path, hand: Hand, *, packed: bool) -> None:
    """Better a line twice than never: only what is surely the same file is passed by."""
    old = log.with_name("mail.log.1")
    old.write_bytes(lines("old"))
    log.write_bytes(lines("new"))
    checkpoint = read_and_let_go(log, hand)
    old.unlink()
    other = lines("old", 4) + lines("others")
    old = log.with_name("mail.log.1.gz" if packed else "mail.log.1")
    old.write_bytes(gzip.compress(other) if packed else other)
    replace_log(log)
    assert rest_after(log, checkpoint, SINCE)[0] == other + NEWS


def test_a_checkpoint_says_it_besides_and_not_among_its_places() -> None:
    """An older version finds the places that it knows, and reads twice what it does not."""
    place, over = Place(1, 2, 3, 4, "ab", "cd"), Place(1, 5, 6, 7, "ef", "gh")
    written = write_checkpoint([place], [over])
    assert read_checkpoint(written) == [place]
    assert read_finished(written) == [over]
    assert read_finished(write_checkpoint([place])) == []
    assert "finished" not in write_checkpoint([place])


def test_only_so_much_is_remembered_as_may_be_opened_again(tmp_path: Path) -> None:
    """A hundred files, and none that was last written to before the window."""
    finished = Finished(Place(1, number, number, 9, "ab", "cd") for number in range(1000))
    path = tmp_path / "mail.log"
    path.write_bytes(lines("any"))
    log = OpenLog(path)
    finished.add(log, oldest=0)
    assert len(list(finished)) == 100  # nothing was read of the file itself
    log.go_to(len(lines("any")))
    finished.add(log, oldest=990)
    finished.add(log, oldest=990)
    assert [place.inode for place in finished] == [*range(990, 1000), log.identity[1]]
    log.close()
