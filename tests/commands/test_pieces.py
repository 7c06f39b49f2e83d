"""`scan --summary` counts a long log in several processes as it does in one."""

import os
import random
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from popbeforesmtp import reading
from popbeforesmtp.commands import _pieces
from popbeforesmtp.commands._pieces import count
from popbeforesmtp.commands._summary import Summary
from popbeforesmtp.errors import DataError, UnavailableError
from tests.site import ROOT

LOGS = sorted((ROOT / "sample_logs").glob("*.log"))
DOVECOT = ROOT / "sample_logs" / "dovecot-2.3.19.1-traditional.log"


def table(log: Path, processors: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """Count a log where there are so many processors, and a few lines are worth a process.

    How many lines look like logins and mean nothing is no part of it: a program's are no more looked at where it has
    written many, and each process finds that out by itself.
    """
    monkeypatch.setattr(_pieces, "_WORTHWHILE", 2000)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(processors)))
    summary = Summary()
    count(str(log), summary, reading.engine())
    return re.sub(r"\n[0-9]+ lines or more look like logins", "", summary.table())


@pytest.fixture(params=[path.stem for path in LOGS])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Write each server's samples so often that there is something to divide, sessions across all places."""
    path = tmp_path / "mail.log"
    path.write_bytes((ROOT / "sample_logs" / f"{request.param}.log").read_bytes() * 12)
    return path


def test_several_processes_count_what_one_counts(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a line means something only by those before it, which another process has met."""
    assert table(log, 5, monkeypatch) == table(log, 1, monkeypatch)


def test_a_log_of_all_servers_is_counted_as_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of all servers and headers in any order, and no LF at the end."""
    dice = random.Random(17)
    lines = [line for log in LOGS for line in log.read_bytes().splitlines(keepends=True)]
    log = tmp_path / "mail.log"
    log.write_bytes(b"".join(dice.choice(lines) for _ in range(20_000)) + b"the beginning of a line")
    assert table(log, 3, monkeypatch) == table(log, 1, monkeypatch)


def test_a_line_that_is_too_long_is_passed_by_wherever_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No piece begins inside it."""
    lines = DOVECOT.read_bytes()
    log = tmp_path / "mail.log"
    log.write_bytes(lines + b"x" * 300_000 + b"\n" + lines)
    assert table(log, 4, monkeypatch) == table(log, 1, monkeypatch)


def test_each_process_has_a_piece_that_is_worth_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of the log, each byte once, cut behind an LF."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    log = tmp_path / "mail.log"
    log.write_bytes(b"a line\n" * 100)
    assert _pieces._pieces(str(log)) == [(0, None)]
    monkeypatch.setattr(_pieces, "_WORTHWHILE", 100)
    assert _pieces._pieces(str(log)) == [(0, 238), (238, 469), (469, None)]
    packed = log.rename(log.with_name("mail.log.gz"))
    assert _pieces._pieces(str(packed)) == [(0, None)]
    assert _pieces._pieces("-") == [(0, None)]


def test_a_fifo_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who writes into it would be told at the second time that nobody reads."""
    fifo, data = tmp_path / "fifo", DOVECOT.read_bytes()
    (tmp_path / "mail.log").write_bytes(data)
    os.mkfifo(fifo)
    writer = threading.Thread(target=fifo.write_bytes, args=(data,))
    writer.start()
    assert table(fifo, 3, monkeypatch) == table(tmp_path / "mail.log", 1, monkeypatch)
    writer.join()


def test_where_no_process_can_be_made_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many processes may be forbidden (RLIMIT_NPROC)."""

    def fork() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fork)
    with pytest.raises(UnavailableError, match="taskset"):
        table(DOVECOT, 2, monkeypatch)


@pytest.fixture
def fate(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let something befall all processes but the first."""
    first, fate = os.getpid(), [""]
    usual = _pieces.whole_lines

    def whole_lines(name: str, begin: int, end: int | None) -> Iterator[tuple[bytes, int]]:
        if os.getpid() == first:
            yield from usual(name, begin, end)
        elif fate[0] == "killed":
            os.kill(os.getpid(), 9)
        else:
            raise DataError(f"{name}: {fate[0]}") if fate[0] == "cannot be read" else ValueError("a fault")

    monkeypatch.setattr(_pieces, "whole_lines", whole_lines)
    return fate


@pytest.mark.parametrize(
    ("what", "said"), [("killed", "has died"), ("cannot be read", "cannot be read"), ("a fault", "internal error")]
)
def test_what_befalls_another_process_is_said(
    what: str, said: str, fate: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part is never taken for the whole."""
    log = tmp_path / "mail.log"
    log.write_bytes(DOVECOT.read_bytes())
    fate[0] = what
    with pytest.raises(DataError, match=said):
        table(log, 2, monkeypatch)
