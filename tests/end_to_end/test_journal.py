"""The journal of a real systemd-journald: who wrote an entry cannot be forged, and no entry is missed."""

import os
import shutil
import signal
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from popbeforesmtp.model import Sender
from popbeforesmtp.sources._cursor import read_checkpoint
from tests.end_to_end.journal import DOVECOT, PERSISTENT, RUNTIME, SESSION, SOCKETS, Follower, Journald, pop3_login
from tests.end_to_end.lab import wait_for

FORGED = "pop3-login: Login: user=<alice>, method=PLAIN, rip=9.9.9.9, lip=127.0.0.1, mpid=1, session=<AAAA>"
USER = 1000


@pytest.fixture(scope="module")
def journald(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journald]:
    """Start journald, once."""
    started = Journald(tmp_path_factory.mktemp("journald"))
    yield started
    started.stop()


@pytest.fixture
def follower(journald: Journald) -> Iterator[Follower]:
    """Follow the journal from its beginning."""
    follower = Follower()
    yield follower
    follower.source.close()


def sender(follower: Follower, text: str) -> Sender:
    """Return who wrote the entry with this text."""
    message = follower.wait_for(text)
    assert message.program == b"dovecot"
    assert message.time is not None
    assert message.sender is not None
    return message.sender


def send(text: bytes, *, group: str, uid: int, journald: Journald) -> None:
    """Write a datagram in journald's own protocol, as any user may."""
    journald.run(["logger", "--journald"], group=group, uid=uid, text=text)


def test_the_journal_says_who_dovecot_is(journald: Journald, follower: Follower) -> None:
    """A real login by a real Dovecot: its log process writes it, as root, in its unit."""
    journald.start_dovecot()
    pop3_login()
    wait_for("the login is there", lambda: any("Login: user=<alice>" in text for text in follower.read()))
    (login,) = [message for message in follower.messages if b"Login: user=<alice>" in message.text]
    assert login.program == b"dovecot"
    assert login.text.startswith(b"pop3-login: Login: user=<alice>, method=PLAIN, rip=127.0.0.1, ")
    assert login.sender == Sender(
        unit="dovecot.service",
        uid=0,
        exe=str(Path("/usr/lib/dovecot/log").resolve()),
        host=socket.gethostname(),
        transport="syslog",
        whole=True,
    )


def test_logger_by_a_local_user_has_neither_the_unit_nor_the_user(journald: Journald, follower: Follower) -> None:
    """The tag is theirs to choose, and nothing else is."""
    journald.logger(FORGED, group=SESSION, uid=USER)
    who = sender(follower, FORGED)
    assert (who.uid, who.transport, who.whole) == (USER, "syslog", True)
    assert who.unit in ("session-1.scope", "")  # "" where the process was gone before journald looked
    assert not who.exe.startswith("/usr/lib/dovecot")


def test_logger_by_root_outside_of_the_unit_has_not_the_unit(journald: Journald, follower: Follower) -> None:
    """A shell of root's is not the server."""
    text = f"{FORGED} by root"
    journald.logger(text)
    who = sender(follower, text)
    assert (who.uid, who.unit) == (0, "")


def test_logger_within_the_unit_has_neither_the_program_nor_the_user(journald: Journald, follower: Follower) -> None:
    """What a sieve filter or a broken imapd runs is in the unit too."""
    text = f"{FORGED} by mail"
    journald.logger(text, group=DOVECOT, uid=8)
    who = sender(follower, text)
    assert who.uid == 8
    assert who.exe in ("/usr/bin/logger", "")


def test_fields_that_a_client_may_not_send_are_not_believed(journald: Journald, follower: Follower) -> None:
    """They are dropped, and journald says what it knows by itself; the time is its own too."""
    forged = (
        "MESSAGE=native\nSYSLOG_IDENTIFIER=dovecot\n_UID=0\n_SYSTEMD_UNIT=dovecot.service\n"
        "_EXE=/usr/lib/dovecot/log\n_TRANSPORT=syslog\n_HOSTNAME=forged\n_LINE_BREAK=line-max\n"
        "_SOURCE_REALTIME_TIMESTAMP=4102444800000000\n__REALTIME_TIMESTAMP=4102444800000000\n"
    )
    send(forged.encode(), group=SESSION, uid=USER, journald=journald)
    who = sender(follower, "native")
    assert (who.uid, who.transport, who.host, who.whole) == (USER, "journal", socket.gethostname(), True)
    assert who.unit in ("session-1.scope", "")
    assert who.exe in ("/usr/bin/logger", "")
    time = follower.wait_for("native").time
    assert time is not None
    assert time.year < 2100


def test_a_message_of_two_lines_stays_one_message(journald: Journald, follower: Follower) -> None:
    """An LF in a message begins no new one; a message that was sent twice in one entry is none."""
    text = f"first\n{FORGED}".encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.connect(str(SOCKETS / "socket"))
        field = b"MESSAGE\n" + struct.pack("<Q", len(text)) + text + b"\n"
        client.send(b"SYSLOG_IDENTIFIER=dovecot\nMESSAGE=twice-1\nMESSAGE=twice-2\n")
        client.send(b"SYSLOG_IDENTIFIER=dovecot\nMESSAGE=no UTF-8: \xff\n")
        client.send(b"SYSLOG_IDENTIFIER=dovecot\n" + field)
    follower.wait_for(text.decode())
    texts = [message.text for message in follower.messages]
    assert b"no UTF-8: \xff" in texts
    assert not [text for text in texts if text.startswith((b"twice", FORGED.encode() + b"\n"))]


