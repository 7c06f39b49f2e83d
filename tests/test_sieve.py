"""The sieve passes by only what can mean nothing: whoever reads what is left knows as much as who reads everything."""

import json
import tracemalloc
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popbeforesmtp import wiring
from popbeforesmtp.header import HeaderReader
from popbeforesmtp.model import EventKind, SessionEvent
from popbeforesmtp.sieve import Sieve, every_line
from popbeforesmtp.sight import SYSLOGDS
from tests.headers import NAMES, NOW, STRUCTURED, ZONED, ZONELESS, docker, unhurried

ENGINE = wiring.engine()
OFTEN = 16
BEHIND = "user=<alice>, method=PLAIN, rip=192.0.2.10, lip=198.51.100.1, mpid=7, TLS, session=<abc>"
LOGIN = f"imap-login: Login: {BEHIND}"
OWN_LOGIN = f"imap-login: Info: Login: {BEHIND}"
LOGOUT = "imap(alice)<7><abc>: Disconnected: Logged out in=26 out=818"
FAILURE = (
    "pop3-login: Disconnected (auth failed, 1 attempts in 2 secs): user=<bob>, method=PLAIN, rip=192.0.2.11,"
    " lip=198.51.100.1, session=<def>"
)
TIME = datetime(2026, 11, 22, 7, 14, tzinfo=UTC)
STYLES = {**ZONELESS, **ZONED}
OWN_STYLES = {
    "log4j": "2026-11-22 07:14:00,123 ",
    "nginx": "2026/11/22 07:14:00 ",
    "apache": "[22/Nov/2026:07:14:00 +0000] ",
    "svlogd": "2026-11-22_07:14:00.00000 ",
    **{name: write(TIME) for name, write in STYLES.items()},
}

STAMPS_OF = {"rfc3339": "2026-11-22T07:14:00.123456+00:00 ", "traditional": "Nov 22 07:14:00 "}

Events = list[tuple[int, SessionEvent]]


def sieve_that_met(*programs: str) -> Sieve:
    """Return the sieve of a log in which each of these programs has written more often than it takes."""
    sieve = ENGINE.sieve(SYSLOGDS)
    for program in programs:
        for _ in range(2 * OFTEN):
            sieve.met(program.encode())
    return sieve


def read_all(data: bytes) -> Events:
    """Read every line."""
    return list(_events(HeaderReader(UTC), data, every_line(data), 0, None))


def read_sifted(blocks: Iterable[bytes], sieve: Sieve) -> Events:
    """Read block by block what the sieve leaves, and tell it which programs are nobody's, as the daemon does."""
    header, found, offset = HeaderReader(UTC), Events(), 0
    for data in blocks:
        found += _events(header, data, sieve.find(data), offset, sieve)
        offset += len(data)
    return found


def _events(
    header: HeaderReader, data: bytes, places: Iterable[tuple[int, int]], offset: int, sieve: Sieve | None
) -> Iterable[tuple[int, SessionEvent]]:
    for start, end in places:
        assert data[end : end + 1] == b"\n"
        message = header.read(data[start:end], NOW)
        if message is None:
            continue
        if sieve is not None and not ENGINE.knows(message.program):
            sieve.met(message.program)
        event = ENGINE.read(message)
        if event is not None:
            yield offset + start, event


def passes_by(sieve: Sieve, line: str) -> bool:
    """Say whether a line is passed by: at the beginning of a block, in the middle, and at the end."""
    data = line.encode() + b"\n"
    alone = list(sieve.find(data)) == []
    assert alone == ((len(data), 2 * len(data) - 1) not in sieve.find(data * 3)), "not the same wherever it stands"
    return alone


# What is kept

HOSTILE = {  # host, and what somebody calls a program of theirs
    "an IPv6 host": ("2001:db8::1", ("2001", "2001/x")),
    "a short IPv6 host": ("fe80::1", ("fe80",)),
    "a host of syslog-ng": ("s_src@mx1/relay", ("s_src@mx1/relay", "s_src@mx1/x")),
    "a host that is called as a program": ("postfix", ("postfix", "postfix/smtpd")),
    "a host that is called as a login": ("imap-login", ("imap-login",)),
    "a host that is called as the server": ("dovecot", ("dovecot/", "dovecot-", "dovecot.")),
    "a host of digits": ("07", ("07", "14", "00")),
}


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("behind", NAMES)
def test_no_name_of_a_program_hides_the_logins_of_a_host(hostile: str, behind: str) -> None:
    """`logger -t 2001` must not make the logins of 2001:db8::1 unseen, in no style of header."""
    host, programs = HOSTILE[hostile]
    sieve = sieve_that_met(*programs, "F", "P", "mail.info", "mail", "x")
    for write in STYLES.values():
        line = write(TIME) + NAMES[behind].replace("mx1", host).format("dovecot") + LOGIN
        data = line.encode() + b"\n"
        assert read_sifted([data], sieve) == read_all(data), line


