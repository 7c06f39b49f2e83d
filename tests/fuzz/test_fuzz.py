"""The fuzzer itself: a second of it."""

from tests.fuzz.__main__ import blindly


def test_noise_made_of_real_lines_stops_nothing() -> None:
    """The rest is for ``make fuzz``, which never ends with nothing to try."""
    assert blindly(1.0) > 100
