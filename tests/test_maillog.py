"""What the daemon says."""

import json
import logging
import os
import re
import socket
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from popbeforesmtp import maillog
from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.errors import CannotCreateError
from popbeforesmtp.model import Authorization, Origin, Reason
from tests.clocks import START

CLIENT, OTHER = ClientAddress("192.0.2.1"), ClientAddress("2001:db8::2")
EVIL = 'x\n<3>granted client=203.0.113.1 user="root" \x1b[2J\u202e\udcff\\'
GRANT = Authorization(
    client=CLIENT,
    expires_at=START + timedelta(minutes=30),
    deadline=2800.0,
    user="alice",
    service="imap",
    login_at=START,
    format="dovecot",
    origin=Origin("/var/log/mail.log", 4711),
)


class Stderr:
    """Standard error as the daemon has it: a real file."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._writer = path.open("w", encoding="utf-8", buffering=1)
        self._reader = path.open(encoding="utf-8", newline="\n")

    def begin(self, *, debug: bool = True, as_json: bool = False, journal: str | None = None) -> None:
        """Begin to log, with ``JOURNAL_STREAM`` as given."""
        self._monkeypatch.delenv("JOURNAL_STREAM", raising=False)
        if journal is not None:
            self._monkeypatch.setenv("JOURNAL_STREAM", journal)
        self._monkeypatch.setattr(sys, "stderr", self._writer)
        maillog.open_log("stderr", debug=debug, as_json=as_json)

    def device_and_inode(self) -> str:
        """Name it as systemd names it to a service."""
        status = os.fstat(self._writer.fileno())
        return f"{status.st_dev}:{status.st_ino}"

    def lines(self) -> list[str]:
        """Return what was said since the last time."""
        return self._reader.read().split("\n")[:-1]

    def close(self) -> None:
        """Close the file."""
        self._writer.close()
        self._reader.close()


@pytest.fixture
def stderr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stderr]:
    """Log to a standard error that is not the journal, everyday things too; nothing has been refused yet."""
    logger = logging.getLogger("pop-before-smtp")
    handlers, propagate, level = logger.handlers, logger.propagate, logger.level
    monkeypatch.setattr(maillog, "_said", OrderedDict())
    monkeypatch.setattr(logging, "raiseExceptions", True)
    file = Stderr(tmp_path / "stderr", monkeypatch)
    file.begin()
    logging.raiseExceptions = True  # a mistake in here is to be seen
    yield file
    for handler in logger.handlers:
        if handler not in handlers:
            handler.close()
    logger.handlers, logger.propagate = handlers, propagate
    logger.setLevel(level)
    file.close()


def without_time(line: str) -> str:
    """Take the time off a line, which must have one."""
    match = re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (.*)", line)
    assert match is not None, line
    return match[1]


def test_a_grant_says_who_until_when_and_why(stderr: Stderr) -> None:
    """One line holds all that explains a grant, in words that do not change."""
    maillog.granted(GRANT)
    (line,) = stderr.lines()
    assert without_time(line) == (
        "granted client=192.0.2.1 user=alice service=imap until=2026-11-22T12:30:00Z rule=grace format=dovecot"
        " source=/var/log/mail.log offset=4711"
    )


def test_a_grant_by_hand_says_whose_and_what_for(stderr: Stderr) -> None:
    """As a revocation by hand does."""
    maillog.granted(GRANT._replace(rule="by hand", uid=1000, why="a printer"))
    (line,) = stderr.lines()
    assert line.endswith(' offset=4711 uid=1000 reason="a printer"')


def test_a_user_name_cannot_write_a_line_of_its_own(stderr: Stderr) -> None:
    """A name with a line end, an escape sequence or quotes stays within its quotes on its line."""
    maillog.granted(GRANT._replace(user=EVIL))
    (line,) = stderr.lines()
    quoted = r'user="x\x0a<3>granted client=203.0.113.1 user=\"root\" \x1b[2J\u202e\xff\\" service=imap'
    assert quoted in line
    assert line.isprintable()


def every_call(text: str) -> list[Callable[[], None]]:
    """Return everything that can be said, with a stranger's text wherever a stranger's text may stand."""
    origin = Origin(text, 1)
    return [
        lambda: maillog.starting("1.0", 1),
        lambda: maillog.found(text),
        lambda: maillog.ready(3),
        lambda: maillog.stopping(text),
        lambda: maillog.granted(GRANT._replace(user=text, service=text, origin=origin)),
        lambda: maillog.renewed(GRANT._replace(user=text, service=text, origin=origin)),
        lambda: maillog.expired(CLIENT),
        lambda: maillog.revoked(CLIENT, Reason.OWN),
        maillog.reloaded,
        lambda: maillog.refused(CLIENT, text, Reason.NEVER, text, 1, START),
        lambda: maillog.left_out(text, CLIENT, text),
        lambda: maillog.published(text, 1, 2),
        lambda: maillog.notice(text),
        lambda: maillog.trouble(text),
        lambda: maillog.recovered(text),
        lambda: maillog.failed(text),
        lambda: maillog.broken_line(text, 1, ValueError(text)),
    ]


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=30) | st.binary(max_size=30).map(lambda data: data.decode("utf-8", "surrogateescape")))
def test_whatever_is_said_is_one_printable_line(stderr: Stderr, text: str) -> None:
    """No text of a stranger, a path or an error breaks the line or moves the cursor, and nothing is left unsaid."""
    for text_of_stranger in (text, EVIL + text):
        maillog._said.clear()
        for call in every_call(text_of_stranger):
            call()
            lines = stderr.lines()
            assert len(lines) == 1
            assert lines[0].isprintable()


def test_under_systemd_the_level_stands_in_front(stderr: Stderr) -> None:
    """The journal reads the level, knows the time by itself, and a stranger's ``<3>`` is no level."""
    stderr.begin(journal=stderr.device_and_inode())
    maillog.granted(GRANT)
    maillog.renewed(GRANT)
    maillog.trouble("/var/log/mail.log: Permission denied")
    maillog.failed("the disk is full")
    maillog.notice("<3>x\n<0>y")
    info, debug, warning, error, hostile = stderr.lines()
    assert info.startswith("<6>granted client=192.0.2.1 ")
    assert debug.startswith("<7>renewed client=192.0.2.1 ")
    assert warning == "<4>/var/log/mail.log: Permission denied; trying again"
    assert error == "<3>the disk is full"
    assert hostile == r"<6><3>x\x0a<0>y"


