"""Headers of log lines: what is a header at all, its host and its tag."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popbeforesmtp.header import HeaderReader
from tests.headers import BERLIN, NOW, read, unhurried


@pytest.mark.parametrize(
    ("line", "program", "text"),
    [
        (b"Nov 22 12:00:00 mail dovecot: imap-login: Login", b"dovecot", b"imap-login: Login"),
        (b"Nov 22 12:00:00 mail dovecot[123]: imap-login: Login", b"dovecot", b"imap-login: Login"),
        (b"Nov  2 12:00:00 mail dovecot: hello", b"dovecot", b"hello"),
        (b"2026-11-22T12:00:00+00:00 mail dovecot[1234567890]: hello", b"dovecot", b"hello"),
        (b"Nov 22 12:00:00 mail postfix/submission/smtpd[7]: hello", b"postfix/submission/smtpd", b"hello"),
        (b"Nov 22 12:00:00 mail a-b_c.d+e@f[7]: hello", b"a-b_c.d+e@f", b"hello"),
        (b"Nov 22 12:00:00 mail dovecot: ", b"dovecot", b""),
        (b"Nov 22 12:00:00 mail dovecot:  two blanks ", b"dovecot", b" two blanks "),
        (b"Nov 22 12:00:00 mail dovecot: \xff\xfe\0", b"dovecot", b"\xff\xfe\0"),
        (b"Nov 22 12:00:00 mail dovecot: dovecot: again", b"dovecot", b"dovecot: again"),
        (b"Nov 22 12:00:00 mail.example.com dovecot: hello", b"dovecot", b"hello"),
        (b"Nov 22 12:00:00 my_host-1 dovecot: hello", b"dovecot", b"hello"),
        (b"Nov 22 12:00:00 192.0.2.1 dovecot: hello", b"dovecot", b"hello"),
        (b"Nov 22 12:00:00 2001:db8::1 dovecot: hello", b"dovecot", b"hello"),
        (b"Nov 22 12:00:00 " + b"h" * 255 + b" dovecot: hello", b"dovecot", b"hello"),
        (b"Nov 22 12:00:00 mail " + b"t" * 64 + b": hello", b"t" * 64, b"hello"),
    ],
)
def test_a_syslog_line_is_taken_apart(line: bytes, program: bytes, text: bytes) -> None:
    """The exact tag without its process id, and all that stands behind it, byte for byte."""
    message = read(line)
    assert (message.program, message.text) == (program, text)
    assert message.time is not None


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"Nov 22 12:00:00 mail last message repeated 3 times", b"last message repeated 3 times"),
        (b"Nov 22 12:00:00 mail dovecot[]: hello", b"dovecot[]: hello"),
        (b"Nov 22 12:00:00 mail dovecot[12x]: hello", b"dovecot[12x]: hello"),
        (b"Nov 22 12:00:00 mail dovecot[12345678901]: hello", b"dovecot[12345678901]: hello"),
        (b"Nov 22 12:00:00 mail dovecot:hello", b"dovecot:hello"),
        (b"Nov 22 12:00:00 mail dovecot : hello", b"dovecot : hello"),
        (b"Nov 22 12:00:00 mail  dovecot: hello", b" dovecot: hello"),
        (b"Nov 22 12:00:00 mail (systemd)[1]: dovecot: hello", b"(systemd)[1]: dovecot: hello"),
        (b"Nov 22 12:00:00 mail " + b"t" * 65 + b": hello", b"t" * 65 + b": hello"),
        (b"Nov 22 12:00:00 mail ", b""),
    ],
)
def test_a_host_without_a_proper_tag_is_no_program_at_all(line: bytes, text: bytes) -> None:
    """A line with a host and an odd tag belongs to no program, and is never taken for a server's own log."""
    message = read(line)
    assert (message.program, message.text) == (b"", text)


@pytest.mark.parametrize(
    "text",
    [
        b"imap-login: Info: Login: user=<bob>",
        b"imap(bob)<123><AbC>: Info: Disconnected",
        b"imap(bob@example.com): Info: Disconnected",
        b"master: Info: Dovecot v2.3.19.1 starting up",
        b"auth: Error: x dovecot: imap-login: Login",
        b"",
        b" two blanks",
    ],
)
@pytest.mark.parametrize("stamp", [b"Nov 22 12:00:00 ", b"2026-11-22T12:00:00+0000 "])
def test_dovecot_s_own_log_has_neither_host_nor_tag(stamp: bytes, text: bytes) -> None:
    """A line whose first word cannot be a host is a server's own: no program, and all of the text."""
    message = read(stamp + text)
    assert (message.program, message.text) == (None, text)
    assert message.time == NOW