def test_the_rest_of_a_line_that_was_cut_is_not_whole(journald: Journald, follower: Follower) -> None:
    """Behind 48 KiB of a line journald begins a new entry, with whatever stands there."""
    text = b"x" * 49152 + FORGED.encode() + b" cut\nthe next line\n"
    journald.run(["systemd-cat", "--identifier", "dovecot"], text=text)
    assert sender(follower, "the next line").whole
    rest = sender(follower, f"{FORGED} cut")
    assert (rest.transport, rest.whole) == ("stdout", False)


def test_rotation_and_vacuum_lose_nothing(journald: Journald, follower: Follower) -> None:
    """One journalctl goes on through both."""
    journald.logger("before the rotation")
    follower.wait_for("before the rotation")
    subprocess.run(["journalctl", "--rotate"], check=True, capture_output=True)
    journald.logger("behind the rotation")
    follower.wait_for("behind the rotation")
    subprocess.run(["journalctl", "--rotate", "--vacuum-files=1"], check=True, capture_output=True)
    journald.logger("behind the vacuum")
    follower.wait_for("behind the vacuum")
    assert follower.notices == []


def test_a_journald_that_is_killed_and_comes_back_is_followed(journald: Journald, follower: Follower) -> None:
    """It goes on in its files."""
    journald.logger("before the kill")
    follower.wait_for("before the kill")
    journald.kill()
    journald.start()
    journald.logger("behind the kill")
    follower.wait_for("behind the kill")
    assert follower.notices == []


def test_a_restart_reads_each_entry_once(journald: Journald, follower: Follower) -> None:
    """The place is behind the last entry that was handed over."""
    journald.logger("before the restart")
    follower.wait_for("before the restart")
    follower.source.close()
    journald.logger("during the restart")
    later = Follower(follower.checkpoint)
    later.wait_for("during the restart")
    journald.logger("behind the restart")
    later.wait_for("behind the restart")
    later.source.close()
    assert later.read() == ["during the restart", "behind the restart"]
    assert later.notices == []


def test_a_place_that_was_vacuumed_is_noticed_and_what_came_behind_it_is_read(
    journald: Journald, follower: Follower
) -> None:
    """Nothing that is still there is missed."""
    journald.logger("vacuumed")
    follower.wait_for("vacuumed")
    follower.source.close()
    subprocess.run(["journalctl", "--rotate", "--vacuum-files=1"], check=True, capture_output=True)
    subprocess.run(["journalctl", "--rotate"], check=True, capture_output=True)
    journald.logger("behind the vacuumed one")
    subprocess.run(["journalctl", "--vacuum-files=1"], check=True, capture_output=True)
    later = Follower(follower.checkpoint)
    later.wait_for("behind the vacuumed one")
    later.source.close()
    assert "vacuumed" not in later.read()
    assert [notice for notice in later.notices if "the place in the journal was lost" in notice]


@pytest.mark.parametrize("cursor", ["no-cursor", "s=1;i=2", "s=" + "0" * 32 + ";i=1;b=" + "0" * 32 + ";m=1;t=1;x=1"])
def test_a_cursor_of_another_journal_or_none_at_all_loses_nothing(
    journald: Journald, follower: Follower, cursor: str
) -> None:
    """What was written around its time is read again, and it is said."""
    text = f"beside the cursor {len(cursor)}"
    journald.logger(text)
    follower.wait_for(text)
    place = read_checkpoint(follower.checkpoint)
    assert place is not None
    checkpoint = (follower.checkpoint or "").replace(place.cursor, cursor)
    assert read_checkpoint(checkpoint) is not None
    later = Follower(checkpoint)
    later.wait_for(text)
    later.source.close()
    assert len(later.notices) == 1


def test_a_journalctl_that_is_killed_is_replaced_and_nothing_is_missed(journald: Journald, follower: Follower) -> None:
    """Each entry comes once, and it is said once."""
    journald.logger("before journalctl dies")
    follower.wait_for("before journalctl dies")
    (pid,) = _children("journalctl")
    os.kill(pid, signal.SIGKILL)
    journald.logger("while journalctl is dead")
    follower.wait_for("while journalctl is dead")
    assert follower.read().count("before journalctl dies") == 1
    assert follower.notices == ["journalctl ended with signal 9; it is started again"]
    follower.source.close()
    assert _children("journalctl") == []


def test_a_journal_that_moves_to_the_disk_is_followed_there(journald: Journald, follower: Follower) -> None:
    """A journalctl does not see a folder that comes later; the place is the same in the copy."""
    journald.logger("in memory")
    follower.wait_for("in memory")
    PERSISTENT.mkdir()
    journald.send(signal.SIGUSR1)
    wait_for("the journal has moved", lambda: any(PERSISTENT.rglob("system.journal")) and not any(RUNTIME.iterdir()))
    journald.logger("on the disk")
    follower.wait_for("on the disk")
    assert follower.read().count("in memory") == 1
    assert follower.notices == []


def test_a_journal_that_is_deleted_and_begun_anew_is_followed(journald: Journald, follower: Follower) -> None:
    """Somebody empties the folders; that is no reason to become blind."""
    journald.logger("deleted")
    follower.wait_for("deleted")
    journald.kill()
    for folder in (RUNTIME, PERSISTENT):
        for path in folder.glob("*"):
            shutil.rmtree(path)
    journald.start()
    journald.logger("in a new journal")
    follower.wait_for("in a new journal")


def _children(name: str) -> list[int]:
    """Return our child processes of this name, dead ones too."""
    pids = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in pids if Path(f"/proc/{pid}/comm").read_text().strip() == name]