@pytest.mark.parametrize("program", ["imap-login", "pop3-login", "imap", "pop3", "Info", "07", "00", "dovecot"])
def test_no_name_of_a_program_hides_a_line_of_dovecots_own_log(program: str) -> None:
    """The service stands there where elsewhere the program does."""
    sieve = sieve_that_met(program)
    for stamp in OWN_STYLES.values():
        for text in (OWN_LOGIN, LOGIN, FAILURE, FAILURE.replace(": ", ": Info: ", 1), LOGOUT):
            data = f"{stamp}{text}\n".encode()
            assert read_all(data), "it is a line of Dovecot's"
            assert read_sifted([data], sieve) == read_all(data), data


@pytest.mark.parametrize("behind", ["host and tag", "host, tag and process"])
@pytest.mark.parametrize("style", ["traditional", "rfc3339"])
def test_each_kind_of_event_is_kept(style: str, behind: str) -> None:
    """Also one that rsyslog says was repeated."""
    head = STYLES[style](TIME) + NAMES[behind].format("dovecot")
    for text in (LOGIN, LOGOUT, FAILURE, f"message repeated 3 times: [ {FAILURE}]"):
        assert not passes_by(sieve_that_met("dovecot2", "dovecot-x"), head + text)
        assert len(read_all(f"{head}{text}\n".encode())) == 1


@pytest.mark.parametrize("line", ["", "x", "{}", " ", "\x00", "Nov 22", "Nov 22 07:14:00 mx1", "-- MARK --"])
def test_a_line_that_is_not_known_is_kept(line: str) -> None:
    """It is passed by because it is known, never because it is not."""
    assert not passes_by(sieve_that_met("postfix/smtpd", "cron"), line)


@pytest.mark.parametrize("program", [program.decode() for program in SYSLOGDS])
def test_what_a_syslog_daemon_says_is_kept_however_much_it_says(program: str) -> None:
    """Among a thousand other lines of its own stands that it has dropped messages."""
    sieve = sieve_that_met(program)
    for head in ("Nov 22 07:14:00 mx1 ", "2026-11-22T07:14:00Z mx1 "):
        assert not passes_by(sieve, f"{head}{program}: imjournal: 12 messages lost due to rate-limiting")


# What is passed by


@pytest.mark.parametrize("head", ["Nov 22 07:14:00 mx1 ", "2026-11-22T07:14:00.123456+01:00 2001:db8::1 "])
@pytest.mark.parametrize("tag", ["postfix/smtpd[12]: ", "postfix/qmgr[7]: ", "cron[1]: ", "cron: "])
def test_a_program_that_was_met_often_is_passed_by(head: str, tag: str) -> None:
    """Without that the sieve would be of no use; a program and its whole family, and no other."""
    assert not passes_by(sieve_that_met(), head + tag + LOGIN)
    assert passes_by(sieve_that_met("postfix/cleanup", "cron"), head + tag + LOGIN)
    assert not passes_by(sieve_that_met("postfix", "cro", "postfi", "croni", "post/fix"), head + tag + LOGIN)


def test_a_program_that_was_met_a_few_times_is_not_worth_it() -> None:
    """Each new expression costs."""
    sieve = ENGINE.sieve()
    for _ in range(OFTEN - 1):
        sieve.met(b"cron")
    assert not passes_by(sieve, "Nov 22 07:14:00 mx1 cron: x")
    sieve.met(b"cron")
    assert passes_by(sieve, "Nov 22 07:14:00 mx1 cron: x")


@pytest.mark.parametrize("text", ["auth: Error: x", "imap-login: Debug", "lmtp(7): Connect from local"])
def test_what_the_server_says_of_other_things_is_passed_by_where_it_cannot_mean_anything(text: str) -> None:
    """By what its messages begin with, once it has said such things often enough."""
    line = f"Nov 22 07:14:00 mx1 dovecot: {text}"
    assert not passes_by(ENGINE.sieve(), line)
    assert passes_by(sieve_that_met("dovecot"), line) == (not text.startswith("imap-login: "))


