"""FileSource: going on where it was left off, whatever became of the files while the daemon was down."""

import gzip
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popbeforesmtp.sources._checkpoint import Place, read_checkpoint, take_place, write_checkpoint
from popbeforesmtp.sources.file import FileSource
from tests.sources.following import append, at_time, become_nobody, drain, last_checkpoint, rest_after, text

# Checkpoints


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


DOTS = bytes.maketrans(b"\n\0", b"..")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("line"), st.binary(max_size=40).map(lambda data: data.replace(b"\n", b"").lstrip(b"\0"))),
        st.tuples(st.just("half"), st.binary(min_size=1, max_size=10).map(lambda data: data.translate(DOTS))),
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


@pytest.mark.parametrize("offset", [0, 1])
def test_a_file_that_two_places_fit_is_read_once(log: Path, offset: int) -> None:
    """A file that is gone held so little that another looks like it, or gave its inode away."""
    log.write_bytes(b"")
    old = log.with_name("mail.log.1")
    old.write_bytes(b"\n"[:offset])
    with old.open("rb") as gone, log.open("rb") as named:
        places = [take_place(gone.fileno(), offset), take_place(named.fileno(), 0)]
    old.unlink()
    if offset == 0:
        places[0] = replace(places[0], inode=log.stat().st_ino)
    append(log, b"\none\ntwo\n")
    data, _ = rest_after(log, write_checkpoint(places))
    assert data.strip() == b"one\ntwo"


def test_a_file_that_the_path_comes_back_to_is_read_once(log: Path) -> None:
    """It is open already, and was read; another was begun behind it."""
    other = log.with_name("mail.log.1")
    other.write_bytes(b"other, and so long that nobody takes it for the first\n")
    log.write_bytes(b"one\n")
    with other.open("rb") as behind, log.open("rb") as named:
        places = [take_place(named.fileno(), 4), take_place(behind.fileno(), other.stat().st_size)]
    append(log, b"two\n")
    assert rest_after(log, write_checkpoint(places))[0] == b"two\n"


# While the daemon was down


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


def test_a_file_written_over_while_down_is_read_from_its_beginning(log: Path) -> None:
    """The inode is the same, the contents are not."""
    log.write_bytes(b"one\ntwo\n")
    checkpoint = last_checkpoint(log)
    log.write_bytes(b"six\nten\nfor\n")
    data, notices = rest_after(log, checkpoint)
    assert data == b"six\nten\nfor\n"
    assert notices != []
