"""Read logs and show what each line means; changes nothing, knows no rules.

Reads the files in their order, or the mail log of this machine. `-` is standard input; .gz, .bz2 and .xz are unpacked.
A last line without a line end is not read. Exit status 0 if any line meant something, 1 if none did.
"""

import argparse
import sys
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

from popbeforesmtp.commands import write_json

if TYPE_CHECKING:
    from collections import Counter

    from popbeforesmtp.model import SessionEvent

_PIECE = 262_144


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("--json", action="store_true", help="write one JSON object per event, a line each")
    parser.add_argument("files", metavar="FILE", nargs="*", help="a log, packed or not, or - for standard input")


def run(arguments: argparse.Namespace) -> int:
    """Scan."""
    from collections import Counter

    from popbeforesmtp import detect

    counts: Counter[str] = Counter()
    for name in arguments.files or [str(detect.mail_log())]:
        for line, event in _events(name, counts):
            counts[event.kind] += 1
            write_json(_object(name, line, event)) if arguments.json else _row(name, line, event)
    events = counts["login"] + counts["logout"] + counts["failure"]
    if not arguments.json:
        print(  # noqa: T201
            f"{counts['lines']} lines: {counts['login']} logins, {counts['logout']} logouts,"
            f" {counts['failure']} failures; {counts['headers']} lines without a header that we know",
            file=sys.stderr,
        )
    return 0 if events else 1


def _events(name: str, counts: "Counter[str]") -> "Iterator[tuple[int, SessionEvent]]":
    """Give each event of one file and the number of its line."""
    from datetime import UTC, datetime

    from popbeforesmtp import wiring
    from popbeforesmtp.header import HeaderReader
    from popbeforesmtp.sessions import Sessions

    engine, header, sessions, now = wiring.engine(), HeaderReader(), Sessions(), datetime.now(UTC)
    for lines, number in _blocks(name):
        for line in lines.split(b"\n")[:-1]:
            message = header.read(line, now)
            counts["lines"] += 1
            counts["headers"] += message is None
            event = engine.read(message) if message is not None else None
            if event is not None:
                yield number, sessions.join(event)
            number += 1


def _blocks(name: str) -> Iterator[tuple[bytes, int]]:
    """Give the whole lines of one file, piece by piece, and the number of the first of each."""
    from popbeforesmtp.errors import DataError, NotPermittedError, UnavailableError
    from popbeforesmtp.lines import UNREADABLE, LineCutter

    cutter = LineCutter()
    try:
        with _open(name) as stream:
            while piece := stream.read(_PIECE):
                yield from ((lines, number) for lines, _, number in cutter.cut(piece))
    except FileNotFoundError:
        raise UnavailableError(f"{name}: there is no such file") from None
    except PermissionError:
        raise NotPermittedError(f"{name}: may not be read by this user") from None
    except IsADirectoryError:
        raise UnavailableError(f"{name}: is a folder; name a log file") from None
    except UNREADABLE as error:
        raise DataError(f"{name}: cannot be read: {error}") from None
    if cutter.pending:
        print(f"pop-before-smtp: {name}: the last line has no line end and was not read", file=sys.stderr)  # noqa: T201


def _open(name: str) -> IO[bytes]:
    from pathlib import Path

    from popbeforesmtp.lines import UNPACK

    if name == "-":
        return sys.stdin.buffer
    unpack = UNPACK.get(Path(name).suffix)
    return Path(name).open("rb") if unpack is None else unpack(Path(name))


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
