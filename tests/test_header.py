"""Headers of log lines: what is a header at all, its host and its tag."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popbeforesmtp.header import COMMON, HOST, PROGRAM, TAG_END, HeaderReader, process_of, split_tag
from popbeforesmtp.model import LogMessage
from popbeforesmtp.stamps import OWN_STAMPS, STAMPS
from tests.headers import BERLIN, FORGED, NAMES, NOW, STRUCTURED, ZONED, ZONELESS, docker, plain, read, unhurried

EVERY_STAMP = {**ZONELESS, **ZONED}
programs = st.from_regex(rb"\A[A-Za-z0-9_./@+-]{1,64}\Z").filter(lambda program: program != b"-")
texts = st.binary(max_size=200).map(lambda text: text.replace(b"\n", b"?"))
contained = st.text(st.characters(exclude_categories=["Cs"]), max_size=200).map(
    lambda text: text.replace("\n", "?").encode()
)


@unhurried
@given(st.sampled_from(sorted(EVERY_STAMP)), st.sampled_from(sorted(NAMES)), programs, texts)
def test_any_message_means_the_same_under_any_header(style: str, names: str, program: bytes, text: bytes) -> None:
    """Program, text and time come back, whatever the text says, and in every combination of stamp and names."""
    header = EVERY_STAMP[style](NOW.astimezone(BERLIN)) + NAMES[names].format(program.decode())
    assert plain(HeaderReader(BERLIN).read(header.encode() + text, NOW)) == LogMessage(NOW, program, text)


@unhurried
@given(st.sampled_from(sorted(STRUCTURED)), st.sampled_from(sorted(EVERY_STAMP)), programs, contained, st.booleans())
def test_any_message_means_the_same_in_rfc_5424_and_in_containers(
    style: str, inner: str, program: bytes, text: bytes, as_json: bool
) -> None:
    """No text breaks out of structured data, of a JSON string, or of the place behind the header."""
    expected = LogMessage(NOW, program, text)
    header = STRUCTURED[style].format(stamp=f"{NOW.isoformat()} ", program=program.decode()).encode()
    clean = text.lstrip(b" \xef\xbb\xbf")  # a blank there may be rsyslog's
    assert plain(HeaderReader(BERLIN).read(header + clean, NOW)) == LogMessage(NOW, program, clean)
    line = f"{EVERY_STAMP[inner](NOW.astimezone(BERLIN))}mx1 {program.decode()}[1]: ".encode() + text
    wrapped = docker(line + b"\n", NOW) if as_json else b"2026-11-22T12:00:00.123456789Z stderr F " + line
    assert plain(HeaderReader(BERLIN).read(wrapped, NOW)) == expected


@pytest.mark.parametrize(
    "stamp",
    [
        *("2026-11-22 12:00:00,123 ", "2026/11/22 12:00:00 ", "[22/Nov/2026 12:00:00] "),
        *("[22/Nov/2026:13:00:00 +0100] ", "2026-11-22_12:00:00.00000 ", "@400000006a0ed3ca075bcd15 "),
    ],
)
@pytest.mark.parametrize("text", [b"", b"mx1 dovecot: hello", b"dovecot[1]: hello", FORGED, b"\xff [notice] <x>"])
def test_stamps_of_servers_have_no_host_and_no_tag_behind_them(stamp: str, text: bytes) -> None:
    """What only servers write into their own logs is never taken for syslog."""
    message = read(stamp.encode() + text)
    assert (message.program, message.text) == (None, text)


def test_a_tag_without_host_and_process_is_left_to_who_knows_the_programs() -> None:
    """The line alone does not tell a program from a service of a server's own log, so the text is whole."""
    message = read(b"Nov 22 12:00:00 dovecot: imap-login: Login")
    assert (message.program, message.text) == (None, b"dovecot: imap-login: Login")
    assert split_tag(message.text) == (b"dovecot", b"imap-login: Login")
    assert split_tag(b"imap(bob)<1><x>: Info: dovecot: x") is None
    assert split_tag(b"no tag: x") is None


@pytest.mark.parametrize("line", [b"[  123.456789] mx1 dovecot[1]: hello", b"<22>1 - mx1 dovecot 1 - - hello"])
def test_a_header_without_a_time_is_a_header(line: bytes) -> None:
    """The monotonic clock and RFC 5424's nil stamp say nothing of when."""
    assert plain(read(line)) == LogMessage(None, b"dovecot", b"hello")


