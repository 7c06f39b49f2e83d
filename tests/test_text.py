"""Text of strangers, shown."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from popbeforesmtp import cli
from popbeforesmtp.text import duration, escape, local, quote, utc, visible

unhurried = settings(deadline=None)
any_text = st.text(max_size=40) | st.binary(max_size=40).map(lambda data: data.decode("utf-8", "surrogateescape"))
hostile = any_text | st.text('ab"\\x=\n\r\x1b\u202e\u2028\udcff', max_size=20)


@unhurried
@given(hostile)
@example("\n")
@example("\x85\u2028\u2029\x0b\x0c\x1c")
@example("\u202eevil\u2066\u200f\ufeff\u00ad")
@example("\x1b]0;title\x07")
def test_escaped_text_is_one_line_of_printable_letters(text: str) -> None:
    """Nothing that comes out moves a cursor, turns the direction or ends a line, and it always encodes."""
    shown = escape(text)
    assert shown.isprintable()
    assert len(shown.splitlines()) <= 1
    shown.encode("utf-8")


@unhurried
@given(st.text('ab "=é漢字🙂', max_size=30))
def test_printable_text_without_a_backslash_stays_as_it_is(text: str) -> None:
    """Letters of every script that can be printed are shown, not escaped."""
    assert escape(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\n", r"\x0a"),
        ("\0\x1b\x7f", r"\x00\x1b\x7f"),
        ("\u202e", r"\u202e"),
        ("\u2028", r"\u2028"),
        ("\U000e0001", r"\U000e0001"),
        ("\\", "\\\\"),
        (r"\x0a", r"\\x0a"),
        (b"caf\xe9".decode("utf-8", "surrogateescape"), r"caf\xe9"),
        (b"\xff\x80".decode("utf-8", "surrogateescape"), r"\xff\x80"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_cannot_be_printed_is_shown_by_its_number(text: str, shown: str) -> None:
    """Control letters, direction marks, lone surrogates and bytes that are no UTF-8 are named, a backslash doubled."""
    assert escape(text) == shown


def unescape(shown: str) -> str:
    """Read escaped text back, letters by their number and bytes that are no UTF-8 as surrogates."""

    def letter(match: re.Match[str]) -> str:
        if match[1] is not None:
            code = int(match[1], 16)
            return chr(code if code < 0x80 else 0xDC00 + code)
        return "\\" if match[3] is None and match[2] is None else chr(int(match[2] or match[3], 16))

    return re.sub(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|\\)", letter, shown)


@unhurried
@given(hostile | st.text("ab\\xu0123\n\x1b\x80\xad\u202e\udc80", max_size=30))
@example("\x80")
@example("\udc80")
def test_escaped_text_can_be_read_back(text: str) -> None:
    """Two texts never look the same: what is shown names exactly one text."""
    assert unescape(escape(text)) == text


@pytest.mark.parametrize("word", ["alice", "alice@example.com", "a.b-c_d+e/f:g", "2001:db8::1", "/var/log/mail.log"])
def test_a_plain_word_needs_no_quotes(word: str) -> None:
    """User names, addresses and paths of the usual kind stand bare behind their key."""
    assert quote(word) == word


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("", '""'),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "x"', r'"say \"x\""'),
        ("\\", r'"\\"'),
        ('\\"', r'"\\\""'),
        ("é", '"é"'),
        ("a\nb", r'"a\x0ab"'),
        ("x user=root", '"x user=root"'),
    ],
)
def test_anything_else_stands_in_quotes(text: str, quoted: str) -> None:
    """Whatever could be taken for the next key, or for the end of the value, is quoted."""
    assert quote(text) == quoted


@unhurried
@given(hostile, hostile)
def test_no_value_can_pretend_to_be_another_key(first: str, second: str) -> None:
    """A line of quoted values splits into the values that were put in, whatever strangers put there."""
    line = f"user={quote(first)} service={quote(second)}"
    value = r'(?:"((?:[^"\\]|\\.)*)"|([A-Za-z0-9@._\-+/:]+))'
    match = re.fullmatch(f"user={value} service={value}", line)
    assert match is not None
    shown = [quoted if quoted is not None else bare for quoted, bare in (match.group(1, 2), match.group(3, 4))]
    assert [part.replace('\\"', '"') for part in shown] == [escape(first), escape(second)]


def test_times_are_written_to_the_second_in_utc() -> None:
    """A moment in the log is RFC 3339 in UTC, and its fraction is cut off, never rounded up to a later end."""
    assert utc(datetime(2026, 11, 22, 12, 30, 5, 999999, tzinfo=UTC)) == "2026-11-22T12:30:05Z"


def test_times_for_people_are_in_the_zone_of_this_machine() -> None:
    """What a person reads is the time on their own wall."""
    time = datetime(2026, 11, 22, 12, 30, 5, tzinfo=UTC)
    shown = datetime.strptime(local(time), "%Y-%m-%d %H:%M:%S").astimezone()
    assert shown == time
    assert shown.utcoffset() == time.astimezone().utcoffset()


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0s"),
        (0.4, "0s"),
        (1, "1s"),
        (59.4, "59s"),
        (59.6, "1m"),
        (60, "1m"),
        (61, "1m 1s"),
        (1770, "29m 30s"),
        (3600, "1h"),
        (3661, "1h 1m"),
        (86399, "23h 59m"),
        (86400, "1d"),
        (timedelta(days=45, hours=12, minutes=15).total_seconds(), "45d 12h"),
    ],
)
def test_a_span_of_time_is_written_by_its_two_largest_units(seconds: float, shown: str) -> None:
    """A window is told as people tell it."""
    assert duration(seconds) == shown


def test_no_error_moves_a_terminal_s_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    """Names of files and what other programs complain of stand in them; what is escaped already stays as it is."""
    assert cli.main(["scan", "/nowhere/\x1b]0;title\x07\u202e"]) == 69
    said = capsys.readouterr().err
    way_out = "name a log, or read the journal by --from journal"
    assert said == f"pop-before-smtp: /nowhere/\\x1b]0;title\\x07\\u202e: there is no such file; {way_out}\n"
    assert visible(escape("\\\x1b")) == escape("\\\x1b")
