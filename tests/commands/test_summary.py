"""``scan --summary`` counts what ``scan --json`` lists, and ``--from journal`` believes none but the server."""

import io
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popbeforesmtp import cli
from popbeforesmtp.formats import NO_MAILBOX
from tests.entries import FAILURE, FORGERIES, LOGIN, LOGOUT, entry
from tests.headers import NAMES, STRUCTURED, ZONED, ZONELESS, at, docker, unhurried
from tests.site import ROOT

Counts = Counter[tuple[str, str, str]]

LOGS = [*(ROOT / "sample_logs").glob("*.log"), *(ROOT.parent / "shared" / "real-logs").glob("*.log")]
TIME = at("2026-11-22T07:14:00+00:00")


def run(*arguments: str) -> tuple[int, str, str]:
    """Run ``scan``; return its status and what it wrote."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = cli.main(["scan", *arguments])
    return status, out.getvalue(), err.getvalue()


def listed(*arguments: str) -> tuple[int, Counts]:
    """Count what ``--json`` lists."""
    status, out, _ = run("--json", *arguments)
    events = [json.loads(line) for line in out.splitlines()]
    return status, Counter((event["format"], event["service"] or "-", event["event"]) for event in events)


def summed(*arguments: str) -> tuple[int, Counts]:
    """Read what ``--summary`` counts."""
    status, out, _ = run("--summary", *arguments)
    counts = Counts()
    for row in out.splitlines():
        name, service, *numbers = row.split()
        if len(numbers) == 3 and all(number.isdigit() for number in numbers):
            for kind, number in zip(("login", "logout", "failure"), map(int, numbers), strict=True):
                counts[name, service, kind] += number
    return status, +counts


def sentence(*arguments: str) -> str:
    """Return the line in which all is said."""
    return run("--summary", *arguments)[1].splitlines()[0]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log that the test writes."""
    return tmp_path / "some.log"


def written(log: Path, *pieces: bytes | str) -> str:
    """Write a log, and return its name."""
    log.write_bytes(b"".join(piece if isinstance(piece, bytes) else piece.encode() for piece in pieces))
    return str(log)


# Logs


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.name)
def test_the_counts_are_those_of_the_events_that_are_listed(log: Path) -> None:
    """For each log of a real server, with the same exit status; logins that open no mailbox are counted only."""
    status, counts = summed(str(log))
    assert (status, {key: count for key, count in counts.items() if key[1] not in NO_MAILBOX}) == listed(str(log))
    _, _, said = run(str(log))
    assert sentence(str(log)) == said.strip()


TEXTS = st.sampled_from([LOGIN, LOGIN.replace("Login: ", "Info: Login: "), LOGOUT, FAILURE, "x", ""])
PROGRAMS = st.sampled_from(["dovecot", "postfix/smtpd", "cron", "imap-login", "rsyslogd", "2001", "Dovecot"])
HEADS = st.sampled_from(
    [write(TIME) + names for write in {**ZONELESS, **ZONED}.values() for names in (*NAMES.values(), "", "{}: ")]
)
HEADS5424 = st.sampled_from([head.replace("{stamp}", "2026-11-22T07:14:00Z ") for head in STRUCTURED.values()])
PLAIN = st.tuples(HEADS | HEADS5424, PROGRAMS, TEXTS).map(
    lambda parts: (parts[0].replace("{}", "{program}").format(program=parts[1]) + parts[2]).encode()
)
WRAPPED = st.tuples(PLAIN, st.sampled_from(["", "\n"])).map(lambda parts: docker(parts[0] + parts[1].encode(), TIME))
CRI = st.tuples(PLAIN, st.sampled_from("FP")).map(
    lambda parts: f"2026-11-22T07:14:00Z stdout {parts[1]} ".encode() + parts[0]
)
JUNK = st.binary(max_size=30).map(lambda junk: junk.replace(b"\n", b"") or b"x")
REPEATED = PLAIN.map(lambda line: line.replace(b"dovecot: ", b"dovecot: message repeated 2 times: [ ", 1) + b"]")


@unhurried
@given(st.lists(st.one_of(PLAIN, PLAIN, WRAPPED, CRI, JUNK, REPEATED), min_size=1, max_size=12), st.integers(1, 20))
def test_the_counts_are_those_of_the_events_whatever_stands_in_a_log(lines: list[bytes], times: int) -> None:
    """All headers mixed, and often enough that the programs that nobody reads are passed by."""
    with tempfile.NamedTemporaryFile(suffix=".log") as file:
        file.write((b"\n".join(lines) + b"\n") * times)
        file.flush()
        assert summed(file.name) == listed(file.name)
        assert sentence(file.name) == run(file.name)[2].strip()


