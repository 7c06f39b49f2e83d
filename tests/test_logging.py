"""Where the daemon's log goes, as an administrator asks for it: a file, syslog, JSON."""

import json
import logging
import os
import signal
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from popbeforesmtp import maillog
from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.errors import CannotCreateError
from popbeforesmtp.model import Reason
from tests.clocks import START
from tests.site import CLIENT, OTHER, Site, wait_for

EVIL = 'x" level="error\\ {"a": 1} \x1b[2J\u202e\udcff'
"""A user's name with all that could break out of a line: quotes, a backslash, an escape sequence, no UTF-8."""
WRITABLE = EVIL.replace("\x1b[2J", "")
"""What of it can stand in a line that is a login: a control character makes it none."""


@pytest.fixture(autouse=True)
def _log_is_restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave the log as it was, whatever becomes of it in a test."""
    log = maillog._log
    handlers, propagate, level = log.handlers, log.propagate, log.level
    monkeypatch.setattr(logging, "raiseExceptions", logging.raiseExceptions)
    log.handlers = []
    yield
    for handler in log.handlers:
        with suppress(OSError):
            handler.close()
    log.handlers, log.propagate = handlers, propagate
    log.setLevel(level)
    maillog._said.clear()


class Syslog:
    """The other end of /dev/log."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.begin()

    def begin(self) -> None:
        """Listen, as a syslog daemon that was just started."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self._path))
        self._socket.setblocking(False)

    def messages(self) -> list[str]:
        """Return what has come since the last time."""
        said = []
        while True:
            try:
                said.append(self._socket.recv(65536).rstrip(b"\0").decode())
            except BlockingIOError:
                return said

    def end(self) -> None:
        """Stop listening."""
        self._socket.close()
        self._path.unlink()


@pytest.fixture
def syslog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Syslog]:
    """Be syslog."""
    monkeypatch.setattr(maillog, "_DEV_LOG", tmp_path / "log")
    listening = Syslog(tmp_path / "log")
    yield listening
    maillog.open_log("stderr")
    listening.end()


def refuse(user: str) -> None:
    """Say that somebody was refused."""
    maillog._said.clear()
    maillog.refused(ClientAddress(CLIENT), user, Reason.OWN, "/var/log/mail.log", 7, START)


def test_a_log_named_on_the_command_line_takes_the_place_of_the_configured_one(site: Site) -> None:
    """All is said there, with the time in front, in a file that is not for everybody; standard error stays empty."""
    log = site.folder / "other.log"
    process = site.start("--log", log)
    site.ready()
    site.login(CLIENT)
    wait_for("the grant is said", lambda: f"granted client={CLIENT} " in log.read_text())
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=5) == 0
    lines = log.read_text().splitlines()
    assert "starting version=" in lines[0]
    assert "stopping reason=SIGTERM" in lines[-1]
    assert all(datetime.strptime(line[:19], "%Y-%m-%d %H:%M:%S").astimezone() for line in lines)
    assert stat.S_IMODE(log.stat().st_mode) == 0o640
    assert (site.folder / "stderr").read_bytes() == b""
    assert not site.said_to.exists()


@pytest.mark.parametrize("where", ["file", "stderr"])
def test_with_json_every_line_is_an_object_with_its_time_level_and_event(site: Site, where: str) -> None:
    """From the start to the end and through a reload; a hostile name is data, byte for byte, on one line."""
    process = site.start("--json", "--debug", "--log", site.said_to if where == "file" else "stderr")
    site.ready()
    for client in (CLIENT, OTHER):
        site.login(client)
    with site.log.open("ab") as log:
        log.write(f"{datetime.now(UTC).isoformat()} mx1 dovecot: imap-login: Login: user=<".encode())
        log.write(WRITABLE.encode("utf-8", "surrogateescape"))
        log.write(b">, method=PLAIN, rip=192.0.2.12, lip=198.51.100.1, mpid=7, session=<abc>\n")
    wait_for("all are granted", lambda: len(site.windows()) == 3)
    process.send_signal(signal.SIGHUP)
    said = site.said_to if where == "file" else site.folder / "stderr"
    wait_for("the configuration is read again", lambda: '"reloaded"' in said.read_text())
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=5) == 0
    lines = [json.loads(line) for line in said.read_bytes().split(b"\n")[:-1]]
    for line in lines:
        assert datetime.fromisoformat(line["time"]).utcoffset() is not None
        assert line["level"] in ("debug", "info", "warning", "error")
        assert line["event"]
    granted = {line["client"]: line for line in lines if line["event"] == "granted"}
    assert {client: line["user"] for client, line in granted.items()} == {
        CLIENT: "alice",
        OTHER: "alice",
        "192.0.2.12": WRITABLE,
    }
    assert granted["192.0.2.12"]["source"] == str(site.log)
    assert [line["event"] for line in lines if line["event"] not in ("notice", "granted")][:2] == ["starting", "ready"]
    assert lines[-1]["event"] == "stopping"


def test_in_json_the_time_is_when_it_was_said(tmp_path: Path) -> None:
    """Always, and never the stamp of the line that it is about, which may be a year away or unknown."""
    log = tmp_path / "log"
    before = datetime.now(UTC)
    maillog.open_log(str(log), as_json=True)
    refuse("alice")
    maillog.refused(ClientAddress(OTHER), "alice", Reason.NO_TIME, "/var/log/mail.log", 7, None)
    maillog.open_log("stderr")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(lines) == 2
    for line in lines:
        assert -1 < (datetime.fromisoformat(line["time"]) - before).total_seconds() < 10


@pytest.mark.parametrize("as_json", [False, True])
def test_to_syslog_each_event_is_one_message_with_our_tag(syslog: Syslog, as_json: bool) -> None:
    """Facility mail and the level in front; a hostile name begins no second message and hides nothing."""
    maillog.open_log("syslog", as_json=as_json)
    refuse(EVIL)
    maillog.trouble("the store: disk full")
    maillog.failed("no more")
    said = syslog.messages()
    heads = [f"<{2 * 8 + level}>pop-before-smtp[{os.getpid()}]: " for level in (6, 4, 3)]
    assert [message.startswith(head) for message, head in zip(said, heads, strict=True)] == [True] * 3
    first = said[0].removeprefix(heads[0])
    assert "\n" not in first
    if as_json:
        assert json.loads(first)["user"] == EVIL
    else:
        assert first.isprintable()
        assert first.startswith(f"refused client={CLIENT} user=")


def test_a_syslog_that_was_started_again_is_talked_to_again(syslog: Syslog) -> None:
    """While it is away nothing fails; what is said after it has come back arrives."""
    maillog.open_log("syslog")
    maillog.notice("one")
    assert len(syslog.messages()) == 1
    syslog.end()
    maillog.notice("two")
    syslog.begin()
    maillog.notice("three")
    (message,) = syslog.messages()
    assert message.endswith(": three")


def test_a_syslog_that_takes_nothing_more_stops_nobody(syslog: Syslog) -> None:
    """Answers to mail servers must not wait for it: what it does not take is not said."""
    maillog.open_log("syslog")

    def flood() -> None:
        for number in range(2000):
            maillog.notice(f"notice {number}")

    flooding = threading.Thread(target=flood, daemon=True)
    flooding.start()
    flooding.join(3)
    hung = flooding.is_alive()
    while flooding.is_alive():  # let it go
        syslog.messages()
        flooding.join(0.01)
    assert not hung


def test_without_syslog_the_daemon_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence that names the setting, and the status of a file that cannot be made; the log stays as it was."""
    log = tmp_path / "daemon.log"
    maillog.open_log(str(log))
    monkeypatch.setattr(maillog, "_DEV_LOG", tmp_path / "none")
    with pytest.raises(CannotCreateError, match=r'^log = "syslog": cannot be written: No such file') as raised:
        maillog.open_log("syslog")
    maillog.notice("still here")
    maillog.open_log("stderr")
    assert raised.value.exit_status == os.EX_CANTCREAT
    assert log.read_text().endswith(" still here\n")


def test_a_full_disk_neither_stops_anybody_nor_keeps_another_log_from_being_opened(tmp_path: Path) -> None:
    """What was not written is lost; logrotate's signal, which comes when disks are full, is obeyed."""
    maillog.open_log("/dev/full")
    refuse(EVIL)
    maillog.failed("no more")
    maillog.open_log(str(tmp_path / "log"))
    maillog.notice("here")
    maillog.open_log("stderr")
    assert (tmp_path / "log").read_text().endswith(" here\n")