def test_a_journal_that_is_not_our_standard_error_gets_no_levels(stderr: Stderr) -> None:
    """The variable is inherited; only where it names our own standard error are we talking to journald."""
    stderr.begin(journal="1:1")
    maillog.ready(3)
    (line,) = stderr.lines()
    assert without_time(line) == "ready authorizations=3"


def test_renewals_are_said_only_on_request(stderr: Stderr) -> None:
    """A client that logs in every minute fills no log, but what changes who may relay is always said."""
    stderr.begin(debug=False)
    maillog.renewed(GRANT)
    maillog.published("clients", 1, 1)
    assert stderr.lines() == []
    maillog.granted(GRANT)
    maillog.expired(CLIENT)
    assert [without_time(line).partition(" ")[0] for line in stderr.lines()] == ["granted", "expired"]


def test_to_begin_again_does_not_say_everything_twice(stderr: Stderr, caplog: pytest.LogCaptureFixture) -> None:
    """However often logging is set up, each line comes once, and none goes on to other loggers."""
    stderr.begin()
    stderr.begin()
    maillog.ready(0)
    assert len(stderr.lines()) == 1
    assert caplog.records == []


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=30) | st.binary(max_size=30).map(lambda data: data.decode("utf-8", "surrogateescape")))
def test_as_json_every_line_is_one_object_that_holds_the_text_as_it_was(stderr: Stderr, text: str) -> None:
    """A program gets the fields by name, byte for byte, on one line of ASCII, with the time and the level."""
    stderr.begin(as_json=True)
    maillog.granted(GRANT._replace(user=text))
    maillog.trouble(text)
    grant, trouble = stderr.lines()
    assert (grant + trouble).isascii()
    assert (grant + trouble).isprintable()
    told = json.loads(grant)
    assert datetime.fromisoformat(told.pop("time")).utcoffset() == timedelta()
    assert told == {
        "level": "info",
        "event": "granted",
        "client": "192.0.2.1",
        "user": text,
        "service": "imap",
        "until": "2026-11-22T12:30:00Z",
        "rule": "grace",
        "format": "dovecot",
        "source": "/var/log/mail.log",
        "offset": 4711,
    }
    told = json.loads(trouble)
    assert (told["level"], told["event"], told["text"]) == ("warning", "notice", f"{text}; trying again")


