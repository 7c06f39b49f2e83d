"""Files that are replaced whole."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from popbeforesmtp.atomicfile import replacing


def test_a_file_is_replaced_when_the_block_ends(tmp_path: Path) -> None:
    """Inside the block readers see the old file, after it the new one, and nothing else is left behind."""
    path = tmp_path / "map"
    path.write_text("old")
    with replacing(path) as new:
        new.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_file_is_made(tmp_path: Path) -> None:
    """A file that is not there yet comes whole as well."""
    path = tmp_path / "map"
    with replacing(path) as new:
        new.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"


def test_a_reader_keeps_the_file_that_it_has_open(tmp_path: Path) -> None:
    """Who has opened the old file reads the old file to its end."""
    path = tmp_path / "map"
    path.write_text("old")
    with path.open() as reader, replacing(path) as new:
        new.write_text("completely new")
        assert reader.read() == "old"


@pytest.mark.parametrize("error", [ValueError("half way"), KeyboardInterrupt(), SystemExit(1)])
def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    """Whatever ends the block, the old file stays as it was and the half-made one is gone."""
    path = tmp_path / "map"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as new:
            new.write_text("half")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_makes_no_file_leaves_the_old_one(tmp_path: Path) -> None:
    """Where the block forgot its file there is an error, not an empty or a missing map."""
    path = tmp_path / "map"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), replacing(path):
        pass
    assert path.read_text() == "old"


def test_what_cannot_be_renamed_over_leaves_no_litter(tmp_path: Path) -> None:
    """Where the name is taken by a folder, the folder stays and the new file is removed."""
    path = tmp_path / "map"
    path.mkdir()
    with pytest.raises(OSError, match="directory"), replacing(path) as new:
        new.write_text("new")
    assert path.is_dir()
    assert list(tmp_path.iterdir()) == [path]


def test_the_new_name_is_hidden_beside_the_old_and_never_the_same_twice(tmp_path: Path) -> None:
    """The rename stays on one file system, and two that replace at once do not write into one file."""
    path = tmp_path / "map"
    with replacing(path) as first, replacing(path) as second:
        assert first != second
        assert {first.parent, second.parent} == {tmp_path}
        assert first.name.startswith(".map.")
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"  # the outer block ended last
    assert list(tmp_path.iterdir()) == [path]


def test_the_mode_is_what_the_block_gave(tmp_path: Path) -> None:
    """The new file keeps its own mode, not that of the file it replaces."""
    path = tmp_path / "map"
    path.write_text("old")
    path.chmod(0o600)
    with replacing(path) as new:
        new.write_text("new")
        new.chmod(0o644)
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_symlink_is_replaced_and_its_target_stays(tmp_path: Path) -> None:
    """Nobody makes us write through a link into a file of theirs."""
    target, path = tmp_path / "target", tmp_path / "map"
    target.write_text("precious")
    path.symlink_to(target)
    with replacing(path) as new:
        new.write_text("new")
    assert not path.is_symlink()
    assert path.read_text() == "new"
    assert target.read_text() == "precious"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files away")
@pytest.mark.parametrize("there", [True, False], ids=["the old file's", "the folder's"])
def test_what_root_makes_belongs_to_whom_the_old_file_or_the_folder_does(tmp_path: Path, *, there: bool) -> None:
    """A sweep of root's keeps no daemon of another user from its map."""
    path = tmp_path / "map"
    os.chown(tmp_path, 1, 2)
    if there:
        path.touch()
        os.chown(path, 3, 4)
    with replacing(path) as new:
        new.write_text("new")
    status = path.stat()
    assert (status.st_uid, status.st_gid) == ((3, 4) if there else (1, 2))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files away")
@pytest.mark.parametrize("how", [os.link, os.symlink])
def test_nothing_else_is_given_away(tmp_path: Path, how: Callable[[Path, Path], None]) -> None:
    """Whoever the folder belongs to may put another file of root's in the place of what root makes."""
    folder, secret = tmp_path / "folder", tmp_path / "secret"
    folder.mkdir()
    os.chown(folder, 1, 1)
    secret.touch()
    with suppress(OSError), replacing(folder / "map") as new:
        how(secret, new)
    assert secret.stat().st_uid == 0
