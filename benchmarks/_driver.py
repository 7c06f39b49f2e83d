"""Processes that the benchmarks measure: the daemon's own parts, and nothing that the daemon does not do.

``catch-up``: reads a log, or the journal, from nothing to its end, and says who may relay. ``record``: the whole
daemon, which keeps when each client was first known, and tells it at its end.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from popbeforesmtp import cli, detect, maillog, wiring
from popbeforesmtp.active import ActiveSet
from popbeforesmtp.addresses import ClientAddress, NetworkSet, parse_network
from popbeforesmtp.audit import Audit
from popbeforesmtp.blocking import Blocking
from popbeforesmtp.clock import Clock, Moment, SystemClock
from popbeforesmtp.config import GRACE, Section
from popbeforesmtp.model import Authorization, Block
from popbeforesmtp.parts import EARLIER
from popbeforesmtp.pipeline import Pipeline
from popbeforesmtp.recorder import Recorder
from popbeforesmtp.rules import Rules
from popbeforesmtp.sources import Source
from popbeforesmtp.sources.file import FileSource
from popbeforesmtp.windows import Windows


class StoppedClock:
    """A clock that stands: the log's last line was written just now."""

    boot_id = "benchmark"

    def __init__(self, wall: datetime) -> None:
        self._moment = Moment(wall, 1_000_000.0)

    def now(self) -> Moment:
        """Return always the same."""
        return self._moment


class Reading:
    """Sees how far a source was read."""

    def __init__(self, source: Source, *, count: bool) -> None:
        self.waiting = False  # whether there was nothing more
        self.lines = 0
        self._read = source.read
        self._count = count
        source.read = self.read  # type: ignore[method-assign]

    def read(self) -> Block | None:
        """Read the next block."""
        block = self._read()
        self.waiting = block is None
        if block is not None and self._count:
            self.lines += block.data.count(b"\n")
        return block


def main() -> None:
    """Do as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    catching_up = commands.add_parser("catch-up")
    catching_up.add_argument("--log", help="a file; without it, the journal")
    catching_up.add_argument("--at", type=datetime.fromisoformat, help="the time, which stands; without it, it goes on")
    catching_up.add_argument("--lines", type=int, default=0, help="end when so many were read; 0: where there are none")
    catching_up.add_argument("--list", action="store_true", help="also write who may relay, and until when")
    catching_up.add_argument("--trusted", nargs="*", default=[])
    catching_up.add_argument("--never", nargs="*", default=[])
    recording = commands.add_parser("record")
    recording.add_argument("into", type=Path)
    recording.add_argument("--without-events", action="store_true")
    arguments, rest = parser.parse_known_args()
    if arguments.command == "record":
        sys.exit(_record(arguments.into, rest, events=not arguments.without_events))
    asyncio.run(_catch_up(arguments))


async def _catch_up(arguments: argparse.Namespace) -> None:
    """Read all there is, as parts.py sets it up, and end."""
    maillog.open_log("stderr")
    clock: Clock = SystemClock() if arguments.at is None else StoppedClock(arguments.at.astimezone(UTC))
    values = {} if arguments.log is None else {"path": arguments.log}
    source = Section("journal" if arguments.log is None else "file", values, {}, None)
    followed = wiring.open_source(source, {}, clock.now().wall - GRACE - EARLIER)
    recorder, active = Recorder(wiring.open_store(Section("memory", {}, {}, None), clock, make=True)), ActiveSet()
    recorder.start()
    rules = Rules(
        GRACE, trusted=_networks(arguments.trusted), never=_networks(arguments.never), own=detect.own_addresses()
    )
    windows = Windows(active=active, recorder=recorder, publishers=[], clock=clock, audit=Audit(""))
    pipeline = Pipeline(
        followed=[followed], rules=rules, windows=windows, clock=clock, blocking=Blocking(windows, clock)
    )
    reading = Reading(followed.source, count=arguments.lines > 0)
    running = asyncio.create_task(pipeline.run())
    while not reading.waiting or reading.lines < arguments.lines:
        await asyncio.sleep(0 if arguments.log else 0.001)
        assert not running.done()
    now = clock.now()
    print(json.dumps({"live": len(active), "peak": _peak(), "counts": windows.counts}))
    if arguments.list:
        for client in sorted(active):
            print(client, active.expires_at(client, now))
    sys.stdout.flush()
    followed.source.close()
    os._exit(0)  # a daemon would go on; how long it takes to end is another question


def _networks(texts: list[str]) -> NetworkSet:
    return NetworkSet(map(parse_network, texts))


def _peak() -> int:
    """Return the most memory that this process ever had, KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def _record(into: Path, arguments: list[str], *, events: bool) -> int:
    """Be the daemon, and keep when each client was granted."""
    known: dict[ClientAddress, float] = {}
    grant = ActiveSet.grant

    def recorded(self: ActiveSet, authorization: Authorization, now: Moment) -> object:
        change = grant(self, authorization, now)
        known.setdefault(authorization.client, time.monotonic())
        return change

    ActiveSet.grant = recorded  # type: ignore[assignment, method-assign]
    if not events:
        FileSource.watch = lambda self, ring: None  # type: ignore[method-assign]
    status = cli.main(arguments)
    into.write_text(json.dumps(known))
    return status


if __name__ == "__main__":
    main()
