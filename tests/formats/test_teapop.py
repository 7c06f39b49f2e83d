"""Teapop's lines: two addresses, of which the second is the client's."""

import pytest

from tests.formats.reading import login_of, reader

read = reader("teapop", "teapop")


@pytest.mark.parametrize(
    ("text", "address", "user"),
    [
        ("Successful login for alice [192.0.2.100] from unknown [192.0.2.1]", "192.0.2.1", "alice"),
        (
            "Successful login for alice@example.com [2001:db8::100] from h.example.com [2001:db8::1]",
            "2001:db8::1",
            "alice@example.com",
        ),
        ("Successful login for alice [192.0.2.100] from 9.9.9.9 [192.0.2.1]", "192.0.2.1", "alice"),
    ],
)
def test_every_layout_of_a_login_is_read(text: str, address: str, user: str) -> None:
    """With and without a domain and a name."""
    assert login_of(read(text)) == (address, user)


@pytest.mark.parametrize(
    "text",
    [
        "Successful login for x [1.1.1.1] from y [9.9.9.9] [192.0.2.100] from z [192.0.2.1]",
        "Successful login for alice [9.9.9.9]",
        "Successful login for alice [192.0.2.100] from x [9.9.9.9] [192.0.2.1]",
        "Failed login for x [1.1.1.1] from y [9.9.9.9]",
    ],
)
def test_what_proves_no_password_is_no_login(text: str) -> None:
    """Brackets end names."""
    assert login_of(read(text)) is None