def test_an_empty_line_is_not_one_without_a_header(log: Path) -> None:
    """However it is counted."""
    name = written(log, f"\n\nNov 22 07:14:00 mx1 dovecot: {LOGIN}\nno header\n")
    assert sentence(name) == "4 lines: 1 logins, 0 logouts, 0 failures; 1 lines without a header that we know"
    assert run(name)[2].strip() == sentence(name)


def test_several_logs_are_summed(tmp_path: Path) -> None:
    """Lines, kinds, and from when to when."""
    first = written(tmp_path / "1", f"2026-11-22T07:00:00Z mx1 dovecot: {LOGIN}\n")
    second = written(
        tmp_path / "2", f"2026-11-22T07:30:00Z mx1 dovecot: {LOGIN}\n2026-11-22T08:00:00Z mx1 x: {LOGIN}\n"
    )
    status, out, err = run("--summary", first, second)
    assert (status, err) == (0, "")
    said, span, _, row = out.splitlines()
    assert said == "3 lines: 2 logins, 0 logouts, 0 failures; 0 lines without a header that we know"
    assert span.startswith("from ")
    assert row.split() == ["dovecot", "imap", "2", "0", "0"]


def test_an_empty_log_has_no_counts_and_status_1(log: Path) -> None:
    """As have lines that mean nothing."""
    assert run("--summary", written(log, b""))[:2] == (
        1,
        "0 lines: 0 logins, 0 logouts, 0 failures; 0 lines without a header that we know\n",
    )
    assert summed(written(log, b"Nov 22 07:14:00 mx1 cron: x\n")) == (1, Counts())


def test_nothing_hostile_reaches_the_terminal(log: Path) -> None:
    """A summary shows no text of the log; of a row the name is escaped."""
    evil = LOGIN.replace("alice", "\u202e\x9b31mevil")
    name = written(log, f"Nov 22 07:14:00 mx1 dovecot: {evil}\nNov 22 07:14:00 \x1b[31m: x\n")
    _, summary, _ = run("--summary", name)
    status, rows, _ = run(name)
    assert status == 0
    assert (summary + rows).isascii()
    assert (summary + rows).replace("\n", "").isprintable()


@pytest.mark.parametrize("arguments", [["--json", "--summary"], ["--summary", "--json"], ["--from", "x"], ["--from"]])
def test_what_cannot_be_both_is_a_mistake_in_the_command(arguments: list[str], log: Path) -> None:
    """Said by the parser, before anything is read."""
    status, out, err = run(*arguments, str(log))
    assert (status, out) == (64, "")
    assert "--json" in err or "--from" in err


# The journal


def test_the_journals_entries_are_read_from_files_and_standard_input(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the numbers of their lines, and a logout's address."""
    data = entry() + entry(LOGOUT) + entry(FAILURE)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    for name in (written(log, data), "-"):
        status, out, _ = run("--from", "journal", "--json", name)
        events = [json.loads(line) for line in out.splitlines()]
        assert status == 0
        assert [(e["line"], e["event"], e["address"], e["user"]) for e in events] == [
            (1, "login", "192.0.2.10", "alice"),
            (2, "logout", "192.0.2.10", "alice"),
            (3, "failure", "192.0.2.11", "bob"),
        ]
        assert events[0]["time"] == "2026-11-22T07:14:00+00:00"


@pytest.mark.parametrize("forgery", FORGERIES)
def test_what_somebody_else_wrote_is_counted_apart(log: Path, forgery: str) -> None:
    """It is no event, and a journal with nothing else has status 1."""
    name = written(log, entry(changes=FORGERIES[forgery]))
    for kind in (["--json"], ["--summary"], []):
        status, out, err = run("--from", "journal", *kind, name)
        assert status == 1
        assert "192.0.2.10" not in out
        if kind != ["--json"]:
            assert "1 lines: 0 logins, 0 logouts, 0 failures; 0 lines without a header" in out + err
            assert "; 1 written by others than the server" in out + err


def test_a_forged_logout_takes_no_sessions_address_away(log: Path) -> None:
    """Nor does a forged login give one to a real logout."""
    forged = FORGERIES["another user"]
    elsewhere = LOGIN.replace("192.0.2.10", "9.9.9.9")
    name = written(log, entry(), entry(elsewhere, forged), entry(LOGOUT, forged), entry(LOGOUT))
    _, out, _ = run("--from", "journal", "--json", name)
    events = [json.loads(line) for line in out.splitlines()]
    assert [(e["line"], e["event"], e["address"]) for e in events] == [
        (1, "login", "192.0.2.10"),
        (4, "logout", "192.0.2.10"),
    ]


BROKEN = [
    *(
        b"",
        b"{}",
        b"[]",
        b"null",
        b"{",
        b'{"MESSAGE"',
        b"\xff\xfe",
        b'{"MESSAGE":null}',
        b'{"MESSAGE":[256]}',
        b"[" * 9999,
    ),
    *(b'{"MESSAGE":"x","MESSAGE":"y"}', b'{"a":1}trailing', entry()[:-2], b"x" * 70_000, b'{"MESSAGE":"\\ud800"}'),
    b'{"__REALTIME_TIMESTAMP":"' + b"9" * 30 + b'","MESSAGE":"x"}',
]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda line: repr(line[:20]))
def test_a_line_that_is_no_entry_stops_nothing(log: Path, broken: bytes) -> None:
    """In front of, between and behind entries that are read."""
    name = written(log, *(broken + b"\n" + entry() for _ in range(3)), broken, b"\n")
    counts = Counts({("dovecot", "imap", "login"): 3})
    assert listed("--from", "journal", name) == summed("--from", "journal", name) == (0, counts)


