"""The daemon itself, with a clock that the bench sets, points to die at, and a trace of each login that it reads.

usage: python -m tests.faults.daemon FOLDER EVENTS ARGUMENT… (those of pop-before-smtp)
"""

import ctypes
import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from popbeforesmtp import clock, postconf, rules
from popbeforesmtp.model import Decision, EventKind, Origin, SessionEvent
from popbeforesmtp.mtas import _lmdb
from popbeforesmtp.sources import file as file_source
from tests.faults.clock import DaemonClock, SharedClock

POINTS = (
    "",
    "before a commit begins",
    "inside a commit, nothing written",
    "inside a commit, all written",
    "behind a commit",
    "before a publish",
    "inside a publish",
    "behind a publish, not synced",
)
"""Where the daemon can be made to die, by the number that the bench sets."""

LINGER = 4.0  # seconds for which renamed files are looked at: the bench rotates in a minute what others do in years
_PR_SET_PDEATHSIG = 1  # prctl(2)


def main() -> int:
    """Be the daemon."""
    folder, events, *arguments = sys.argv[1:]
    shared = SharedClock(Path(folder) / "clock")
    trace = os.open(Path(folder) / "trace", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # the bench's end is ours

    def die_at(name: str) -> None:
        if shared.death() == POINTS.index(name):
            os.kill(os.getpid(), signal.SIGKILL)

    clock.SystemClock = lambda: DaemonClock(shared)  # type: ignore[assignment,misc,return-value]
    postconf._PATH = "/nonexistent"  # the map is written without Postfix, whose postconf(1) takes a second to fail
    file_source._LINGER = LINGER
    if events != "yes":
        for source in (file_source.FileSource, file_source.SeveralSource):
            source.watch = lambda self, ring: None  # type: ignore[method-assign]
    _trace_logins(trace)
    _die_in_commits(die_at)
    _die_in_publishes(die_at)
    from popbeforesmtp import cli

    return cli.main(arguments)


def _trace_logins(trace: int) -> None:
    """Write down each login that comes to the rules, whatever they say: one line, the account and the address."""
    decide = rules.decide

    def traced(event: SessionEvent, origin: Origin, *others: Any, **more: Any) -> Decision:
        if event.kind is EventKind.LOGIN:
            os.write(trace, f"{os.getpid()} {event.client} {origin.offset} {event.user!a}\n".encode())
        return decide(event, origin, *others, **more)

    rules.decide = traced  # type: ignore[assignment]


def _die_in_commits(die_at: Callable[[str], None]) -> None:
    connect = sqlite3.connect

    class Connection(sqlite3.Connection):
        """A database that knows where it may die."""

        def execute(self, statement: str, *others: Any) -> sqlite3.Cursor:
            if statement == "BEGIN IMMEDIATE":
                die_at("before a commit begins")
            if statement == "COMMIT":
                die_at("inside a commit, all written")
            cursor = super().execute(statement, *others)
            if statement == "BEGIN IMMEDIATE":
                die_at("inside a commit, nothing written")
            if statement == "COMMIT":
                die_at("behind a commit")
            return cursor

    def connect_so(*arguments: Any, **settings: Any) -> sqlite3.Connection:
        return connect(*arguments, **settings, factory=Connection)

    sqlite3.connect = connect_so  # type: ignore[assignment]


def _die_in_publishes(die_at: Callable[[str], None]) -> None:
    put = _lmdb._put

    class Entries(dict[bytes, bytes]):
        """Entries whose keys are asked for inside the transaction."""

        def __iter__(self) -> Iterator[bytes]:
            yield from super().__iter__()
            die_at("inside a publish")

    def put_so(environment: Any, come: Mapping[bytes, bytes], go: Collection[bytes] = ()) -> None:
        die_at("before a publish")
        put(environment, Entries(come), go)
        die_at("behind a publish, not synced")

    _lmdb._put = put_so


if __name__ == "__main__":
    sys.exit(main())