def test_a_host_may_be_called_as_its_program() -> None:
    """As in containers: then the text says no program; only nginx writes its tag where others begin to speak."""
    line = b"<22>1 2026-11-22T12:00:00Z dovecot dovecot - - - "
    assert plain(read(line + b"imap-login: Login: x")) == LogMessage(NOW, b"dovecot", b"imap-login: Login: x")
    nginx = b"2026/11/22 12:00:00 [info] 12#12: *5 x"
    assert plain(read(line + b"nginx: " + nginx)) == LogMessage(NOW, b"nginx", nginx)


@pytest.mark.parametrize(
    ("writer", "process"),
    [
        (b"mx1 popa3d[12]: ", b"mx1 popa3d[12]: "),
        (b"mx1 popa3d[12]: [ID 654321 mail.info] ", b"mx1 popa3d[12]: "),
        (b"mx1 mail.info popa3d[12]: ", b"mx1 popa3d[12]: "),
        (b"mail.debug popa3d[12]: ", b"popa3d[12]: "),
        (b"<mail.info> mx1 popa3d[12]: ", b"mx1 popa3d[12]: "),
        (b"mx1 <191> popa3d[12]: ", b"mx1 popa3d[12]: "),
        (b"mx1.mail.info popa3d[12]: ", b"mx1.mail.info popa3d[12]: "),
    ],
)
def test_a_process_is_the_same_at_whatever_severity_it_speaks(writer: bytes, process: bytes) -> None:
    """Or lines that belong together would not be read together."""
    assert process_of(writer) == process


def test_a_unit_stands_where_the_tag_does() -> None:
    """Under journalctl -o with-unit the program is the unit: another name, and no event unless it is configured."""
    line = b"Sun 2026-11-22 12:00:00 UTC mx1 dovecot.service/user@1.service[812]: hello"
    assert plain(read(line)) == LogMessage(NOW, b"dovecot.service/user@1.service", b"hello")


@pytest.mark.parametrize("header", ["Nov 22 12:00:00 mx1 d[1]: ", "<22>1 2026-11-22T12:00:00Z mx1 d 1 - -  "])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("message repeated 2 times: [ hello]", "hello"),
        ("message repeated 2 times: [ a] b]", "a] b"),
        ("message repeated 2 times: [ message repeated 3 times: [ a]]", "message repeated 3 times: [ a]"),
        ("message repeated 2 times: [ " + "x" * 798 + "]", "x" * 798),
        ("message repeated 2 times: [ " + "x" * 799 + "]", None),  # perhaps cut, so its end is a stranger's
        *(("message repeated 2 times: [ hello", None), ("message repeated 2 times: [hello]", None)),
        *(("message repeated 2x times: [ hello]", None), ("last message repeated 2 times", None)),
        *(("x message repeated 2 times: [ hello]", None), ("message repeated 2 times: [ ] x", None)),
    ],
)
def test_a_repeated_message_is_read_once_if_it_is_whole(header: str, text: str, expected: str | None) -> None:
    """The brackets are taken off, once, and only where nothing can have been cut."""
    assert plain(read((header + text).encode())) == LogMessage(
        NOW, b"d", (text if expected is None else expected).encode()
    )


def test_what_fast_readers_are_given_agrees_with_what_is_read() -> None:
    """The expressions are plain: no groups but the two that are promised."""
    for source in (*STAMPS.values(), *OWN_STAMPS.values(), HOST, PROGRAM, TAG_END):
        assert re.compile(source).groups == 0
    match = re.match(COMMON, b"Nov 22 12:00:00 mx1 dovecot[1]: hello")
    assert match is not None
    assert (match[2], match.end()) == (b"dovecot", 32)


