"""Read logs and show what each line means; changes nothing, knows no rules.

Reads the files in their order, or the mail log of this machine. `-` is standard input; .gz, .bz2 and .xz are unpacked.
`--from journal` reads what `journalctl -o json` writes, from the files, standard input, or the journal of this machine.
A last line without a line end is not read. Exit status 0 if any line meant something, 1 if none did.
"""

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from popbeforesmtp.commands import write_json

if TYPE_CHECKING:
    from popbeforesmtp.commands._summary import Summary
    from popbeforesmtp.model import SessionEvent


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="write one JSON object per event, a line each")
    shown.add_argument("--summary", action="store_true", help="only count: by format, service and kind of event")
    parser.add_argument("--from", dest="origin", choices=("log", "journal"), default="log", help="what is read")
    parser.add_argument("files", metavar="FILE", nargs="*", help="a log, packed or not, or - for standard input")


def run(arguments: argparse.Namespace) -> int:
    """Scan."""
    from popbeforesmtp.commands._summary import Summary

    summary = Summary()
    for name in arguments.files or _default(arguments.origin):
        if arguments.summary:
            _count(name, arguments.origin, summary)
            continue
        for line, event in _events(name, arguments.origin, summary):
            shown = name or "journal"
            write_json(_object(shown, line, event)) if arguments.json else _row(shown, line, event)
    if arguments.summary:
        print(summary.table())  # noqa: T201
    elif not arguments.json:
        print(summary.sentence(), file=sys.stderr)  # noqa: T201
    return 0 if summary.events else 1


def _default(origin: str) -> list[str | None]:
    """Name what is read where no file is: this machine's journal, which has no name, or its mail log."""
    from popbeforesmtp import detect

    return [None if origin == "journal" else str(detect.mail_log())]


def _events(name: str | None, origin: str, summary: "Summary") -> "Iterator[tuple[int, SessionEvent]]":
    """Give each event of one file and the number of its line."""
    from datetime import UTC, datetime

    from popbeforesmtp import wiring
    from popbeforesmtp.commands._read import whole_lines
    from popbeforesmtp.sessions import Sessions

    engine, sessions, now = wiring.engine(), Sessions(), datetime.now(UTC)
    header = wiring.line_reader(journal=origin == "journal")
    for lines, number in whole_lines(name):
        for line in lines.split(b"\n")[:-1]:
            message = header.read(line, now)
            event = None if message is None else engine.read(message)
            event = None if event is None else sessions.join(event)
            summary.line(message, event, empty=not line)
            if event is not None and event.genuine:
                yield number, event
            number += 1


def _count(name: str | None, origin: str, summary: "Summary") -> None:
    """Count the events of one file, without a look at the lines that cannot be any."""
    from datetime import UTC, datetime

    from popbeforesmtp import wiring
    from popbeforesmtp.commands._read import whole_lines
    from popbeforesmtp.sessions import Sessions

    engine, sessions, now = wiring.engine(), Sessions(), datetime.now(UTC)
    header = wiring.line_reader(journal=origin == "journal")
    sieve = engine.sieve()
    before = summary.lines
    lines, number = b"", 1
    for lines, number in whole_lines(name):
        summary.lines = before + number - 1
        if origin == "log":
            summary.block(lines, header, engine, sieve, sessions, now)
            continue
        for line in lines.split(b"\n")[:-1]:
            message = header.read(line, now)
            event = None if message is None else engine.read(message)
            summary.line(message, None if event is None else sessions.join(event), empty=not line)
    summary.lines = before + number - 1 + lines.count(b"\n")
    summary.end(header, now)


def _object(name: str, line: int, event: "SessionEvent") -> dict[str, object]:
    return {
        "file": name,
        "line": line,
        "event": event.kind,
        "address": event.client,
        "user": event.user,
        "service": event.service,
        "format": event.format,
        "time": None if event.time is None else event.time.isoformat(),
        "session": event.session,
    }


def _row(name: str, line: int, event: "SessionEvent") -> None:
    from popbeforesmtp.text import escape, local

    time = "-" if event.time is None else local(event.time)
    what = f"{event.kind:7} {event.service or '-':5} {event.client or '-':15}"
    print(f"{name}:{line}: {time} {what} {escape(event.user or '-')}")  # noqa: T201
