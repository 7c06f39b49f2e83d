"""Logs for the tests of their reading."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sources.following import become_self


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Name a log that is not there yet."""
    return tmp_path / "mail.log"


@pytest.fixture
def folder_for_all() -> Iterator[Path]:
    """Make a folder that every user can look into, unlike pytest's own, for tests in which modes matter."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        become_self()
