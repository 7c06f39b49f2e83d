#!/usr/bin/env python3
"""How long from a login's log line to the first accepted recipient? Run through tests/end_to_end/enter, as root.

A separate process writes the line through real rsyslog; then one new SMTP connection after the other asks real Postfix
until it accepts. Beside it the same daemon without file events, which looks once a second. Rounds alternate. Every
sample is kept in benchmarks/results/latency.json.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.end_to_end.lab import LMDB_PORT, MAP, SOCKETMAP_PORT, Daemon, Lab

RESULTS = Path(__file__).parent / "results" / "latency.json"
CLIENTS = tuple(f"192.0.2.{last}" for last in range(21, 221))

_WRITER = """
import sys, syslog, time
syslog.openlog("dovecot", 0, syslog.LOG_MAIL)
for line in sys.stdin:
    began = time.monotonic()
    syslog.syslog(syslog.LOG_INFO, line.rstrip("\\n"))
    print(began, flush=True)
"""
_WITHOUT_EVENTS = """
import sys
from popbeforesmtp import cli
from popbeforesmtp.sources.file import FileSource
FileSource.watch = lambda self, ring: None
sys.exit(cli.main(sys.argv[1:]))
"""


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--samples", type=int, default=100, help="per round, way and port; at most 200")
    arguments = parser.parse_args()
    samples: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder))
        for client in CLIENTS:
            command = ["ip", "netns", "exec", "clients", "ip", "address", "add", f"{client}/32", "dev", "client"]
            subprocess.run(command, check=True)
        lab.start()
        try:
            for _ in range(arguments.rounds):
                for port, name in ((SOCKETMAP_PORT, "socketmap"), (LMDB_PORT, "lmdb")):
                    for events in (True, False):
                        way = f"{name}, {'file events' if events else 'a look every second'}"
                        measured = measure(lab, port, CLIENTS[: arguments.samples], events=events)
                        samples.setdefault(way, []).extend(measured)
        finally:
            lab.stop()
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"unit": "milliseconds", "samples": samples}, indent=1) + "\n")
    print("log line written -> first accepted RCPT on a new connection, milliseconds")
    for way, values in samples.items():
        print(f"{way:35} n={len(values):4} median {statistics.median(values):8.1f}  p99 {percentile(values, 99):8.1f}")


def measure(lab: Lab, port: int, clients: Sequence[str], *, events: bool) -> list[float]:
    """Return, for each client, the milliseconds from its line to its first accepted recipient."""
    for state in MAP.parent.glob("state.sqlite*"):
        state.unlink()
    Path("/var/log/mail.log").write_bytes(b"")
    daemon = Daemon(lab.config(), lab.folder / "daemon.log", *(() if events else ("-c", _WITHOUT_EVENTS))).ready()
    writer = subprocess.Popen([sys.executable, "-c", _WRITER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert writer.stdin is not None
    assert writer.stdout is not None
    taken = []
    pauses = random.Random(1)
    for client in clients:
        # An SMTP session of before, so that a warm smtpd waits, as on any busy server.
        assert not lab.clients.rcpt(client, port).accepted
        time.sleep(pauses.random())  # in step with nothing that looks once a second
        writer.stdin.write(
            f"imap-login: Login: user=<alice>, method=PLAIN, rip={client}, lip=198.51.100.1, mpid=1, session=<AAAA>\n"
        )
        writer.stdin.flush()
        began = float(writer.stdout.readline())
        while not lab.clients.rcpt(client, port).accepted:  # again at once: a pause would be measured too
            assert time.monotonic() - began < 15, f"{client} may not relay"
        taken.append((time.monotonic() - began) * 1000)
    writer.stdin.close()
    writer.wait()
    daemon.stop()
    return taken


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value that so many of a hundred do not pass."""
    return sorted(values)[max(0, round(len(values) * percent / 100) - 1)]


if __name__ == "__main__":
    main()
