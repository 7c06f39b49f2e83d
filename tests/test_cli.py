"""What holds for every command, whatever it does."""

import os
import subprocess
import sys

import pytest

COMMAND = [sys.executable, "-m", "popbeforesmtp"]


def run(shell: str) -> tuple[int, str]:
    """Run a command with its output somewhere; return its status, and what it complained about."""
    words = " ".join(COMMAND)
    done = subprocess.run(["sh", "-c", f"{words} {shell}"], stderr=subprocess.PIPE, check=False)
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize("streams", [">&-", ">&- 2>&-", "<&- >/dev/null", "<&- >&- 2>&-", ">/dev/null"])
def test_a_stream_that_was_closed_is_no_fault(streams: str) -> None:
    """As cron and some supervisors run programs: the status is the same."""
    assert run(f"--version {streams}") == (0, "")
    assert run(f"formats show dovecot {streams}") == (0, "")
    assert run(f"scan - {streams} </dev/null")[0] == 1


def test_an_output_that_is_full_is_said_in_a_sentence() -> None:
    """Once, and with a status of its own."""
    for command in ("--version", "formats", "formats show dovecot"):
        complaint = "pop-before-smtp: standard output is full; write it elsewhere\n"
        assert run(f"{command} >/dev/full") == (os.EX_IOERR, complaint)


def test_who_reads_no_more_is_no_fault() -> None:
    """`| head -1` ends well."""
    assert run("formats show dovecot | head -1 >/dev/null") == (0, "")
