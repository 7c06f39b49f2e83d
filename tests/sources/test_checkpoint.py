"""Checkpoints: a place in a log is found again by what the file holds, and by nothing that can be mistaken for it."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popbeforesmtp.sources._checkpoint import Place, read_checkpoint, take_place, write_checkpoint

NUMBERS = st.integers(0, 2**63 - 1)
PLACES = st.builds(
    Place, device=NUMBERS, inode=NUMBERS, modified=NUMBERS, offset=NUMBERS, head=st.text(), tail=st.text()
)


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """Open a file and give its descriptor."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def place_in(path: Path, offset: int) -> Place:
    """Describe a place in a file."""
    with opened(path) as descriptor:
        return take_place(descriptor, offset)


def fits(place: Place, path: Path) -> bool:
    """Ask whether a place is in a file."""
    with opened(path) as descriptor:
        return place.fits(descriptor)


@given(st.lists(PLACES, max_size=4))
def test_places_come_back_as_they_were_written(places: list[Place]) -> None:
    """A checkpoint is one line of text and loses nothing."""
    text = write_checkpoint(places)
    assert "\n" not in text
    assert read_checkpoint(text) == places


@given(st.one_of(st.none(), st.text(), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps)))
def test_text_that_is_none_of_ours_gives_no_place(text: str | None) -> None:
    """It is no reason to stop."""
    assert read_checkpoint(text) == []


@pytest.mark.parametrize(
    "damage",
    [{"offset": "12"}, {"offset": -5}, {"offset": 1.5}, {"offset": None}, {"more": 1}],
    ids=str,
)
def test_a_damaged_place_is_no_place(damage: dict[str, object]) -> None:
    """What does not look like a place must not come to the file system, nor stop the daemon there."""
    place = {"device": 1, "inode": 2, "offset": 3, "head": "", "tail": ""} | damage
    assert read_checkpoint(json.dumps({"version": 1, "files": [place]})) == []


def test_a_checkpoint_of_another_version_gives_no_place() -> None:
    """Its words may mean something else."""
    text = write_checkpoint([Place(1, 2, 3, 4, "", "")])
    assert read_checkpoint(text.replace('"version":1', '"version":2')) == []


def test_a_place_is_found_after_a_rename_and_growth(tmp_path: Path) -> None:
    """A file that only grew is the same file, whatever its name."""
    log = tmp_path / "mail.log"
    log.write_bytes(b"one\ntwo\n")
    place = place_in(log, 4)
    old = log.rename(tmp_path / "mail.log.1")
    old.write_bytes(b"one\ntwo\nthree\n")
    assert fits(place, old)


def test_a_place_is_found_under_other_device_and_inode_numbers(tmp_path: Path) -> None:
    """After a reboot devices may be numbered anew, after copytruncate the copy has an inode of its own."""
    log = tmp_path / "mail.log"
    log.write_bytes(b"one\ntwo\n")
    assert fits(replace(place_in(log, 8), device=1, inode=2), log)


@pytest.mark.parametrize("data", [b"", b"one\ntw", b"six\nten\n", b"one\nten\n", b"six\ntwo\n"], ids=repr)
def test_a_file_that_was_written_over_is_not_taken_for_the_old_one(tmp_path: Path, data: bytes) -> None:
    """The inode is the same, but it is shorter, or begins otherwise, or ends otherwise before the place."""
    log = tmp_path / "mail.log"
    log.write_bytes(b"one\ntwo\n")
    place = place_in(log, 8)
    log.write_bytes(data)
    assert not fits(place, log)


def test_a_place_at_the_beginning_is_known_by_its_inode_alone(tmp_path: Path) -> None:
    """Nothing was read that it could be known by, so every other file would fit."""
    log, other = tmp_path / "mail.log", tmp_path / "other"
    log.write_bytes(b"")
    other.write_bytes(b"")
    place = place_in(log, 0)
    assert fits(place, log)
    assert not fits(place, other)


def test_the_bytes_behind_the_place_do_not_matter(tmp_path: Path) -> None:
    """They may have been a half line when the checkpoint was written."""
    log = tmp_path / "mail.log"
    log.write_bytes(b"one\nha")
    place = place_in(log, 4)
    log.write_bytes(b"one\nhalf\n")
    assert fits(place, log)
