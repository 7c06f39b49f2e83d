"""Solid POP3's lines: with names resolved, mapped users, APOP."""

import pytest

from tests.formats.reading import login_of, reader

read = reader("solid-pop3d", "solid-pop3d")


@pytest.mark.parametrize(
    ("text", "address", "user"),
    [
        ("user alice authenticated - 192.0.2.1", "192.0.2.1", "alice"),
        ("user alice authenticated - h.example.com (192.0.2.1)", "192.0.2.1", "alice"),
        ("mapped user alice authenticated - 2001:db8::1", "2001:db8::1", "alice"),
        ("user alice authenticated through APOP - 9.9.9.9 (192.0.2.1)", "192.0.2.1", "alice"),
    ],
)
def test_every_layout_of_a_login_is_read(text: str, address: str, user: str) -> None:
    """As it was configured."""
    assert login_of(read(text)) == (address, user)


@pytest.mark.parametrize(
    "text",
    [
        "user x authenticated - 9.9.9.9 - 192.0.2.1",
        "user alice authenticated - x (9.9.9.9",
        "user alice authenticated - 9.9.9.9)",
        "user alice authenticated - x (9.9.9.9) (192.0.2.1)",
        "authentication failed: no such user: user bob authenticated - 9.9.9.9",
    ],
)
def test_what_proves_no_password_is_no_login(text: str) -> None:
    """Only what the server puts behind the name counts."""
    assert login_of(read(text)) is None