def test_a_glance_at_a_block_says_when_it_ends_and_whether_the_clock_was_set() -> None:
    """Within a day of a change of the clock, or without a time, every line must be read."""
    reader = HeaderReader(BERLIN)
    day = b"Nov 21 12:00:00 mx1 d: x\nno header\nNov 22 13:00:00 mx1 d: x\n"
    assert reader.glance(day, NOW) == (NOW, False)
    assert reader.glance(b"Nov 22 13:00:00 mx1 d: x\n", NOW) == (NOW, False)
    assert reader.glance(b"Oct 24 13:00:00 mx1 d: x\nOct 25 02:30:00 mx1 d: x\n", NOW)[1]
    assert reader.glance(b"Oct 26 01:00:00 mx1 d: x\n", NOW)[1]
    assert reader.glance(b"no header\nNov 22 13:00:00 mx1 d: x\n", NOW) == (NOW, True)
    assert reader.glance(b"Nov 22 13:00:00 mx1 d: x\nno header\n", NOW) == (None, True)
    assert reader.glance(b"", NOW) == (None, True)
    assert reader.previous is None


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
        (b"Nov 22 12:00:00 mail   dovecot: hello", b"  dovecot: hello"),
        (b"Nov 22 12:00:00 mail other dovecot: hello", b"other dovecot: hello"),
        (b"Nov 22 12:00:00 mail mailx dovecot: hello", b"mailx dovecot: hello"),
        (b"Nov 22 12:00:00 mail mail.x y dovecot: hello", b"mail.x y dovecot: hello"),
        (b"Nov 22 12:00:00 mx1 mail.loud dovecot: hello", b"mail.loud dovecot: hello"),
        (b"Nov 22 12:00:00 mail mail.info other dovecot: hello", b"other dovecot: hello"),
        (b"Nov 22 12:00:00 mail mail.info mail.info dovecot: hello", b"mail.info dovecot: hello"),
        (b"Nov 22 12:00:00 <mail.info> mx1 other dovecot: hello", b"other dovecot: hello"),
        (b"Nov 22 12:00:00 last message repeated 3 times", b"message repeated 3 times"),
        (b"Nov 22 12:00:00 mail message repeated 3 times: [ x]", b"message repeated 3 times: [ x]"),
        (b"<22>1 2026-11-22T12:00:00Z mail - - - - dovecot: hello", b"dovecot: hello"),
        (b"<22>1 2026-11-22T12:00:00Z mail dove(cot) - - - hello", b"hello"),
        (b"<22>1 2026-11-22T12:00:00Z mail dovecot[1] - - - hello", b"hello"),
        (b"Nov 22 12:00:00 mail (systemd)[1]: dovecot: hello", b"(systemd)[1]: dovecot: hello"),
        (b"Nov 22 12:00:00 mail " + b"t" * 65 + b": hello", b"t" * 65 + b": hello"),
        (b"Nov 22 12:00:00 mail ", b""),
    ],
)
def test_a_tagless_line_is_nobodys(line: bytes, text: bytes) -> None:
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
@pytest.mark.parametrize(
    "stamp",
    [b"Nov 22 12:00:00 ", b"2026-11-22T12:00:00+0000 ", b"2026-11-22 12:00:00 ", b"2026-11-22T12:00:00.0 "],
)
def test_dovecot_s_own_log_has_neither_host_nor_tag(stamp: bytes, text: bytes) -> None:
    """A line whose first word cannot be a host is a server's own: no program, and all of the text."""
    message = read(stamp + text)
    assert (message.program, message.text) == (None, text)
    assert message.time == NOW


@pytest.mark.parametrize(
    "host", [b"h" * 256, b"mail:", b"a:b:", b"2001:db8::", b"m(a)il", b"<mail>", b"[mail]", b"\xc3\xa9", b"ma\0il"]
)
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
        *(
            b"Nov 22 26 12:00:00 mail x: y",
            b"<22> Nov 22 12:00:00 mail x: y",
            b"<22><22>Nov 22 12:00:00 mail x: y",
            b"\0Nov 22 12:00:00 mail x: y",
        ),
        *(b"2026-11-22  12:00:00 mail x: y", b"2026-11-22_12:00:00 mail x: y", b"2026-11-22T12:00:00z mail x: y"),
        *(b"2026-11-22T12:00:00+0 mail x: y", b"2026-11-22T12:00:00+00 mail x: y", b"2026-11-22T12:00:00.Z mail x: y"),
        *(b"2026-11-22T12:00:00.1234567890Z mail x: y", b"2026-11-22T12:00Z mail x: y", b"17638128 mail x: y"),
        *(b"-- Boot 0123456789abcdef --", b"-- Logs begin at Sun 2026-11-22 07:14:00 UTC. --", b"-- No entries --"),
        *(b"<22>2 2026-11-22T12:00:00Z mail x - - - y", b"<1234>1 2026-11-22T12:00:00Z mail x - - - y"),
        *(b"<22>1 2026-11-22T12:00:00Z mail x - - y", b"<22>1 2026-11-22T12:00:00Z mail x - - -y"),
        *(b'<22>1 2026-11-22T12:00:00Z mail x - - [a b="c] y', b'<22>1 2026-11-22T12:00:00Z m x - - [a b="c"d"] y'),
        *(b'<22>1 2026-11-22T12:00:00Z m x - - [a b="]"] y', b"<22>1 2026-11-22T12:00:00Z m x - - [] y"),
        *(
            b"@400000006920c1a81d2f3c4 x",
            b"@400000006920C1A81D2F3C4C x",
            b"[12.5] mail x: y",
            b"1795331640. mail x: y",
        ),
        "٢٠٢٦-11-22T12:00:00Z mail x: y".encode(),
    ],
)
def test_a_line_without_a_known_stamp_has_no_header(line: bytes) -> None:
    """What does not begin with exactly one of the known stamps is not read at all."""
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
    *(st.from_regex(re.compile(rb"\A" + source + rb"\Z")) for source in (*STAMPS.values(), *OWN_STAMPS.values())),
    st.sampled_from(
        [b"<22>1 ", b'{"log":"', b"<22>", b"1 2026-11-22T12:00:00Z h a - - ", b"@40000000ffffffffffffffff "]
    ),
)