@pytest.mark.parametrize("family", ["dovecot/imap", "dovecot/x"])
def test_the_family_of_a_server_is_not_passed_by_as_a_whole(family: str) -> None:
    """Only that one program of it is."""
    sieve = Sieve({b"dovecot/pop3": (), b"dovecot": (b"imap-login: ",)})
    for _ in range(OFTEN):
        sieve.met(family.encode())
    assert passes_by(sieve, f"Nov 22 07:14:00 mx1 {family}: x")
    assert not passes_by(sieve, "Nov 22 07:14:00 mx1 dovecot/pop3: x")


# The shape of a block


def test_every_line_is_found_where_it_stands() -> None:
    """Empty ones too; a block ends with LF."""
    assert list(every_line(b"\na\n\nbc\n")) == [(0, 0), (1, 2), (3, 3), (4, 6)]
    assert list(ENGINE.sieve().find(b"\na\n\nbc\n")) == [(0, 0), (1, 2), (3, 3), (4, 6)]
    assert list(every_line(b"")) == []


@pytest.mark.parametrize(
    "before", ["Nov 22 07:14:00", "Nov 22 07:14:00 mx1", "2026-11-22T07:14:00Z", "2026 x", "9", "0"]
)
def test_a_line_that_breaks_off_hides_not_the_one_behind_it(before: str) -> None:
    """Whoever can write half a line must not swallow the next."""
    login = f"Nov 22 07:14:00 mx1 dovecot: {LOGIN}"
    for rest in (login, f"cron: x\n{login}", f"x cron: x\n{login}", f"\n\n{login}"):
        data = f"{before}\n{rest}\n".encode()
        assert read_sifted([data], sieve_that_met("cron")) == read_all(data)
        assert len(read_all(data)) == 1


# Whatever the log


HOSTS = ["mx1", "-", *(host for host, _ in HOSTILE.values())]
PROGRAMS = ["dovecot", "postfix/smtpd", "x", "rsyslogd", *(name for _, names in HOSTILE.values() for name in names)]
TEXTS = [LOGIN, OWN_LOGIN, LOGOUT, FAILURE, f"message repeated 2 times: [ {FAILURE}]", f"dovecot: {LOGIN}", "x", ""]

hosts = st.sampled_from(HOSTS)
programs = st.sampled_from(PROGRAMS) | st.from_regex(r"[A-Za-z0-9_./@+-]{1,8}", fullmatch=True)
texts = st.sampled_from(TEXTS)
stamps = st.sampled_from([*(write(TIME) for write in STYLES.values()), *OWN_STYLES.values(), "", "Nov 22 7:14:00 "])


@st.composite
def plain(draw: st.DrawFn) -> str:
    """Write a line with stamp, host and tag, or with some of them."""
    names = draw(st.sampled_from(list(NAMES.values()))).replace("mx1", draw(hosts))
    return draw(stamps) + draw(st.sampled_from([names, "", "{}: "])).format(draw(programs)) + draw(texts)


@st.composite
def structured(draw: st.DrawFn) -> str:
    """Write a line of RFC 5424."""
    head = draw(st.sampled_from(list(STRUCTURED.values()))).replace("mx1", draw(hosts))
    return head.format(stamp="2026-11-22T07:14:00Z ", program=draw(programs)) + draw(texts)


@st.composite
def inside(draw: st.DrawFn) -> str:
    """Write a line of a container's log, or of what is no log at all but JSON."""
    line, stream = draw(plain()), draw(st.sampled_from(["stdout", "stderr"]))
    if draw(st.booleans()):
        return f"2026-11-22T07:14:00Z {stream} {draw(st.sampled_from('FP'))} {line}"
    end = draw(st.sampled_from(["\n", ""]))
    return docker(line.encode() + end.encode(), TIME, stream).decode() if draw(st.booleans()) else json.dumps(line)


whole = st.one_of(plain(), structured(), inside()).map(str.encode)
broken = st.tuples(whole, st.integers(0, 80)).map(lambda pair: pair[0][: pair[1]])
joined = st.tuples(whole, whole).map(b"".join)
lines = st.one_of(whole, whole, broken, joined, st.just(b""), st.binary(max_size=40)).map(
    lambda x: x.replace(b"\n", b"")
)


@unhurried
@given(st.lists(st.lists(lines, min_size=1, max_size=8), max_size=5), st.lists(programs, max_size=6))
def test_what_is_passed_by_means_nothing_whatever_stands_in_the_log(blocks: list[list[bytes]], met: list[str]) -> None:
    """The same events at the same places, wherever a block ends, and whatever was met before."""
    data = [b"\n".join(block) + b"\n" for block in blocks]
    assert read_sifted(data, sieve_that_met(*met)) == read_all(b"".join(data))


