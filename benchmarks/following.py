#!/usr/bin/env python3
"""How soon is a line known that was written just now, and what does it cost to wait for it? Needs no root.

The whole daemon (sqlite store, lmdb map, socketmap), and a process of its own that writes its log, one write(2) a line.
Beside it the same daemon without file events, which looks once a second; rounds alternate. Then what a live client
costs in memory, and what waiting costs. Every sample is kept in benchmarks/results/following.json.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._bench import Row, head, keep, log_of, percentile
from benchmarks._daemon import Daemon

RATE = 1000  # lines a second
LOGINS = 20  # one line of so many is a login
_LINE = "{} mx1 dovecot: imap-login: Login: user=<user{}>, method=PLAIN, rip={}, lip=198.51.100.1, mpid={}, TLS"
_LINE += ", session=<AbCdEf{:06}/>\n"


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="where logs are kept; made there if they are not")
    parser.add_argument("--quick", action="store_true", help="few and short: does it work?")
    parser.add_argument("--write", nargs=3, metavar=("LOG", "OTHERS", "SECONDS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        print(json.dumps(write(Path(arguments.write[0]), Path(arguments.write[1]), float(arguments.write[2]))))
        return
    load = os.getloadavg()[0]
    quick = arguments.quick
    with tempfile.TemporaryDirectory() as folder:
        data = arguments.data or Path(folder)
        data.mkdir(exist_ok=True)
        others = log_of(10_000, data)
        head()
        rows = [
            latency(Path(folder), others, 1 if quick else 5, 3 if quick else 12),
            *memory(Path(folder), 10_000 if quick else 100_000),
            idle(Path(folder), others, 5 if quick else 60, 1 if quick else 3),
        ]
    keep("quick" if quick else "following", rows, load)


def latency(folder: Path, others: Path, rounds: int, seconds: float) -> Row:
    """From just before a login's write(2) to the moment from which the daemon says yes."""
    samples: dict[bool, list[float]] = {True: [], False: []}

    def one(events: bool) -> float:
        taken = follow(folder, others, seconds, events=events)
        samples[events] += taken
        return percentile(taken, 99)

    row = Row(f"line written -> known, {RATE}/s, p99", "the same, a look every second", "ms", "3 ms", "1 ms")
    row.run(rounds, lambda: one(True), lambda: one(False))
    ways = ((name, samples[events]) for events, name in ((True, "events"), (False, "looking")))
    for name, values in ways:
        row.note += f"{name}: n={len(values)} p50 {statistics.median(values):.2f} p99 {percentile(values, 99):.2f} "
        row.note += f"max {max(values):.2f}; "
    print(row.note)
    return row


def follow(folder: Path, others: Path, seconds: float, *, events: bool) -> list[float]:
    """Return the milliseconds that each login of one run took."""
    place = fresh(folder)
    log, into = place / "mail.log", place / "known.json"
    log.write_bytes(b"")
    daemon = Daemon(place, log, str(into), *(() if events else ("--without-events",)))
    daemon.ready()
    daemon.settle(1.0)
    command = [sys.executable, __file__, "--write", str(log), str(others), str(seconds)]
    written = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    time.sleep(1.5)  # those that look once a second look once more
    daemon.stop()
    known = json.loads(into.read_text())
    assert known.keys() == written.keys(), f"{len(written)} written, {len(known)} known"
    return [(known[client] - moment) * 1000 for client, moment in written.items()]


def write(log: Path, others: Path, seconds: float) -> dict[str, float]:
    """Write lines at a steady rate; return when each client's login was about to be written (CLOCK_MONOTONIC)."""
    lines = others.read_bytes().splitlines(keepends=True)
    fillers = [line.split(b" ", 1)[1] for line in lines if b" Login: " not in line]
    written: dict[str, float] = {}
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    began = time.monotonic()
    for number in range(int(seconds * RATE)):
        wait = began + number / RATE - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        stamp = datetime.now(UTC).isoformat()
        if number % LOGINS:
            os.write(descriptor, stamp.encode() + b" " + fillers[number % len(fillers)])
            continue
        client = address(number // LOGINS)
        line = _LINE.format(stamp, number, client, number, number).encode()
        written[client] = time.monotonic()
        os.write(descriptor, line)
    return written


def memory(folder: Path, clients: int) -> list[Row]:
    """What one more client that may relay costs, with all that the daemon keeps of it."""
    place = fresh(folder)
    log = place / "mail.log"
    log.write_bytes(b"")
    daemon = Daemon(place, log)
    daemon.ready()
    daemon.settle()
    before = {name: daemon.memory(name) for name in ("VmRSS", "RssAnon")}
    stamp = datetime.now(UTC).isoformat()
    for first in range(0, clients, 1000):  # not all at once, as it would be after a start
        with log.open("a") as file:
            numbers = range(first, first + 1000)
            file.writelines(_LINE.format(stamp, number, address(number), number, number) for number in numbers)
        time.sleep(0.4)  # a burst would leave the room that what waits for the disk had taken
    daemon.settle(5.0)
    rows = []
    for name, kind in (("VmRSS", "resident"), ("RssAnon", "not of files")):
        note = f"{clients} clients, 2500 a second"
        row = Row(f"a live client, all in, {kind}", "-", "bytes", "300", "200", note=note)
        row.ours.append((daemon.memory(name) - before[name]) / clients)
        rows.append(row.show())
    daemon.stop()
    return rows


def idle(folder: Path, others: Path, seconds: float, runs: int) -> Row:
    """What waiting costs: file events, an lmdb map, a socketmap, and nobody writes."""
    row = Row("idle", "-", "% CPU", "0.1 %", "0.03 %", note=f"{seconds:.0f} s each")
    for _ in range(runs):
        place = fresh(folder)
        log = place / "mail.log"
        log.write_bytes(others.read_bytes())
        stamp = datetime.now(UTC).isoformat()
        with log.open("a") as file:
            file.writelines(_LINE.format(stamp, number, address(number), number, number) for number in range(100))
        daemon = Daemon(place, log)
        daemon.ready()
        daemon.settle(3.0)
        before = daemon.cpu()
        time.sleep(seconds)
        row.ours.append((daemon.cpu() - before) / seconds * 100)
        daemon.stop()
    return row.show()


def address(number: int) -> str:
    """Return a client's address: one in five is IPv6; none is in the rules' networks."""
    if number % 5 == 0:
        return f"2001:db8:{(number >> 16) + 1:x}:{number & 0xFFFF:x}:1:2:3:4"
    return f"10.{number >> 16 & 63}.{number >> 8 & 255}.{number & 255}"


def fresh(folder: Path) -> Path:
    """Make one more folder."""
    return Path(tempfile.mkdtemp(dir=folder))


if __name__ == "__main__":
    main()
