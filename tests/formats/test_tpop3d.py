"""tpop3d's lines: the user stands there twice, the address in his session's name."""

import pytest

from tests.formats.reading import login_of, reader

read = reader("tpop3d", "tpop3d")


@pytest.mark.parametrize(
    ("text", "address", "user"),
    [
        (
            "fork_child: [5]alice(192.0.2.1): began session for `alice' with passwd; child PID is 1",
            "192.0.2.1",
            "alice",
        ),
        (
            (
                "fork_child: [12]alice@example.com(192.0.2.1): began session for `alice@example.com' with"
                " mysql; child PID is 1"
            ),
            "192.0.2.1",
            "alice@example.com",
        ),
    ],
)
def test_every_layout_of_a_login_is_read(text: str, address: str, user: str) -> None:
    """With and without a domain."""
    assert login_of(read(text)) == (address, user)


@pytest.mark.parametrize(
    "text",
    [
        "fork_child: [5]bob(9.9.9.9): began session for `alice' with passwd; child PID is 1",
        "authcontext_new_user_pass: began session for `alice' with passwd; uid 1000, gid 8",
        (
            "fork_child: [5]x(9.9.9.9): began session for `x' with pam; child PID is 1(192.0.2.1): began"
            " session for `y' with pam; child PID is 2"
        ),
    ],
)
def test_what_proves_no_password_is_no_login(text: str) -> None:
    """Both names must be the same, and the line must end behind them."""
    assert login_of(read(text)) is None
