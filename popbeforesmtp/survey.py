"""What the end of a log holds: is it the one that logins are written to, and do we understand it."""

import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.following import LineReader
from popbeforesmtp.formats import Formats
from popbeforesmtp.model import EventKind
from popbeforesmtp.sessions import Sessions
from popbeforesmtp.sight import looks_like_a_login
from popbeforesmtp.text import duration

_SAMPLE = 1_048_576  # bytes of the end of a log
_ENTRIES = 2000  # of the end of the journal
_PATIENCE = 10.0  # seconds
_BEHIND = timedelta(hours=1)  # that two logs of the same lines may be apart


@dataclass(slots=True)
class Survey:
    """What was seen."""

    lines: int = 0
    unknown_headers: int = 0
    first_line_at: datetime | None = None
    last_line_at: datetime | None = None
    forged: int = 0  # what looks like an event, and was not written by the server
    events: Counter[str] = field(default_factory=Counter)  # by format
    last_event_at: datetime | None = None
    logins: int = 0
    forgeable: str | None = None  # why it cannot be believed
    accounts: dict[ClientAddress, set[str]] = field(default_factory=dict)  # who logged in from where
    unread: list[bytes] = field(default_factory=list)  # what looks like a login, and fits no format

    def ends_before(self, other: "Survey") -> bool:
        """Say whether its last event is clearly older than another's: whoever writes logins writes them there now."""
        if self.last_event_at is None or other.last_event_at is None:
            return self.last_event_at is None and other.last_event_at is not None
        return other.last_event_at - self.last_event_at > _BEHIND

    def sentence(self, now: datetime) -> str:
        """Say in one sentence what was seen, for start-up and ``doctor``."""
        if not self.lines:
            return "holds no lines yet"
        known = ", ".join(f"{count} of {name}" for name, count in self.events.most_common())
        age = "" if self.last_line_at is None else f" ({_ago(now, self.last_line_at)})"
        return (
            f"the last {self.lines} lines{age} hold {self.logins} logins; events: {known or 'none that we know'}"
            + (f"; {self.unknown_headers} lines have no header that we know" if self.unknown_headers else "")
            + (f"; {self.forged} only pretend to be a server's" if self.forged else "")
        )


def look(lines: Iterable[bytes], header: LineReader, formats: Formats, now: datetime) -> Survey:
    """Take lines, without their LF, through header and formats."""
    seen, sessions = Survey(), Sessions()
    for line in lines:
        seen.lines += 1
        message = header.read(line, now)
        if message is None:
            seen.unknown_headers += bool(line)
            continue
        seen.first_line_at = seen.first_line_at or message.time
        seen.last_line_at = message.time or seen.last_line_at
        seen.forgeable = seen.forgeable or formats.forgeable(message)
        event = formats.read(message)
        if event is None and formats.knows(message.program) and looks_like_a_login(message.text):
            seen.unread.append(message.text)
        event = None if event is None else sessions.join(event)
        if event is not None and event.genuine:
            seen.events[event.format] += 1
            seen.last_event_at = event.time or seen.last_event_at
            if event.kind is EventKind.LOGIN:
                seen.logins += 1
                if event.client is not None and event.user is not None:
                    seen.accounts.setdefault(event.client, set()).add(event.user)
        elif event is not None:
            seen.forged += 1
    return seen


def tail(path: Path) -> list[bytes]:
    """Return the whole lines at a file's end. Raises OSError."""
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(size - _SAMPLE, 0))
        lines = stream.read(_SAMPLE).split(b"\n")[:-1]
    return lines if size <= _SAMPLE else lines[1:]


def entries(programs: Iterable[bytes]) -> list[bytes]:
    """Return the last entries of this machine's journal that bear the tags of these programs. Raises OSError."""
    tags = [f"SYSLOG_IDENTIFIER={program.decode()}" for program in programs]
    command = ["journalctl", "--no-pager", "--quiet", "--output=json", f"--lines={_ENTRIES}", *tags]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise OSError(f"journalctl did not answer within {_PATIENCE:.0f} s") from None
    if done.returncode and not done.stdout:
        raise OSError(done.stderr.decode("utf-8", "replace").strip() or f"journalctl: exit status {done.returncode}")
    return done.stdout.split(b"\n")[:-1]


def _ago(now: datetime, time: datetime) -> str:
    seconds = (now - time).total_seconds()
    return f"{duration(seconds)} old" if seconds >= 0 else f"{duration(-seconds)} ahead of our clock"
