"""Entries of the systemd journal, as ``journalctl -o json`` writes them: who wrote a message, when, and what it says.

Fields that begin with an underscore are journald's own: it drops them from whatever a client sends
(``journal_field_valid`` in systemd's source), so no client chooses them; systemd.journal-fields(7) calls them trusted.
All others, the tag among them, are the client's. Whether a sender is believed is not decided here.
"""

import json
import re
from collections import Counter
from datetime import UTC, datetime, timedelta

from popbeforesmtp.model import LogMessage, Sender

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER = re.compile(r"0|[1-9][0-9]{0,19}")
_WHOLE_AFTER_ALL = ("nul", "eof")
"""Values of _LINE_BREAK behind which nothing of the same line can follow."""

CUT_AT_MOST = 4096
"""Cut lines whose rest is waited for; when there are more, as many lines of streams are not believed."""

_Fields = dict[str, object]


class EntryReader:
    """Reads the entries of one journal in their order.

    ``previous`` is the time of the entry before. What it remembers besides is which streams are inside of a line.
    """

    unfinished = False  # the place of a cut line is the place to go on from, see sources/journal.py

    def __init__(self, previous: datetime | None = None) -> None:
        self.previous = previous
        self.cursor = ""
        self._cut: set[tuple[str, str]] = set()  # streams, and processes in them, whose last line was cut
        self._doubted = 0  # entries of streams that are not believed, for too many streams were cut

    @property
    def inside(self) -> bool:
        """Whether a line was cut, so that the next entry may be its rest."""
        return bool(self._cut)

    def read(self, line: bytes, now: datetime) -> LogMessage | None:
        """Read one JSON object; None where it is none, or has no message. Never raises, whatever the bytes."""
        del now  # a journal's time needs no guessing
        fields = _parse(line)
        if fields is None:
            return None
        sender = Sender(
            unit=_text(fields, "_SYSTEMD_UNIT"),
            uid=_number(fields, "_UID"),
            exe=_text(fields, "_EXE"),
            host=_text(fields, "_HOSTNAME"),
            transport=_text(fields, "_TRANSPORT"),
            whole=self._is_whole(fields),  # also of an entry without a message: what follows it is its rest
        )
        time = _time(fields)
        self.previous = time or self.previous
        self.cursor = _text(fields, "__CURSOR")
        message = _bytes(fields.get("MESSAGE"))
        if message is None:
            return None
        tag = "SYSLOG_IDENTIFIER" if "SYSLOG_IDENTIFIER" in fields else "_COMM"
        program = _bytes(fields.get(tag)) or b""
        return LogMessage(time, program, message, sender, b"%b[%b]: " % (program, _text(fields, "_PID").encode()))

    def glance(self, data: bytes, now: datetime) -> tuple[datetime | None, bool]:
        """Return the time of a block's last entry, and that no stamp in it is unsure; nothing is remembered."""
        del now
        fields = _parse(data[data.rfind(b"\n", 0, -1) + 1 :])
        return None if fields is None else _time(fields), False

    def _is_whole(self, fields: _Fields) -> bool:
        """Say whether an entry is a line as it was written, and remember if the stream's next one cannot be."""
        stream, process = _text(fields, "_STREAM_ID"), _text(fields, "_PID")
        cut = "_LINE_BREAK" in fields
        if not (stream or cut or self._cut):
            return True
        # Two processes may write to one stream by turns: the rest of a line is either the next or its process's next.
        keys = {(stream, ""), (stream, process)} if stream else {("", process)}
        rest = not keys.isdisjoint(self._cut)
        self._cut -= keys
        if self._doubted and stream:
            self._doubted -= 1
            rest = True
        if cut and fields["_LINE_BREAK"] not in _WHOLE_AFTER_ALL:
            if len(self._cut) >= CUT_AT_MOST:
                self._cut.clear()
                self._doubted = CUT_AT_MOST
            self._cut |= keys
        return not (cut or rest)


def _parse(line: bytes) -> _Fields | None:
    """Read a JSON object; a field that stands in it twice is as good as not there."""
    try:
        fields = _decode(line.decode())
    except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        return None
    return fields if isinstance(fields, dict) else None


def _once(pairs: list[tuple[str, object]]) -> _Fields:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        fields |= {name: None for name, count in Counter(name for name, _ in pairs).items() if count > 1}
    return fields


_decode = json.JSONDecoder(object_pairs_hook=_once).decode  # json.loads would make a decoder for each line


def _text(fields: _Fields, name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""  # repeated: a list


def _number(fields: _Fields, name: str) -> int | None:
    value = _text(fields, name)
    return int(value) if _NUMBER.fullmatch(value) else None


def _bytes(value: object) -> bytes | None:
    """Return a field's bytes: a string, or a list of numbers where it has control bytes or is no UTF-8."""
    try:
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, list) and all(type(byte) is int for byte in value):
            return bytes(value)
    except ValueError:  # half of a surrogate pair; a number past 255
        pass
    return None


def _time(fields: _Fields) -> datetime | None:
    """Return the earlier of when a message was sent, where that is known, and when journald received it.

    Both are journald's: the first is the kernel's stamp of the datagram (SO_TIMESTAMP), never what the client wrote
    into it (SYSLOG_TIMESTAMP). None unless each that is there can be read.
    """
    names = [name for name in ("__REALTIME_TIMESTAMP", "_SOURCE_REALTIME_TIMESTAMP") if name in fields]
    stamps = [stamp for name in names if (stamp := _number(fields, name)) is not None]
    if len(stamps) < len(names) or "__REALTIME_TIMESTAMP" not in names:
        return None
    try:
        return _EPOCH + timedelta(microseconds=min(stamps))
    except OverflowError:
        return None
