"""The sieve of the journal's entries passes by only what can mean nothing."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popbeforesmtp import wiring
from popbeforesmtp.entry import EntryReader
from popbeforesmtp.header import HeaderReader
from popbeforesmtp.model import SessionEvent
from popbeforesmtp.sieve import every_line
from tests.entries import FAILURE, LOGIN, LOGOUT
from tests.samples import SAMPLES

ENGINE = wiring.engine()
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

Events = list[tuple[int, SessionEvent]]

FIELDS: dict[str, list[object]] = {
    "MESSAGE": [
        LOGIN,
        LOGOUT,
        FAILURE,
        "lmtp(7): Connect from local",
        'auth: "x"',
        "",
        f"x {LOGIN}",
        [*LOGIN.encode()],
    ],
    "SYSLOG_IDENTIFIER": ["dovecot", "imapd", "popa3d", "systemd-journald", "", ["dovecot", "popa3d"]],
    "_COMM": ["dovecot", "log"],
    "_PID": ["7", "8"],
    "_STREAM_ID": ["a", "b"],
    "_LINE_BREAK": ["line-max", "eof", "pid-change"],
    "X": [{"MESSAGE": "x", "SYSLOG_IDENTIFIER": "dovecot"}, [{"MESSAGE": "x"}], ',"MESSAGE":"x', "MESSAGE", "{"],
}
ENTRIES = st.fixed_dictionaries(
    {name: st.sampled_from(FIELDS[name]) for name in ("MESSAGE", "SYSLOG_IDENTIFIER", "_PID")},
    optional={name: st.sampled_from(FIELDS[name]) for name in ("_COMM", "_STREAM_ID", "_LINE_BREAK", "X")},
)


def write_entry(fields: Mapping[str, object], *, twice: str | None = None) -> bytes:
    """Write an entry as journalctl does; one field may stand there twice, the other time first."""
    text = json.dumps({"__REALTIME_TIMESTAMP": "1795368862007655", **fields}, separators=(",", ":"))
    return (text if twice is None else f'{{"{twice}":"x",{text[1:]}').encode() + b"\n"


def read_entries(data: bytes, *, sifted: bool) -> Events:
    """Read the entries that the sieve leaves, or all."""
    reader = EntryReader()
    places = ENGINE.entry_sieve(reader).find(data) if sifted else every_line(data)
    found = ((start, reader.read(data[start:end], NOW)) for start, end in places)
    events = ((start, None if message is None else ENGINE.read(message)) for start, message in found)
    return [(start, event) for start, event in events if event is not None]


@given(st.lists(st.tuples(ENTRIES, st.sampled_from([None, None, None, "MESSAGE", "SYSLOG_IDENTIFIER"])), max_size=8))
def test_no_entry_is_passed_by_that_means_something(entries: list[tuple[dict[str, object], str | None]]) -> None:
    """Nor one that says of another whether it is whole."""
    data = b"".join(write_entry(fields, twice=twice) for fields, twice in entries)
    assert read_entries(data, sifted=True) == read_entries(data, sifted=False)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_what_real_servers_wrote_means_the_same_from_the_journal(sample: Path) -> None:
    """Their messages, as journald would have kept them."""
    messages = [HeaderReader(UTC).read(line, NOW) for line in sample.read_bytes().split(b"\n")]
    told = [(each.program or b"", each.text) for each in messages if each is not None]
    entries = ({"SYSLOG_IDENTIFIER": name.decode("ascii", "replace"), "MESSAGE": shown(text)} for name, text in told)
    data = b"".join(map(write_entry, entries))
    assert read_entries(data, sifted=True) == read_entries(data, sifted=False)


def shown(text: bytes) -> str | list[int]:
    """Write a message as journalctl does: as bytes where it is no printable text."""
    try:
        return text.decode() if text.decode().isprintable() else [*text]
    except UnicodeDecodeError:
        return [*text]


def test_entries_that_can_mean_nothing_are_passed_by() -> None:
    """Most of what Dovecot writes; but not where a piece of a line may follow."""
    about = {"MESSAGE": "lmtp(7): Connect from local", "SYSLOG_IDENTIFIER": "dovecot"}
    reader = EntryReader()
    sieve = ENGINE.entry_sieve(reader)
    assert list(sieve.find(write_entry(about))) == []
    assert list(sieve.find(write_entry({**about, "_STREAM_ID": "a"}))) != []
    reader.read(write_entry({**about, "_STREAM_ID": "a", "_LINE_BREAK": "line-max"}), NOW)
    assert list(sieve.find(write_entry(about))) != []