@unhurried
@given(
    st.sampled_from(["rfc3339", "traditional"]),
    hosts,
    st.lists(st.lists(lines, max_size=8), min_size=3, max_size=6),
    st.lists(programs, max_size=6),
)
def test_the_usual_layout_hides_nothing_of_another(
    style: str, host: str, blocks: list[list[bytes]], met: list[str]
) -> None:
    """Blocks that begin alike teach where the tag stands; lines with other stamps and hosts stand among them."""
    first = f"{STAMPS_OF[style]}{host} cron: x".encode()
    data = [b"\n".join([first, *block]) + b"\n" for block in blocks]
    assert read_sifted(data, sieve_that_met(*met, "cron")) == read_all(b"".join(data))


@pytest.mark.parametrize("style", ["rfc3339", "traditional"])
def test_the_usual_layout_is_learned_and_unlearned(style: str) -> None:
    """From two blocks that begin alike, and from two that begin otherwise; at most so often."""
    sieve = sieve_that_met("cron")
    for number in range(100):
        line = f"{STAMPS_OF[style]}host{number} cron: x\n".encode()
        for _ in range(3):
            assert list(sieve.find(line * 4)) == []


@unhurried
@given(st.lists(lines, max_size=4), st.lists(programs, max_size=3))
def test_what_is_learned_on_the_way_hides_nothing(some: list[bytes], late: list[str]) -> None:
    """Many lines of one program, then others: the sieve changes while it is used."""
    flood = [f"Nov 22 07:14:00 mx1 {program}[1]: x".encode() for program in late for _ in range(OFTEN)]
    data = b"\n".join([*some, *flood, *some]) + b"\n"
    assert read_sifted([data, data], ENGINE.sieve(SYSLOGDS)) == read_all(data * 2)


@pytest.mark.parametrize("log", sorted(Path("sample_logs").glob("*.log")), ids=lambda log: log.name)
def test_where_ends_mean_nothing_only_logouts_are_passed_by(log: Path) -> None:
    """All else of the sample logs is read, and the logouts again once they mean something."""
    data, header = log.read_bytes(), HeaderReader(UTC)
    sieve = ENGINE.sieve(SYSLOGDS)
    sieve.mind_ends(ends=False)
    for program in ENGINE.programs:
        for _ in range(2 * OFTEN):
            sieve.met(program)
    found = list(_events(header, data, sieve.find(data), 0, None))
    assert [each for each in found if each[1].kind is not EventKind.LOGOUT] == [
        each for each in read_all(data) if each[1].kind is not EventKind.LOGOUT
    ]
    assert len(found) < len(read_all(data)) or log.name != "dovecot-2.3.19.1-traditional.log"
    sieve.mind_ends(ends=True)
    assert list(_events(HeaderReader(UTC), data, sieve.find(data), 0, None)) == read_all(data)


@pytest.mark.parametrize("log", sorted(Path("sample_logs").glob("*.log")), ids=lambda log: log.name)
def test_the_sample_logs_mean_the_same(log: Path) -> None:
    """However they are cut into blocks."""
    data = log.read_bytes()
    rows = data.splitlines(keepends=True)
    for size in (1, 7, 100, len(rows)):
        blocks = [b"".join(rows[at : at + size]) for at in range(0, len(rows), size)]
        assert read_sifted(blocks, ENGINE.sieve(SYSLOGDS)) == read_all(data)
    assert read_all(data) or "dovecot" not in log.name


# Bounds


def test_a_stranger_who_invents_programs_fills_no_memory() -> None:
    """A hundred thousand names, some of them often; a long one is no name."""
    sieve = ENGINE.sieve(SYSLOGDS)
    tracemalloc.start()
    for number in range(100_000):
        sieve.met(f"{number:x<64}".encode())
        sieve.met(f"often{number % 500}".encode())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4_000_000
    assert not passes_by(sieve, f"Nov 22 07:14:00 mx1 dovecot: {LOGIN}")


def test_a_line_that_blows_up_is_passed_in_time() -> None:
    """No expression tries anything twice: long lines of digits, blanks and names."""
    sieve = sieve_that_met("postfix/smtpd", "a", "a/b", *(f"a{number}" for number in range(60)))
    for piece in (b"1", b"1 ", b"Nov 22 07:14:00 ", b"a[", b"a/", b"dovecot[1", b" "):
        data = piece * (200_000 // len(piece)) + b"\n"
        assert list(sieve.find(data + data)) in ([], [(0, len(data) - 1), (len(data), 2 * len(data) - 1)])
