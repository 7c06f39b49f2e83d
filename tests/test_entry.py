"""EntryReader: what a journal entry says, who wrote it, and that nothing a client can send is taken for journald's."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popbeforesmtp.entry import CUT_AT_MOST, EntryReader
from popbeforesmtp.model import LogMessage, Sender

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
# What systemd 252 wrote of a line of Dovecot's, with all fields that are asked for.
ENTRY: dict[str, object] = {
    "__CURSOR": "s=3f45;i=3;b=edb1;m=2dd9c6d06;t=660e0e342c167;x=9ab706fe3c5dccdd",
    "__REALTIME_TIMESTAMP": "1795368862007655",
    "__MONOTONIC_TIMESTAMP": "12307950854",
    "_BOOT_ID": "edb10bac1dea4f73ab1704f9eb32cf9f",
    "_SOURCE_REALTIME_TIMESTAMP": "1795368862007469",
    "_TRANSPORT": "syslog",
    "_SYSTEMD_UNIT": "dovecot.service",
    "_UID": "0",
    "_PID": "94",
    "_COMM": "log",
    "_EXE": "/usr/lib/dovecot/log",
    "_HOSTNAME": "mx1.lab.example",
    "SYSLOG_IDENTIFIER": "dovecot",
    "MESSAGE": "imap-login: Login: user=<alice>",
}
WHO = Sender("dovecot.service", 0, "/usr/lib/dovecot/log", "mx1.lab.example", "syslog", whole=True)


def line(**fields: object) -> bytes:
    """Write an entry with some fields changed; None takes one away."""
    return json.dumps({name: value for name, value in {**ENTRY, **fields}.items() if value is not None}).encode()


def read(data: bytes) -> LogMessage | None:
    """Read one entry, the first of a journal."""
    return EntryReader().read(data, NOW)


def read_message(data: bytes) -> LogMessage:
    """Read one entry that has a message."""
    message = read(data)
    assert message is not None
    return message


def sender(reader: EntryReader, **fields: object) -> Sender:
    """Read an entry and return who wrote it."""
    message = reader.read(line(**fields), NOW)
    assert message is not None
    assert message.sender is not None
    return message.sender


def test_an_entry_says_who_wrote_what_and_when() -> None:
    """All of it, and the reader remembers the time."""
    reader = EntryReader()
    time = datetime(2026, 11, 22, 17, 34, 22, 7469, tzinfo=UTC)
    expected = LogMessage(time, b"dovecot", b"imap-login: Login: user=<alice>", WHO, b"dovecot[94]: ")
    assert reader.read(line(), NOW) == expected
    assert reader.previous == time


def test_an_entry_with_all_the_fields_that_a_journal_has_is_read_too() -> None:
    """As of ``journalctl -o json`` without a choice of fields."""
    assert (
        read_message(line(_CMDLINE="dovecot/log", PRIORITY="6", _CAP_EFFECTIVE="0", N=[1], O={"a": []})).sender == WHO
    )


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("café\u2028", "café\u2028".encode()),
        ("one\ntwo", b"one\ntwo"),
        ([99, 97, 102, 255, 10, 0], b"caf\xff\n\0"),
        ("", b""),
        ([], b""),
    ],
)
def test_a_message_is_its_bytes(message: object, text: bytes) -> None:
    """A list of numbers is what journalctl makes of control bytes, and of what is no UTF-8."""
    assert read_message(line(MESSAGE=message)).text == text


@pytest.mark.parametrize(
    "message", [None, ["a", "b"], [[97], [98]], [256], [-1], [True], [1.0], ["a"], {"a": 1}, 5, True, "\ud800"]
)
def test_without_exactly_one_message_an_entry_says_nothing(message: object) -> None:
    """It is too long for journalctl (null), or a client sent several."""
    assert read(line(MESSAGE=message)) is None
    assert read(b'{"MESSAGE": null, "__REALTIME_TIMESTAMP": "1"}') is None


@pytest.mark.parametrize("name", ["_SYSTEMD_UNIT", "_EXE", "_HOSTNAME", "_TRANSPORT", "_UID"])
@pytest.mark.parametrize("value", [None, ["0", "0"], [48], 0, True, {"a": "0"}])
def test_a_trusted_field_that_is_not_one_string_is_as_good_as_absent(name: str, value: object) -> None:
    """Nobody knows which of several is true."""
    who = read_message(line(**{name: value})).sender
    assert who is not None
    seen = (who.unit, who.exe, who.host, who.transport, who.uid)
    assert len([field for field in seen if field in ("", None)]) == 1


@pytest.mark.parametrize("uid", ["", "-1", "+0", " 0", "00", "0x0", "\u0660", "1e3", "9" * 30, "0\n"])
def test_a_user_id_is_a_plain_number(uid: str) -> None:
    """What only looks like root's is nobody's."""
    who = read_message(line(_UID=uid)).sender
    assert who is not None
    assert who.uid is None


def test_a_field_that_stands_there_twice_is_not_believed() -> None:
    """No journalctl writes that; whoever wrote it wanted one of them to be read."""
    data = line()
    for field in (b'"_UID": "0"', b'"_SYSTEMD_UNIT": "dovecot.service"'):
        who = read_message(data[:-1] + b", " + field + b"}").sender
        assert who not in (None, WHO)
    assert read(data[:-1] + b', "MESSAGE": "b"}') is None


@pytest.mark.parametrize(
    ("fields", "program"),
    [
        ({}, b"dovecot"),
        ({"SYSLOG_IDENTIFIER": None}, b"log"),
        ({"SYSLOG_IDENTIFIER": None, "_COMM": None}, b""),
        ({"SYSLOG_IDENTIFIER": ["dovecot", "dovecot"]}, b""),
        ({"SYSLOG_IDENTIFIER": ""}, b""),
    ],
)
def test_the_program_is_the_tag_else_the_command(fields: dict[str, object], program: bytes) -> None:
    """Exactly as written; a tag that is unclear is none."""
    assert read_message(line(**fields)).program == program


@pytest.mark.parametrize(
    ("source", "received", "microseconds"),
    [
        ("5", "7", 5),
        ("7", "5", 5),  # a source that is ahead stretches nobody's window
        (None, "7", 7),
        ("5", None, None),
        (["5", "5"], "7", None),
        ("x", "7", None),
        ("5", "-7", None),
        ("9" * 20, "9" * 20, None),
    ],
)
def test_the_time_is_the_earlier_of_sent_and_received(
    source: object, received: object, microseconds: int | None
) -> None:
    """And none at all where one of them cannot be read."""
    expected = None if microseconds is None else datetime(1970, 1, 1, 0, 0, 0, microseconds, tzinfo=UTC)
    data = line(_SOURCE_REALTIME_TIMESTAMP=source, __REALTIME_TIMESTAMP=received, SYSLOG_TIMESTAMP="Jan  1 00:00:00")
    assert read_message(data).time == expected
    assert EntryReader().glance(line() + b"\n" + data + b"\n", NOW) == (expected, False)


def test_a_glance_changes_nothing() -> None:
    """It is only for how far the log goes."""
    reader = EntryReader()
    assert reader.glance(line(_LINE_BREAK="line-max", _STREAM_ID="a") + b"\n", NOW)[0] is not None
    assert reader.previous is None
    assert sender(reader, _STREAM_ID="a").whole


@pytest.mark.parametrize("kind", ["line-max", "pid-change", "nul", "eof", "new in systemd 300", ["nul", "nul"]])
def test_a_line_that_did_not_end_with_lf_is_not_whole(kind: object) -> None:
    """And what follows in the stream is, unless it may be the rest."""
    reader = EntryReader()
    assert not sender(reader, _LINE_BREAK=kind, _STREAM_ID="a").whole
    assert sender(reader, _STREAM_ID="b").whole
    assert sender(reader).whole
    assert sender(reader, _STREAM_ID="a").whole == (kind in ("nul", "eof"))
    assert sender(reader, _STREAM_ID="a").whole


def test_the_rest_of_a_cut_line_is_known_when_the_cut_piece_had_no_message() -> None:
    """48 KiB are too long for journalctl, which writes null."""
    reader = EntryReader()
    cut = json.dumps({**ENTRY, "MESSAGE": None, "_LINE_BREAK": "line-max", "_STREAM_ID": "a"}).encode()
    assert reader.read(cut, NOW) is None
    assert not sender(reader, _STREAM_ID="a").whole


def test_the_rest_of_a_line_is_known_behind_another_processs_line() -> None:
    """Two processes write to one stream by turns."""
    reader = EntryReader()
    sender(reader, _LINE_BREAK="pid-change", _STREAM_ID="a", _PID="1")
    assert not sender(reader, _STREAM_ID="a", _PID="2").whole
    assert not sender(reader, _STREAM_ID="a", _PID="1").whole
    assert sender(reader, _STREAM_ID="a", _PID="1").whole


def test_without_a_stream_the_process_counts() -> None:
    """Older journals have no _STREAM_ID."""
    reader = EntryReader()
    sender(reader, _LINE_BREAK="line-max", _PID="1")
    assert sender(reader, _PID="2").whole
    assert not sender(reader, _PID="1").whole
    assert sender(reader, _PID="1").whole


def test_a_flood_of_cut_streams_makes_nothing_whole_that_is_not() -> None:
    """What does not fit into memory is not believed; what comes through syslog's socket is, as ever."""
    reader = EntryReader()
    sender(reader, _LINE_BREAK="line-max", _STREAM_ID="server", _PID="0")
    for number in range(CUT_AT_MOST):
        sender(reader, _LINE_BREAK="line-max", _STREAM_ID=str(number), _PID="1")
    assert not sender(reader, _STREAM_ID="server", _PID="0").whole
    assert sender(reader).whole
    for _ in range(CUT_AT_MOST):
        sender(reader, _STREAM_ID="server", _PID="0")
    assert sender(reader, _STREAM_ID="server", _PID="0").whole


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"-- No entries --",
        b"[]",
        b"null",
        b'"MESSAGE"',
        line()[:-1],
        line() + b"x",
        line() + line(),
        b"[" * 60000,
        b'{"a":' * 10000,
        b'{"N": ' + b"9" * 60000 + b"}",
        b"\xff" + line(),
        b"\xef\xbb\xbf" + line(),
        line().decode().encode("utf-16"),
        b"{" + b",".join([b'"a":1'] * 10000) + b"}",
    ],
)
def test_what_is_no_entry_is_none(data: bytes) -> None:
    """Never an exception, and never for long."""
    assert read(data) is None


