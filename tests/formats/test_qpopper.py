"""Qpopper's lines: log-login, with and without debugging."""

import pytest

from tests.formats.reading import login_of, reader

read = reader("qpopper", "qpopper")


@pytest.mark.parametrize(
    ("text", "address", "user"),
    [
        ('(v4.0.9) POP login by user "alice" at (h.example.com) 192.0.2.1', "192.0.2.1", "alice"),
        (
            '(v4.1.0) POP login by user "alice@example.com" at (9.9.9.9) 192.0.2.1 [pop_log.c:244]',
            "192.0.2.1",
            "alice@example.com",
        ),
        ('(v4.0.5fc2) POP login by user "alice" at (2001:db8::1) 2001:db8::1', "2001:db8::1", "alice"),
    ],
)
def test_every_layout_of_a_login_is_read(text: str, address: str, user: str) -> None:
    """What do_log_login writes."""
    assert login_of(read(text)) == (address, user)


@pytest.mark.parametrize(
    "text",
    [
        '(v4.0.9) POP login by user "alice" at (x) 9.9.9.9) 192.0.2.1',
        '(v4.0.9) POP login by user "x" at (y) 9.9.9.9" at (z) 192.0.2.1',
        '(v4.0.9) POP login by user "" at (x) 9.9.9.9',
        'x at (v4.0.9) POP login by user "alice" at (x) 9.9.9.9',
        "Stats: alice 0 0 0 0 x 9.9.9.9",
    ],
)
def test_what_proves_no_password_is_no_login(text: str) -> None:
    """Names end at their own delimiters; the end of a session is no login."""
    assert login_of(read(text)) is None
