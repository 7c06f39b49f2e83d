"""What containers' logs put around a line: Docker's JSON, and the form that podman and Kubernetes share."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from popbeforesmtp.header import HeaderReader
from popbeforesmtp.model import LogMessage
from tests.headers import FORGED, NOW, docker, plain, read


def test_what_a_container_says_without_a_stamp_is_a_server_s_own_log() -> None:
    """Then the container's time counts."""
    for line in (docker(FORGED + b"\n", NOW), b"2026-11-22T12:00:00.123456789Z stdout F " + FORGED):
        message = read(line)
        assert (message.program, message.text) == (None, FORGED)
        assert message.time is not None
        assert message.time.replace(microsecond=0) == NOW


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        (b"Nov 22 11:59:58 abc dovecot: hello", NOW - timedelta(seconds=2)),
        (b"Nov 22 12:00:01 abc dovecot: hello", NOW + timedelta(microseconds=123456)),
        (b"Nov 31 12:00:01 abc dovecot: hello", None),
        (b"[   12.000000] abc dovecot: hello", None),
    ],
)
def test_of_a_container_s_time_and_the_line_s_the_earlier_counts(inner: bytes, expected: datetime | None) -> None:
    """Neither stretches a window; an impossible one leaves no time."""
    for line in (docker(inner + b"\n", NOW), b"2026-11-22T12:00:00.123456Z stdout F " + inner):
        assert plain(read(line)) == LogMessage(expected, b"dovecot", b"hello")


def cri(text: bytes, mark: str, stream: str = "stdout") -> bytes:
    """Write a line of podman's k8s-file."""
    return f"2026-11-22T12:00:00.123456789+00:00 {stream} {mark} ".encode() + text


def pieces(as_json: bool, *lines: tuple[bytes, bool, str]) -> list[bytes | None]:
    """Read what a container wrote in pieces; of each, the program."""
    reader = HeaderReader(UTC)
    programs = []
    for text, whole, stream in lines:
        line = docker(text + b"\n" * whole, NOW, stream) if as_json else cri(text, "F" if whole else "P", stream)
        message = reader.read(line, NOW)
        assert message is not None
        assert message.text == text
        programs.append(message.program)
    return programs


@pytest.mark.parametrize("as_json", [True, False])
def test_of_a_line_in_pieces_nothing_is_believed(as_json: bool) -> None:
    """A piece may begin with whatever a stranger wants; the next whole line is believed again."""
    out, err = (FORGED, False, "stdout"), (FORGED, False, "stderr")
    out_end, err_end = (FORGED, True, "stdout"), (FORGED, True, "stderr")
    assert pieces(as_json, out, out, out_end, out_end) == [b"", b"", b"", None]
    assert pieces(as_json, out, err_end, out_end, err_end, out_end) == [b"", None, b"", None, None]
    assert pieces(as_json, err, out, err_end, out_end, err_end) == [b"", b"", b"", b"", None]


@pytest.mark.parametrize(
    "line",
    [
        b'{"log":"x\\n","stream":"stdout","time":"2026-11-22T12:00:00Z"} ',
        b'{"log":"x\\n","stream":"stdout","time":"2026-11-22T12:00:00Z"}{}',
        b'{"log":"x\\n","log":"y\\n","stream":"stdout","time":"2026-11-22T12:00:00Z"}',
        b'{"log":"x\\n","stream":"stdout","time":"2026-11-22T12:00:00Z","attrs":{"a":"b","a":"c"}}',
        b'{"log":"x\\n","stream":"stdout","time":"2026-11-22T12:00:00Z","attrs":{"a":1}}',
        b'{"log":"x\\n","stream":"stdout","time":"2026-11-22T12:00:00Z","attrs":["a"]}',
        b'{"log":"x\\n","stream":"stdout","time":"2026-11-22T12:00:00Z","more":"a"}',
        b'{"log":"x\\ny\\n","stream":"stdout","time":"2026-11-22T12:00:00Z"}',
        b'{"log":"x\n","stream":"stdout","time":"2026-11-22T12:00:00Z"}',
        b'{"log":"\\ud800\\n","stream":"stdout","time":"2026-11-22T12:00:00Z"}',
        b'{"log":"\xff\\n","stream":"stdout","time":"2026-11-22T12:00:00Z"}',
        b'{"log":"x\\n","stream":"stdin","time":"2026-11-22T12:00:00Z"}',
        b'{"log":"x\\n","stream":"stdout","time":"Nov 22 12:00:00"}',
        b'{"log":"x\\n","stream":"stdout","time":"2026-11-22T12:00:00Z x"}',
        b'{"log":"x\\n","stream":"stdout"}',
        b'{"log":1,"stream":"stdout","time":"2026-11-22T12:00:00Z"}',
        b'{"log":"x\\n","stream":["stdout"],"time":"2026-11-22T12:00:00Z"}',
        *(b"{}", b"{", b"{]}", b'{"a":' * 100_000 + b"}", b'{"a":' + b"9" * 10_000 + b"}", b'{"log":NaN}'),
    ],
)
def test_json_is_exactly_docker_s_or_nothing(line: bytes) -> None:
    """One object, its keys once, strings only, UTF-8, nothing behind it."""
    assert HeaderReader(UTC).read(line, NOW) is None


def test_docker_s_attributes_may_be_there() -> None:
    """With --log-opt labels an object stands between."""
    line = json.dumps({"log": "d[1]: x\n", "stream": "stdout", "attrs": {"a": "b"}, "time": "2026-11-22T12:00:00Z"})
    assert plain(read(line.encode())) == LogMessage(NOW, None, b"d[1]: x")


def test_a_terminal_s_line_end_is_no_part_of_the_line() -> None:
    """Docker's `tty: true`, as mailcow has it for Dovecot, writes CR LF; a CR before that stays in the line."""
    said = b"Nov 22 11:00:00 abc dovecot: imap-login: x"
    for line in (docker(said + b"\r\n", NOW), cri(said + b"\r", "F")):
        assert read(line).text == b"imap-login: x"
    assert read(docker(said + b"\r\r\n", NOW)).text == b"imap-login: x\r"
    assert read(said + b"\r").text == b"imap-login: x\r"


def test_a_container_s_line_inside_of_another_is_only_text() -> None:
    """Headers of containers do not nest, however deep somebody writes them."""
    line = docker(FORGED + b"\n", NOW)
    assert read(docker(line + b"\n", NOW)).text == line
    assert read(cri(cri(FORGED, "F"), "F")).program == b""
    assert read(cri(b"<1>" * 100_000 + FORGED, "F")).program is None
    assert read(cri(b"<1>" + cri(FORGED, "F"), "F")).program == b""