rests = st.one_of(
    st.binary(max_size=80),
    st.sampled_from([b"mail dovecot: hello", b"mail dovecot[1]: x", b"imap-login: Info: x", b"mail x\rdovecot: y"]),
)


@unhurried
@given(st.lists(st.tuples(stamps, rests), max_size=6), st.datetimes(datetime(1970, 1, 2), datetime(9998, 12, 30)))
def test_no_bytes_make_the_reader_raise_or_invent(lines: list[tuple[bytes, bytes]], now: datetime) -> None:
    """Whatever stands in a log is read or left alone: text is the line's own, times are UTC, tags are plain words."""
    reader = HeaderReader(BERLIN)
    wall = now.replace(tzinfo=UTC)
    for stamp, rest in lines:
        line = stamp + rest
        message = reader.read(line, wall)
        if message is None:
            continue
        assert line.endswith(message.text)  # no line here is docker's or a repeated one
        assert message.time is None or message.time.utcoffset() == timedelta()
        if re.match(rb"[A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:", line) and message.time is not None:  # has no year
            assert message.time <= wall + timedelta(days=1)
        if message.program:
            assert message.program.isascii()
            assert not set(message.program) & set(b" \n\r\0:[]<>()")
            header = line[: -len(message.text) or None]
            assert b" " + message.program in header


@pytest.mark.parametrize("filler", [b"a", b"a:", b"a ", b"[", b"1", b":", b"a." * 2])
def test_a_long_line_is_read_in_no_time(filler: bytes) -> None:
    """A header is looked for in the beginning only, so a line of a megabyte is no work."""
    reader = HeaderReader(UTC)
    line = b"Nov 22 11:00:00 " + filler * 1_000_000
    message = reader.read(line, NOW)
    assert message is not None
    assert line.endswith(message.text)
    assert len(line) - len(message.text) <= 16 + 256 + 80


@pytest.mark.parametrize(
    "line",
    [
        b'<22>1 2026-11-22T12:00:00Z h a - - [a b="' + b"x" * 1_000_000,
        b'<22>1 2026-11-22T12:00:00Z h a - - [a b="' + b"\\" * 1_000_000,
        b"<22>1 2026-11-22T12:00:00Z h a - - " + b'[a b="c"]' * 100_000,
        b"<22>1 2026-11-22T12:00:00Z h a - - [a" + b' b="c"' * 100_000 + b"] x",
        *(b"<1>" * 300_000, b"@" * 1_000_000, b"[" + b" " * 1_000_000, b"{" * 1_000_000 + b"}"),
    ],
)
def test_no_header_costs_more_the_longer_somebody_makes_it(line: bytes) -> None:
    """Every part of a header has its longest length; what is longer is no header."""
    assert HeaderReader(UTC).read(line, NOW) is None


def test_qpoppers_own_log_has_the_year_behind_the_clock_and_its_process() -> None:
    """pop_log.c."""
    message = HeaderReader(BERLIN).read(b"Nov 22 07:14:00.123 2026 [812] (v4.1.0) POP login", NOW)
    assert message is not None
    assert (message.program, message.text, message.writer) == (None, b"(v4.1.0) POP login", b"[812]: ")


def test_stalwarts_own_log_has_a_level_where_others_have_a_host() -> None:
    """Its text begins there."""
    message = HeaderReader().read(b"2026-11-22T07:14:00Z INFO Authentication successful (auth.success) x = 1", NOW)
    assert message is not None
    assert (message.program, message.text[:5]) == (None, b"INFO ")