def test_a_log_file_that_was_rotated_is_let_go(stderr: Stderr, tmp_path: Path) -> None:
    """To begin anew opens the file by its name again, and what was said before is in the file that was moved away."""
    path = tmp_path / "daemon.log"
    maillog.open_log(str(path))
    maillog.ready(1)
    path.rename(tmp_path / "daemon.log.1")
    maillog.ready(2)
    maillog.open_log(str(path))
    maillog.ready(3)
    moved = (tmp_path / "daemon.log.1").read_text().splitlines()
    assert [without_time(line) for line in moved] == ["ready authorizations=1", "ready authorizations=2"]
    assert [without_time(line) for line in path.read_text().splitlines()] == ["ready authorizations=3"]
    assert stderr.lines() == []


def test_a_log_that_cannot_be_opened_leaves_the_old_one(stderr: Stderr, tmp_path: Path) -> None:
    """Where the new place is none there is a sentence, and the daemon goes on saying where it did."""
    target = f"{tmp_path}/none/daemon.log"
    with pytest.raises(CannotCreateError, match=f'^log = "{re.escape(target)}": cannot be written: No such file'):
        maillog.open_log(target)
    maillog.ready(0)
    assert len(stderr.lines()) == 1


@pytest.mark.usefixtures("stderr")
def test_syslog_gets_the_facility_mail_our_tag_and_the_level(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line is one datagram to the socket of syslog(3)."""
    monkeypatch.setattr(maillog, "_DEV_LOG", tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "log"))
        server.settimeout(5)
        maillog.open_log("syslog")
        maillog.ready(3)
        maillog.failed("é\n<0>x")
        tag = f"pop-before-smtp[{os.getpid()}]: ".encode()
        assert server.recv(1000).rstrip(b"\0") == b"<22>" + tag + b"ready authorizations=3"
        assert server.recv(1000).rstrip(b"\0") == b"<19>" + tag + "é\\x0a<0>x".encode()


def test_a_refusal_says_who_why_and_where_from(stderr: Stderr) -> None:
    """One line explains why a login opened nothing."""
    maillog.refused(CLIENT, "alice", Reason.STALE, "/var/log/mail.log", 4711, START)
    maillog.refused(OTHER, "a b", Reason.NO_TIME, "journal", 0, None)
    assert [without_time(line) for line in stderr.lines()] == [
        'refused client=192.0.2.1 user=alice reason="older than the grace period" stamp=2026-11-22T12:00:00Z'
        " source=/var/log/mail.log offset=4711",
        'refused client=2001:db8::2 user="a b" reason="no usable time stamp" stamp=unknown source=journal offset=0',
    ]


def test_a_refusal_is_said_once_for_each_reason_and_client(stderr: Stderr) -> None:
    """A webmail that logs in all day is one line, but another reason or another client is another."""
    for _ in range(3):
        for client in (CLIENT, OTHER):
            for reason in (Reason.OWN, Reason.TRUSTED):
                maillog.refused(client, "alice", reason, "log", 1, START)
                maillog.refused(client, "bob", reason, "other log", 2, None)
    told = [re.findall(r'client=(\S+) .* reason="([^"]+)"', line) for line in stderr.lines()]
    assert told == [
        [("192.0.2.1", Reason.OWN.value)],
        [("192.0.2.1", Reason.TRUSTED.value)],
        [("2001:db8::2", Reason.OWN.value)],
        [("2001:db8::2", Reason.TRUSTED.value)],
    ]


def test_what_was_said_is_remembered_only_so_far(stderr: Stderr, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory has a bound: the refusal that was said longest ago is forgotten, and may be said again."""
    monkeypatch.setattr(maillog, "_REFUSALS", 2)
    one, two, three = (ClientAddress(f"192.0.2.{number}") for number in (1, 2, 3))
    for client in (one, two, three, three, two, one):
        maillog.refused(client, "alice", Reason.OWN, "log", 1, START)
    assert re.findall(r"client=(\S+)", "\n".join(stderr.lines())) == [one, two, three, one]
    assert len(maillog._said) == 2
