"""The logs in sample_logs/: their lines, what each of them means, and which fields a server did not write by itself."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import NamedTuple

from popbeforesmtp.formats import NO_MAILBOX
from popbeforesmtp.formats._engine import Engine
from popbeforesmtp.formats._format import load, packaged
from popbeforesmtp.header import HeaderReader
from popbeforesmtp.model import LogMessage, SessionEvent
from popbeforesmtp.sessions import Sessions

FOLDER = Path(__file__).parents[1] / "sample_logs"
SAMPLES = sorted(FOLDER.glob("*.log"))
NOW = datetime(2026, 11, 22, 23, 0, tzinfo=UTC)
FORGED = "9.9.9.9"
"""Never a client."""

_UNTRUSTED = ("mailutils-*", "nginx-mail-*errorlog*")
"""Logs in which logins cannot be told from what strangers wrote, or have no address: nobody may be let in."""


_PLAIN = re.compile(r"[A-Za-z0-9._@+-]{1,64}")


class Meaning(NamedTuple):
    """What a line means."""

    event: str  # login, logout or failure
    address: str | None
    user: str | None


Found = tuple[int, Meaning]
"""The number of a line, counted from 1, and what it was taken for."""


def engine() -> Engine:
    """Make an engine with all packaged formats."""
    return Engine(load(name) for name in packaged())


def lines(sample: Path) -> list[bytes]:
    """Return the lines of a sample, without their LFs."""
    return sample.read_bytes().split(b"\n")[:-1]


def is_untrusted(sample: Path) -> bool:
    """Say whether nobody may be let in by a log."""
    return any(sample.match(pattern) for pattern in _UNTRUSTED)


def meanings(sample: Path) -> dict[int, Meaning]:
    """Read the verdicts beside a sample: by the number of the line."""
    text = sample.with_suffix(".expect.tsv").read_bytes().decode("utf-8", "surrogateescape")
    rows = (row.split("\t") for row in text.split("\n") if row)
    return {
        int(line): Meaning("failure" if event == "fail" else event, address, user)
        for line, event, address, user in rows
    }


def mistakes(expected: dict[int, Meaning], found: Iterable[Found], *, untrusted: bool = False) -> list[str]:
    """Say what was misread.

    A failed login may be seen where there is no verdict, for strangers may write one; and one with a name that is made
    to confuse need not be seen.
    """
    wrong = []
    seen = set()
    for line, got in found:
        want = expected.get(line)
        seen.add((line, got.event))
        if got.address == FORGED and (got.event != "failure" or want is None or _is_plain(want)):
            wrong.append(f"{line}: {got} is a forgery")
        elif untrusted:
            wrong += [f"{line}: {got} in a log that nobody can trust"] if got.event == "login" else []
        elif want is None or want.event != got.event:
            wrong += [] if want is None and got.event == "failure" else [f"{line}: {got} instead of {want}"]
        elif not _agree(got, want):
            wrong.append(f"{line}: {got} instead of {want}")
    if not untrusted:
        missing = [item for item in expected.items() if (item[0], item[1].event) not in seen]
        wrong += [f"{line}: {want} is missing" for line, want in missing if want.event != "failure" or _is_plain(want)]
    return wrong


def read(
    texts: Iterable[bytes], using: Engine, now: datetime = NOW, zone: tzinfo | None = UTC
) -> list[tuple[int, SessionEvent]]:
    """Read lines in their order, as the daemon does: events that can open relay or end it, and their lines' numbers."""
    header, sessions, events = HeaderReader(zone), Sessions(), []
    for number, line in enumerate(texts, 1):
        message = header.read(line, now)
        event = None if message is None else using.read(message)
        event = None if event is None else sessions.join(event)
        if event is not None and event.service not in NO_MAILBOX:
            events.append((number, event))
    return events


def found(events: Iterable[tuple[int, SessionEvent]]) -> list[Found]:
    """Give events the form of verdicts."""
    return [(line, Meaning(event.kind.value, event.client, event.user)) for line, event in events]


def _agree(got: Meaning, want: Meaning) -> bool:
    """Say whether two of one kind are the same. Some ends of sessions, and some failures, have no address."""
    if got.event == "login":
        return got == want
    return got.address in (want.address, None) or (got.event == "failure" and not _is_plain(want))


def _is_plain(meaning: Meaning) -> bool:
    return meaning.user is not None and _PLAIN.fullmatch(meaning.user) is not None


class Field(NamedTuple):
    """A part of a line that a pattern has captured."""

    line: int  # counted from 0
    name: str  # the group
    start: int  # in the line
    end: int
    format: str
    event: str


def fields(sample: Path, using: Engine) -> list[Field]:
    """Return all that patterns capture in a sample."""
    header, fields = HeaderReader(UTC), []
    for number, line in enumerate(lines(sample)):
        message = header.read(line, NOW)
        if message is None or not line.endswith(message.text):
            continue
        found = using.find(message.program, message.text, 0, len(message.text))
        before = len(line) - len(message.text)
        for name in () if found is None else found.match.re.groupindex:
            start, end = found.match.span(name)
            if start >= 0:
                fields.append(
                    Field(number, name, before + start, before + end, found.kind.format, found.kind.event.value)
                )
    return fields


def message(line: bytes) -> LogMessage | None:
    """Take the header off one line."""
    return HeaderReader(UTC).read(line, NOW)