@pytest.mark.parametrize("host", [b"h" * 256, b"mail:", b"ma/il", b"s_src@mail", b"m(a)il", b"\xc3\xa9", b"ma\0il"])
def test_what_cannot_be_a_host_makes_no_program(host: bytes) -> None:
    """Where the host is odd, the tag behind it is not believed."""
    message = read(b"Nov 22 12:00:00 " + host + b" dovecot: hello")
    assert (message.program, message.text) == (None, host + b" dovecot: hello")


@pytest.mark.parametrize(
    "line",
    [
        *(
            b"",
            b"\n",
            b"hello",
            b"Nov 22 12:00:00",
            b"Nov 22 12:00:00\tmail dovecot: hello",
            b" Nov 22 12:00:00 mail x: y",
        ),
        *(b"nov 22 12:00:00 mail x: y", b"November 22 12:00:00 mail x: y", b"Nov 2 12:00:00 mail x: y"),
        *(
            b"Nov 22 12:00 mail x: y",
            b"Nov 22 12:60:00 mail x: y",
            b"Nov 22 12:00:70 mail x: y",
            b"Nov 42 12:00:00 m x: y",
        ),
        *(b"Nov 22 2026 12:00:00 mail x: y", b"<22>Nov 22 12:00:00 mail x: y", b"\0Nov 22 12:00:00 mail x: y"),
        *(b"2026-11-22 12:00:00 mail x: y", b"2026-11-22T12:00:00 mail x: y", b"2026-11-22T12:00:00z mail x: y"),
        *(b"2026-11-22T12:00:00+0 mail x: y", b"2026-11-22T12:00:00+00 mail x: y", b"2026-11-22T12:00:00.Z mail x: y"),
        *(b"2026-11-22T12:00:00.1234567890Z mail x: y", b"2026-11-22T12:00Z mail x: y", b"1763812800 mail x: y"),
        "٢٠٢٦-11-22T12:00:00Z mail x: y".encode(),
    ],
)
def test_a_line_without_a_known_stamp_has_no_header(line: bytes) -> None:
    """What does not begin with exactly one of the three stamps is not read at all."""
    assert HeaderReader(UTC).read(line, NOW) is None


stamps = st.one_of(
    st.from_regex(rb"\A[A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} \Z"),
    st.from_regex(
        rb"\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:?[0-9]{2}) \Z"
    ),
    st.sampled_from(
        [b"Nov 22 11:00:00 ", b"Feb 29 11:00:00 ", b"Oct 25 02:30:00 ", b"Mar 29 02:30:00 ", b"Dec 31 23:59:60 "]
    ),
    st.sampled_from([b"9999-12-31T23:59:60Z ", b"0001-01-01T00:00:00+23:59 ", b"2026-11-22T11:00:00Z "]),
    st.binary(max_size=20),
)

rests = st.one_of(
    st.binary(max_size=80),
    st.sampled_from([b"mail dovecot: hello", b"mail dovecot[1]: x", b"imap-login: Info: x", b"mail x\rdovecot: y"]),
)


@unhurried
@given(st.lists(st.tuples(stamps, rests), max_size=6), st.datetimes(datetime(1970, 1, 2), datetime(9998, 12, 30)))  # noqa: DTZ001
def test_no_bytes_make_the_reader_raise_or_invent(lines: list[tuple[bytes, bytes]], now: datetime) -> None:
    """Whatever stands in a log is read or left alone: text is the line's own, times are UTC, tags are plain words."""
    reader = HeaderReader(BERLIN)
    wall = now.replace(tzinfo=UTC)
    for stamp, rest in lines:
        line = stamp + rest
        message = reader.read(line, wall)
        if message is None:
            continue
        assert line.endswith(message.text)
        assert message.time is None or message.time.utcoffset() == timedelta()
        if line[:1].isalpha() and message.time is not None:
            assert message.time <= wall + timedelta(days=1)
        if message.program:
            assert message.program.isascii()
            assert not set(message.program) & set(b" \n\r\0:[]<>()")
            assert line[: -len(message.text) or None].endswith((message.program + b": ", b"]: "))


@pytest.mark.parametrize("filler", [b"a", b"a:", b"a ", b"[", b"1", b":", b"a." * 2])
def test_a_long_line_is_read_in_no_time(filler: bytes) -> None:
    """A header is looked for in the beginning only, so a line of a megabyte is no work."""
    reader = HeaderReader(UTC)
    line = b"Nov 22 11:00:00 " + filler * 1_000_000
    message = reader.read(line, NOW)
    assert message is not None
    assert line.endswith(message.text)
    assert len(line) - len(message.text) <= 16 + 256 + 80