@given(st.binary(max_size=300))
def test_no_bytes_raise(data: bytes) -> None:
    """Whatever a file holds that is said to be a journal's."""
    reader = EntryReader()
    assert reader.read(data, NOW) is None
    reader.glance(data, NOW)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=6,
)


@given(st.lists(st.dictionaries(st.sampled_from([*ENTRY, "_LINE_BREAK", "_STREAM_ID"]), VALUES), max_size=5))
def test_no_values_raise_and_none_becomes_another_type(entries: list[dict[str, object]]) -> None:
    """A field is what it should be, or absent."""
    reader = EntryReader()
    for entry in entries:
        message = reader.read(json.dumps({**ENTRY, **entry}).encode(), NOW)
        if message is not None:
            assert isinstance(message.text, bytes)
            assert isinstance(message.program, bytes)
            who = message.sender
            assert who is not None
            assert all(isinstance(field, str) for field in (who.unit, who.exe, who.host, who.transport))
            assert who.uid is None or who.uid >= 0


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=30).filter(lambda name: name[:1] != "_"), VALUES))
def test_no_field_of_a_clients_changes_who_it_is(fields: dict[str, object]) -> None:
    """Nor when: only names that begin with an underscore say that, and those no client may send."""
    message = EntryReader().read(json.dumps({**fields, **ENTRY}).encode(), NOW)
    assert message is not None
    assert message.sender == WHO
    assert message.time == datetime(2026, 11, 22, 17, 34, 22, 7469, tzinfo=UTC)
