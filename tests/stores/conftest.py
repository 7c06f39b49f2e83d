"""A clock and a place for the tests of the stores."""

from pathlib import Path

import pytest

from tests.clocks import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock that stands still."""
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the store lies."""
    return tmp_path / "state.sqlite"
