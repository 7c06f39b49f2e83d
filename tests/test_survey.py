"""The end of a log, looked at: what is in it, and the sentence that says so."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from popbeforesmtp import survey, wiring
from popbeforesmtp.survey import Survey
from tests.entries import FAILURE, FORGERIES, LOGIN, LOGOUT, WRITTEN, entry

NOW = datetime(2026, 11, 22, 7, 20, tzinfo=UTC)


def look(lines: list[bytes], *, journal: bool = False) -> Survey:
    """Look at lines."""
    return survey.look(lines, wiring.line_reader(journal=journal), wiring.engine(), NOW)


def line(text: str, tag: str = "dovecot", stamp: str = "2026-11-22T07:14:00+00:00") -> bytes:
    """Write a line of a log, without its LF."""
    return f"{stamp} mx1 {tag}: {text}".encode()


def test_events_are_counted_by_format_and_the_logins_among_them() -> None:
    """And how old the last line is."""
    seen = look([line(LOGIN), line(LOGOUT), line(FAILURE), line(LOGIN, tag="cron"), b"", b"what?"])
    assert (seen.lines, seen.logins, seen.events["dovecot"], seen.unknown_headers, seen.forged) == (6, 1, 3, 1, 0)
    assert seen.sentence(NOW) == (
        "the last 6 lines (6m old) hold 1 logins; events: 3 of dovecot; 1 lines have no header that we know"
    )


def test_a_log_of_which_nothing_is_understood_says_so() -> None:
    """Or one without lines, or of the future."""
    assert look([]).sentence(NOW) == "holds no lines yet"
    assert "events: none that we know; 2 lines have no header that we know" in look([b"a", b"b"]).sentence(NOW)
    assert "(1h ahead of our clock)" in look([line("x", stamp="2026-11-22T08:20:00Z")]).sentence(NOW)


@pytest.mark.parametrize("forgery", FORGERIES)
def test_what_only_pretends_to_be_a_server_is_no_event(forgery: str) -> None:
    """Whatever in it does not fit."""
    seen = look([entry(changes=FORGERIES[forgery]).rstrip(b"\n")], journal=True)
    assert (seen.events.total(), seen.logins, seen.forged) == (0, 0, 1)
    assert "events: none that we know; 1 only pretend to be a server's" in seen.sentence(NOW)


def test_genuine_entries_are_events() -> None:
    """Beside forged and broken ones."""
    lines = [entry(), entry(LOGOUT), entry(changes=FORGERIES["no user"]), b"{}", b"\xff", entry("x")]
    seen = look([each.rstrip(b"\n") for each in lines], journal=True)
    assert (seen.events.total(), seen.logins, seen.forged, seen.last_line_at) == (2, 1, 1, WRITTEN)


def test_nothing_of_a_log_reaches_the_sentence() -> None:
    """It goes to the terminal."""
    seen = look([line("\x1b[31m"), b"\x1b[32m", line(LOGIN.replace("alice", "\u202e"))])
    assert seen.sentence(NOW).isascii()
    assert seen.sentence(NOW).isprintable()


def test_the_end_of_a_long_log_is_looked_at_by_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the rest of a line nor one that is still being written."""
    monkeypatch.setattr(survey, "_SAMPLE", 10)
    log = tmp_path / "log"
    for data, expected in (
        (b"", []),
        (b"one", []),
        (b"one\n", [b"one"]),
        (b"one\ntwo\nth", [b"one", b"two"]),
        (b"zero1\nmore\ntwo\nth", [b"two"]),
        (b"0123456789\n", []),
        (b"01234567890123456789\n", []),
    ):
        log.write_bytes(data)
        assert survey.tail(log) == expected, data


@pytest.fixture
def journalctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A journalctl that the test writes."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path / "journalctl"


def install(program: Path, script: str) -> None:
    """Write a program."""
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_the_journal_is_asked_for_the_servers_programs_only(journalctl: Path, tmp_path: Path) -> None:
    """A bounded number of entries."""
    install(journalctl, f'echo "$@" >{tmp_path}/asked; printf "one\\ntwo\\n"')
    assert survey.entries([b"dovecot", b"imapd"]) == [b"one", b"two"]
    asked = (tmp_path / "asked").read_text().split()
    assert {"SYSLOG_IDENTIFIER=dovecot", "SYSLOG_IDENTIFIER=imapd", "--output=json", "--no-pager"} <= set(asked)
    assert [word for word in asked if word.startswith("--lines=")]


def test_a_journal_that_cannot_be_read_is_an_oserror(
    journalctl: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what journalctl says of it; one that hangs does not keep the daemon from its start."""
    install(journalctl, "echo 'No journal files were opened due to insufficient permissions.' >&2; exit 1")
    with pytest.raises(OSError, match="insufficient permissions"):
        survey.entries([b"dovecot"])
    install(journalctl, "exit 3")
    with pytest.raises(OSError, match="exit status 3"):
        survey.entries([b"dovecot"])
    monkeypatch.setattr(survey, "_PATIENCE", 0.1)
    install(journalctl, "exec sleep 5")
    with pytest.raises(OSError, match="did not answer"):
        survey.entries([b"dovecot"])
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(OSError, match="journalctl"):
        survey.entries([b"dovecot"])


def test_entries_of_long_ago_are_old() -> None:
    """The age is that of the last one."""
    seen = look([entry(ago=timedelta(days=30)).rstrip(b"\n")], journal=True)
    assert "(30d" in seen.sentence(NOW)


def test_who_logged_in_from_where_is_known_and_what_looks_like_a_login() -> None:
    """An address that many log in from is worth a look, and so are logins in a form of the administrator's own."""
    others = [line(LOGIN.replace("alice", name)) for name in ("bob", "carol")]
    seen = look([line(LOGIN), *others, line("imap-login: Login: alice at 192.0.2.10"), line("imap-login: aborted")])
    assert [len(accounts) for accounts in seen.accounts.values()] == [3]
    assert seen.unread == [b"imap-login: Login: alice at 192.0.2.10"]
    assert seen.first_line_at == seen.last_line_at
