#!/usr/bin/env python3
"""How fast are logs read, beside what else reads them? Needs ripgrep and fail2ban, but no root.

Whole processes, logs in the page cache, runs of both in pairs. Every sample is kept in benchmarks/results/reading.json.
"""

import argparse
import json
import os
import re
import sys
import tempfile
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._bench import LOGIN, NEVER, TRUSTED, Row, finish, head, keep, log_of, need, ours
from benchmarks._daemon import Daemon

DRIVER = str(Path(__file__).with_name("_driver.py"))
GRACE = timedelta(minutes=30)
FAIL2BAN = r"^\s*\S+ dovecot: (?:imap|pop3)-login: Login: user=<[^>]+>, method=[A-Z0-9-]+, rip=<ADDR>, lip="
"""The same pattern for fail2ban, which has taken the stamp off."""


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="where the logs are kept; made there if they are not")
    parser.add_argument("--quick", action="store_true", help="small logs and few runs: does it work?")
    parser.add_argument("--pairs", type=int, default=7)
    arguments = parser.parse_args()
    need("rg", "fail2ban-regex")
    large, small, pairs = (1_000_000, 100_000, 2) if arguments.quick else (10_000_000, 1_000_000, arguments.pairs)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        data = arguments.data or Path(folder)
        data.mkdir(exist_ok=True)
        large_log, small_log = log_of(large, data), log_of(small, data)
        head()
        rows = [
            *catch_up(large_log, pairs),
            *count(large_log, large, pairs),
            beside_fail2ban(small_log, small, 1 if arguments.quick else max(3, pairs // 2)),
            start(large_log, Path(folder), 2 if arguments.quick else 15),
        ]
    keep("quick" if arguments.quick else "reading", rows, load)


def catch_up(log: Path, pairs: int) -> list[Row]:
    """From nothing to the live set, as a daemon that was never here before; with its memory."""
    at = last_stamp(log)
    command = [sys.executable, DRIVER, "catch-up", "--log", str(log), "--at", at]
    command += ["--trusted", *TRUSTED, "--never", *NEVER]
    listed = set(finish(*command, "--list").output.splitlines()[1:])
    expected = live_set(log, datetime.fromisoformat(at))
    assert listed == expected, f"{len(listed)} listed, {len(expected)} expected, {len(listed ^ expected)} differ"
    peak = Row("memory, catch-up", "-", "MiB", "60", "40")

    def once() -> float:
        finished = finish(*command)
        result = json.loads(finished.output)
        assert result["live"] == len(expected)
        peak.ours.append(result["peak"] / 1024)
        return finished.seconds

    row = Row("catch-up to the live set", "rg -c, full pattern", "s", "1 x", "0.5 x", note=f"{len(expected)} live")
    row.run(pairs, once, lambda: finish("rg", "-c", LOGIN, str(log)).seconds)
    return [row, peak.show()]


def count(log: Path, lines: int, pairs: int) -> list[Row]:
    """All events of a log, by kind and service, in one process; with its memory."""
    peak = Row("memory, scan --summary", "-", "MiB", "60", "40")

    def once() -> float:
        finished = finish(*ours("scan", "--summary", str(log)), one=True)
        found = re.match(rf"{lines} lines: ([0-9]+) logins", finished.output)
        assert found is not None, finished.output
        assert found[1] == hits
        peak.ours.append(finished.peak)
        return finished.seconds

    hits = finish("rg", "-c", LOGIN, str(log)).output.strip()
    note = f"{hits} logins in {lines} lines"
    row = Row("scan --summary, one process", "rg -c, full pattern", "s", "10 x", "7 x", note=note)
    row.run(pairs, once, lambda: finish("rg", "-c", LOGIN, str(log)).seconds)
    return [row, peak.show()]


def beside_fail2ban(log: Path, lines: int, pairs: int) -> Row:
    """The same, on as many processors as there are, beside what most would take for it."""
    hits = finish("rg", "-c", LOGIN, str(log)).output.strip()

    def theirs() -> float:
        finished = finish("fail2ban-regex", "--usedns", "no", str(log), FAIL2BAN, allowed=(0, 1))
        assert f"Lines: {lines} lines, 0 ignored, {hits} matched" in finished.output, finished.output[-2000:]
        return finished.seconds

    def once() -> float:
        finished = finish(*ours("scan", "--summary", str(log)))
        assert f"{lines} lines: {hits} logins" in finished.output
        return finished.seconds

    row = Row("scan --summary", "fail2ban-regex, same pattern", "s", "1/30", "1/50", note=f"{hits} matches in {lines}")
    return row.run(pairs, once, theirs)


def start(log: Path, folder: Path, runs: int) -> Row:
    """From the process to true maps and answering sockets, at a place in a long log."""
    first = Daemon(folder, log)
    first.ready()
    first.settle()
    first.stop()
    row = Row("start with a checkpoint", "-", "s", "0.5", "0.3")
    for _ in range(runs):
        daemon = Daemon(folder, log)
        row.ours.append(daemon.ready())
        daemon.stop()
    return row.show()


def last_stamp(log: Path) -> str:
    """Return the stamp of a log's last line."""
    with log.open("rb") as file:
        file.seek(-4096, os.SEEK_END)
        return file.read().splitlines()[-1].split()[0].decode()


def live_set(log: Path, at: datetime) -> set[str]:
    """Find out who may relay in the simplest way: by a look at every line, with nothing of the daemon's own."""
    login = re.compile(LOGIN.replace("rip=[0-9a-f.:]+", "rip=([0-9a-f.:]+)").replace(r"^\S+", r"^(\S+)").encode())
    networks = [ip_network(network) for network in (*TRUSTED, *NEVER)]
    ends: dict[str, datetime] = {}
    with log.open("rb") as file:
        for line in file:
            match = login.match(line) if b"-login: Login: " in line else None
            if match is None:
                continue
            end = datetime.fromisoformat(match[1].decode()) + GRACE
            if end <= at:
                continue
            address = ip_address(match[3].decode())
            if not any(address.version == network.version and address in network for network in networks):
                ends[str(address)] = max(end, ends.get(str(address), end))
    return {f"{client} {end}" for client, end in ends.items()}


if __name__ == "__main__":
    main()
