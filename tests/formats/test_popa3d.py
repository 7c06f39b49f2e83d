"""popa3d's lines: the address stands on a line of its own, see test_sessions.py."""

import pytest

from tests.formats.reading import login_of, reader

read = reader("popa3d", "popa3d")


@pytest.mark.parametrize(
    "text",
    [
        "Authentication passed for UNKNOWN USER",
        "Authentication passed for ",
        "Authentication failed for alice",
        "Authentication passed for a b",
    ],
)
def test_what_proves_no_password_is_no_login(text: str) -> None:
    """Nobody is nobody."""
    assert login_of(read(text)) is None
