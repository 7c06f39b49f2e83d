"""Sockets for the tests of the lookups."""

from pathlib import Path

import pytest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a socket that is not there yet."""
    return tmp_path / "map"