FIELDS = st.fixed_dictionaries({}, optional={
    name: st.sampled_from([value for forged in FORGERIES.values() for key, value in forged.items() if key == name])
    for name in sorted({key for forged in FORGERIES.values() for key in forged})
})  # fmt: skip
ENTRIES = st.one_of(
    st.tuples(st.sampled_from([LOGIN, LOGOUT, FAILURE, "x", f"x\n{LOGIN}"]), FIELDS).map(lambda parts: entry(*parts)),
    st.just(entry()),
    st.sampled_from([line for line in BROKEN if len(line) < 1000]).map(lambda line: line + b"\n"),
    st.binary(max_size=30).map(lambda junk: junk.replace(b"\n", b"") + b"\n"),
)


@unhurried
@given(st.lists(ENTRIES, max_size=5))
def test_the_counts_are_those_of_the_events_whatever_stands_in_a_journal(entries: list[bytes]) -> None:
    """Genuine, forged, broken."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        file.write(b"".join(entries))
        file.flush()
        assert summed("--from", "journal", file.name) == listed("--from", "journal", file.name)
        assert sentence("--from", "journal", file.name) == run("--from", "journal", file.name)[2].strip()


def test_entries_are_no_log_and_a_log_has_no_entries(log: Path) -> None:
    """What is read is said, never guessed: a line of a log could be an entry that a stranger wrote."""
    assert listed(written(log, entry())) == (1, Counts())
    assert listed("--from", "journal", written(log, f"Nov 22 07:14:00 mx1 dovecot: {LOGIN}\n")) == (1, Counts())


# This machine's journal


@pytest.fixture
def journalctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A journalctl that the test writes."""
    program = tmp_path / "bin" / "journalctl"
    program.parent.mkdir()
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return program


def install(program: Path, script: str) -> None:
    """Write a program."""
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_without_a_file_the_journal_of_this_machine_is_read(journalctl: Path, log: Path) -> None:
    """Through journalctl."""
    install(journalctl, f"cat {written(log, entry(), entry(changes=FORGERIES['no unit']))}")
    assert summed("--from", "journal") == listed("--from", "journal") == (0, Counts({("dovecot", "imap", "login"): 1}))


def test_a_journal_that_cannot_be_read_is_an_error_in_a_sentence(journalctl: Path) -> None:
    """In journalctl's own words, with the status of what is not there."""
    install(journalctl, "echo 'No journal files were opened due to insufficient permissions.' >&2; exit 1")
    status, _, err = run("--from", "journal")
    assert status == 69
    assert "insufficient permissions" in err


def test_a_machine_without_journalctl_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And names the way out."""
    monkeypatch.setenv("PATH", str(tmp_path))
    status, _, err = run("--from", "journal", "--summary")
    assert (status, "name a log file" in err) == (69, True)


def test_a_file_that_is_called_journal_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever names a file means it."""
    monkeypatch.chdir(tmp_path)
    name = written(tmp_path / "journal", f"Nov 22 07:14:00 mx1 dovecot: {LOGIN}\n")
    assert listed("journal") == listed(name) == (0, Counts({("dovecot", "imap", "login"): 1}))
