"""Read logs and show what each line means; changes nothing, knows no rules.

Reads the files in their order, or the mail log of this machine. `-` is standard input; .gz, .bz2 and .xz are unpacked.
`--from journal` reads what `journalctl -o json` writes, from the files, standard input, or the journal of this machine.
A last line without a line end is not read. A long log is summed up on all processors (taskset(1) sets which). Exit
status 0 if any line meant something, 1 if none did.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from popbeforesmtp.commands import write_json

if TYPE_CHECKING:
    from popbeforesmtp.commands._summary import Summary
    from popbeforesmtp.formats import Formats
    from popbeforesmtp.model import LogMessage, SessionEvent


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="write one JSON object per event, a line each")
    shown.add_argument("--summary", action="store_true", help="only count: by format, service and kind of event")
    shown.add_argument("--explain", action="store_true", help="say of each line why it means what it means, or nothing")
    parser.add_argument("--format", metavar="NAME", action="append", help="only this format; may be given again")
    parser.add_argument("--formats-dir", type=Path, metavar="DIR", help="more formats, in place of /etc/…/formats.d")
    parser.add_argument("--from", dest="origin", choices=("log", "journal"), default="log", help="what is read")
    parser.add_argument("files", metavar="FILE", nargs="*", help="a log, packed or not, or - for standard input")


def run(arguments: argparse.Namespace) -> int:
    """Show what the lines mean; return 1 if none means anything."""
    from popbeforesmtp.commands._summary import Summary

    summary, engine = Summary(), _engine(arguments.format, arguments.formats_dir)
    for name in arguments.files or _default(arguments.origin):
        if arguments.summary:
            _count(name, arguments.origin, summary, engine)
            continue
        shown = name or "journal"
        if arguments.explain:
            _explain(name, arguments.origin, summary, engine)
            continue
        for line, event in _events(name, arguments.origin, summary, engine):
            write_json(_object(shown, line, event)) if arguments.json else _row(shown, line, event)
    if arguments.summary:
        print(summary.table())
    elif not arguments.json:
        print(summary.sentence(), file=sys.stderr)
    return 0 if summary.events else 1


def _default(origin: str) -> list[str | None]:
    """Name what is read where no file is: this machine's journal, which has no name, or its mail log."""
    from popbeforesmtp import detect

    return [None if origin == "journal" else str(detect.mail_log())]


def _engine(names: list[str] | None, folder: Path | None) -> "Formats":
    """Make the engine of the formats that are asked for. Raises UsageError where there is none of that name."""
    from popbeforesmtp import reading
    from popbeforesmtp.errors import UsageError

    known = {each.name: each for each in reading.formats(folder or reading.FORMATS)}
    for name in names or ():
        if name not in known:
            raise UsageError(f"there is no format {name!r}; there are: {', '.join(sorted(known))}")
    return reading.engine(chosen=[known[name] for name in names or known])


def read_events(name: str, folder: Path | None) -> "Iterator[tuple[int, SessionEvent]]":
    """Give each event of one log and the number of its line, by all formats and those in a folder."""
    from popbeforesmtp.commands._summary import Summary

    return _events(name, "log", Summary(), _engine(None, folder))


def _events(
    name: str | None, origin: str, summary: "Summary", engine: "Formats"
) -> "Iterator[tuple[int, SessionEvent]]":
    """Give each event of one file and the number of its line.

    Left out are logins that authorize nobody whatever the rules are: those that open no mailbox, and those whose stamp
    is no time.
    """
    from popbeforesmtp.formats import NO_MAILBOX
    from popbeforesmtp.model import EventKind

    for number, line, message, event in _lines(name, origin, engine):
        summary.line(message, event, empty=not line)
        if event is None or not event.genuine or event.service in NO_MAILBOX:
            continue
        if event.time is not None or event.kind is not EventKind.LOGIN:
            yield number, event


def _lines(
    name: str | None, origin: str, engine: "Formats"
) -> "Iterator[tuple[int, bytes, LogMessage | None, SessionEvent | None]]":
    """Give each line of one file: its number, itself, its message, and what it means."""
    from datetime import UTC, datetime

    from popbeforesmtp import reading
    from popbeforesmtp.commands._read import whole_lines
    from popbeforesmtp.sessions import Sessions

    sessions, now = Sessions(), datetime.now(UTC)
    header = reading.line_reader(journal=origin == "journal")
    for lines, number in whole_lines(name):
        for line in lines.split(b"\n")[:-1]:
            message = header.read(line, now)
            event = None if message is None else engine.read(message)
            yield number, line, message, None if event is None else sessions.join(event)
            number += 1


def _explain(name: str | None, origin: str, summary: "Summary", engine: "Formats") -> None:
    """Say of each line what it means, and why."""
    from popbeforesmtp import reading

    for number, line, message, event in _lines(name, origin, engine):
        summary.line(message, event, empty=not line)
        print(f"{name or 'journal'}:{number}: {reading.explain(line, message, event, engine)}")


def _count(name: str | None, origin: str, summary: "Summary", engine: "Formats") -> None:
    """Count the events of one file, without a look at the lines that cannot be any."""
    from popbeforesmtp.commands._pieces import count

    if name is not None and origin == "log":
        count(name, summary, engine)
        return
    for _, line, message, event in _lines(name, origin, engine):
        summary.line(message, event, empty=not line)


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
    what = f"{event.kind:7} {escape(event.service or '-'):5} {event.client or '-':15}"
    print(f"{name}:{line}: {time} {what} {escape(event.user or '-')}")
