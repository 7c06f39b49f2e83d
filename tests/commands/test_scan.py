"""``scan`` shows what each line means, exactly as documented."""

import gzip
import io
import json
import sys
from pathlib import Path

import pytest

from popbeforesmtp import cli

LOGIN = (
    "2026-11-22T07:14:00+00:00 mx1 dovecot: imap-login: Login: user=<alice>, method=PLAIN, rip=192.0.2.10,"
    " lip=198.51.100.1, mpid=4711, TLS, session=<h/IRt9hgIq9/AAAB>\n"
)
LOGOUT = (
    "2026-11-22T07:15:00+00:00 mx1 dovecot: imap(alice)<4711><h/IRt9hgIq9/AAAB>: Disconnected: Logged out"
    " in=26 out=818\n"
)


def scan(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[dict[str, object]]]:
    """Run ``scan --json`` and return its status and objects."""
    status = cli.main(["scan", "--json", *arguments])
    return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_an_event_is_one_object_with_all_fields(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In order, with nulls for what is not known; a logout gets its login's address."""
    log = tmp_path / "mail.log"
    log.write_text(f"nothing\n{LOGIN}{LOGOUT}")
    status, events = scan(str(log), capsys=capsys)
    common = {"file": str(log), "user": "alice", "service": "imap", "format": "dovecot", "session": "h/IRt9hgIq9/AAAB"}
    assert status == 0
    assert events == [
        {**common, "line": 2, "event": "login", "address": "192.0.2.10", "time": "2026-11-22T07:14:00+00:00"},
        {**common, "line": 3, "event": "logout", "address": "192.0.2.10", "time": "2026-11-22T07:15:00+00:00"},
    ]
    assert list(events[0]) == ["file", "line", "event", "address", "user", "service", "format", "time", "session"]


def test_a_logout_before_its_login_has_no_address(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two processes write them, in either order."""
    log = tmp_path / "mail.log"
    log.write_text(LOGOUT + LOGIN)
    _, events = scan(str(log), capsys=capsys)
    assert [(event["event"], event["address"]) for event in events] == [("logout", None), ("login", "192.0.2.10")]


def test_a_packed_log_and_standard_input_are_read_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order in which they are named."""
    packed = tmp_path / "mail.log.2.gz"
    packed.write_bytes(gzip.compress(LOGIN.encode()))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(LOGOUT.encode())))
    _, events = scan(str(packed), "-", capsys=capsys)
    assert [(event["file"], event["event"]) for event in events] == [(str(packed), "login"), ("-", "logout")]


def test_a_log_that_means_nothing_has_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty one too."""
    log = tmp_path / "mail.log"
    log.write_text("nothing\n")
    assert scan(str(log), capsys=capsys) == (1, [])


def test_a_line_without_its_end_is_not_read_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half a line could name half an address."""
    log = tmp_path / "mail.log"
    log.write_text(LOGIN.rstrip("\n"))
    assert cli.main(["scan", str(log)]) == 1
    assert "the last line has no line end and was not read" in capsys.readouterr().err


def test_people_get_a_line_each_and_a_sum(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Hostile text is escaped on the terminal."""
    log = tmp_path / "mail.log"
    log.write_text(LOGIN.replace("alice", "\u202eevil\\"))
    assert cli.main(["scan", str(log)]) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"{log}:1: ")
    assert said.out.endswith("login   imap  192.0.2.10      \\u202eevil\\\\\n")
    assert said.err.startswith("1 lines: 1 logins, 0 logouts, 0 failures; 0 lines without a header")


@pytest.mark.parametrize("stamp", ["Nov 31 07:14:00", "Feb 30 07:14:00", "2026-13-22T07:14:00Z", "Nov 22 25:14:00"])
def test_a_login_whose_stamp_is_no_time_is_not_listed(
    stamp: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It authorizes nobody whatever the rules are; --explain says why."""
    log = tmp_path / "mail.log"
    log.write_text(LOGIN.replace("2026-11-22T07:14:00+00:00", stamp))
    assert scan(str(log), capsys=capsys)[1] == []
    cli.main(["scan", "--explain", str(log)])
    assert "its stamp is no time: refused" in capsys.readouterr().out
