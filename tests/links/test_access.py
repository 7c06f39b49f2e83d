"""What a user may reach, worked out from owners and modes."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from popbeforesmtp.links._access import READ, WRITE, User, barrier, named, of_process

STRANGER = User("stranger", 64321, frozenset((64321,)))
MEMBER = User("member", 64322, frozenset((os.getegid(),)))


@pytest.fixture
def file() -> Iterator[Path]:
    """A file in a folder that everybody may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "file"
        path.touch()
        os.chown(path, -1, os.getegid())
        path.chmod(0o640)
        yield path


def test_the_first_thing_on_the_way_is_named(file: Path) -> None:
    """The file itself, or a folder above it."""
    assert "may not be read by user stranger" in str(barrier(STRANGER, file, READ))
    file.chmod(0o644)
    assert barrier(STRANGER, file, READ) is None
    assert "may not be written by user stranger" in str(barrier(STRANGER, file, WRITE))
    file.parent.chmod(0o700)
    assert str(barrier(STRANGER, file, READ)).startswith(f"{file.parent} may not be entered by user stranger")


def test_groups_count_and_root_may_all(file: Path) -> None:
    """Only the group's own bits for who is in it, as the kernel has it."""
    assert barrier(MEMBER, file, READ) is None
    file.chmod(0o604)
    assert barrier(MEMBER, file, READ) is not None
    assert barrier(STRANGER, file, READ) is None
    file.chmod(0)
    assert barrier(User("root", 0, frozenset()), file, READ | WRITE) is None


def test_what_is_not_there_cannot_be_judged(tmp_path: Path) -> None:
    """The caller says that it is missing."""
    with pytest.raises(FileNotFoundError):
        barrier(STRANGER, tmp_path / "none", READ)


def test_users_are_known_by_name_and_by_process() -> None:
    """Ours is one."""
    own = of_process(os.getpid())
    assert own is not None
    assert own.number == os.geteuid()
    assert named("no such user") is None
    assert of_process(2**22 + 1) is None
