"""Qpopper's lines: log-login, with and without debugging."""

import json
import shutil
from pathlib import Path

import pytest

from popbeforesmtp import cli
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


STATS = Path(__file__).parents[2] / "contrib" / "qpopper" / "stats.toml"


def test_the_end_of_a_session_is_a_login_where_an_administrator_wants_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Qpopper 2.5 and 3 write nothing else; the address is the last thing, the name before it is PTR's."""
    shutil.copy(STATS, tmp_path)
    log = tmp_path / "mail.log"
    log.write_text(
        "Nov 22 07:14:00 mx1 popper[5]: Stats: alice 0 0 3 4096 9.9.9.9 192.0.2.1\n"
        "Nov 22 07:14:01 mx1 popper[6]: Stats: bob 1 2 3 4 h.example.com 2001:db8::1 [pop_updt.c:293]\n"
        "Nov 22 07:14:02 mx1 popper[7]: Stats: bob 1 2 3 4 x 9.9.9.9 192.0.2.2\n"
        "Nov 22 07:14:03 mx1 popper[8]: Stats: bob 1 2 3 4 192.0.2.2\n"
    )
    assert cli.main(["scan", "--json", "--formats-dir", str(tmp_path), str(log)]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(event["event"], event["address"], event["user"], event["service"]) for event in events] == [
        ("login", "192.0.2.1", "alice", "pop3"),
        ("login", "2001:db8::1", "bob", "pop3"),
    ]
