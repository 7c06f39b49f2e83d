#!/usr/bin/env python3
"""How fast is the journal read, beside journalctl alone? Run through tests/end_to_end/enter, as root.

A real systemd-journald in a namespace, filled through its own socket with the messages of a generated log, as by
Dovecot's own log process in its unit. From a process that starts with nothing to one that knows every client. Every
sample is kept in benchmarks/results/journal.json.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._bench import NEVER, TRUSTED, Row, finish, head, keep, log_of, need
from popbeforesmtp import wiring
from popbeforesmtp.sight import SYSLOGDS
from popbeforesmtp.sources.journal import FIELDS
from tests.end_to_end.journal import DOVECOT, SOCKETS, Journald

DRIVER = str(Path(__file__).with_name("_driver.py"))
DOVECOT_LOG = Path("/usr/lib/dovecot/log")
CHUNK = 2000  # lines of one program in a row


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="where logs are kept; made there if they are not")
    parser.add_argument("--quick", action="store_true", help="few entries and runs: does it work?")
    parser.add_argument("--entries", type=int, default=200_000, help="of Dovecot; half as many of Postfix lie between")
    parser.add_argument("--pairs", type=int, default=7)
    arguments = parser.parse_args()
    need("journalctl", "logger")
    if "POPBEFORESMTP_LAB" not in os.environ:
        sys.exit("run it through tests/end_to_end/enter: it covers a program of Dovecot with another")
    entries, pairs = (10_000, 2) if arguments.quick else (arguments.entries, arguments.pairs)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        data = arguments.data or Path(folder)
        data.mkdir(exist_ok=True)
        log = log_of(100_000 if arguments.quick else 1_000_000, data)
        DOVECOT_LOG.parent.mkdir(parents=True, exist_ok=True)
        DOVECOT_LOG.touch()
        logger = shutil.which("logger")
        subprocess.run(["mount", "--bind", str(logger), str(DOVECOT_LOG)], check=True)  # in a namespace of our own
        journald = Journald(Path(folder))
        try:
            fill(journald, log, entries)
            head()
            rows = measure(entries, pairs)
        finally:
            journald.stop()
    keep("quick" if arguments.quick else "journal", rows, load)


def fill(journald: Journald, log: Path, entries: int) -> None:
    """Write so many messages of Dovecot into the journal, as it would, and half as many of others."""
    messages: dict[bool, list[bytes]] = {True: [], False: []}
    wanted = {True: entries, False: entries // 2}
    with log.open("rb") as file:
        for line in file:
            tag, text = line.split(b" ", 3)[2:]
            if len(messages[tag == b"dovecot:"]) < wanted[tag == b"dovecot:"]:
                messages[tag == b"dovecot:"].append(text)
    assert len(messages[True]) == entries, "the log is too short"
    logger = Path(shutil.which("logger") or "")
    for at in range(0, entries, CHUNK):
        send(journald, messages[True][at : at + CHUNK], DOVECOT_LOG, "dovecot", DOVECOT)
        others = messages[False][at // 2 : (at + CHUNK) // 2]
        send(journald, others, logger, "postfix/smtpd", "system.slice/postfix.service")
    subprocess.run(["journalctl", "--sync"], check=True)


def send(journald: Journald, messages: list[bytes], program: Path, tag: str, group: str) -> None:
    """Write messages, each in a datagram, by util-linux's logger under a program's name."""
    command = [str(program), "--socket", str(SOCKETS / "dev-log"), "--tag", tag, "--priority", "mail.info"]
    journald.run(command, group=group, text=b"".join(messages))


def measure(entries: int, pairs: int) -> list[Row]:
    """Read all, beside journalctl with the same matches, with the same fields too, and with neither."""
    programs = (*(program.decode() for program in wiring.engine().programs), *(name.decode() for name in SYSLOGDS))
    plain = ["journalctl", "--no-pager", "--output=json"]
    matches = [f"SYSLOG_IDENTIFIER={program}" for program in programs]
    fields = f"--output-fields={','.join(FIELDS)}"
    found = finish(*plain, *matches).output.count("\n")
    assert found >= entries, f"{found} entries in the journal"
    command = [sys.executable, DRIVER, "catch-up", "--lines", str(found), "--trusted", *TRUSTED, "--never", *NEVER]
    results = []

    def once() -> float:
        finished = finish(*command)
        results.append(json.loads(finished.output))
        return finished.seconds

    def beside(*peer: str) -> float:
        began = time.perf_counter()
        subprocess.run(peer, stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - began

    peers = {
        "journalctl -o json, same matches": [*plain, *matches],
        "… and same fields": [*plain, fields, *matches],
        "journalctl -o json, all entries": plain,
    }
    rows = [Row(f"journal entries, {found}", name, "s", "", "") for name in peers]
    rows[0].floor, rows[0].aim = "2 x", "1.3 x"
    for number in range(pairs):
        taken = [] if number % 2 else [once()]
        others = [beside(*peer) for peer in peers.values()]
        taken += [once()] if number % 2 else []
        for row, other in zip(rows, others, strict=True):
            row.ours += taken
            row.theirs.append(other)
    for row in rows:
        row.show()
    assert len({result["live"] for result in results}) == 1
    assert results[0]["live"] > 0
    rows[0].note = f"{results[0]['counts']['login']} logins, {results[0]['live']} live"
    rows.append(memory := Row("memory, journal", "-", "MiB", "60", "40"))
    memory.ours += [result["peak"] / 1024 for result in results]
    memory.show()
    print(rows[0].note)
    return rows


if __name__ == "__main__":
    main()
