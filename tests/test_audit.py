"""The audit trail: a line for each decision, in a file or the journal, that no stranger writes into."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from popbeforesmtp import audit, maillog
from popbeforesmtp.audit import Audit, decision_id
from popbeforesmtp.errors import CannotCreateError
from popbeforesmtp.model import Origin
from popbeforesmtp.rules import by_hand
from tests.scenes import Ear
from tests.test_rules import CLIENT, LOGIN, NOW, ORIGIN, ask, granted

HOSTILE = 'a\nb\x1b[31m\u202e\udcff "x" account=root'
FIELDS = [
    *("event", "time", "id", "address", "account", "source", "offset"),
    *("format", "service", "rule", "until"),
]


@pytest.fixture
def ear() -> Ear:
    """Hear what is said."""
    maillog.open_log("stderr")
    heard = Ear()
    maillog._log.addHandler(heard)
    return heard


def test_a_line_has_the_same_names_in_the_same_order_each_time(tmp_path: Path) -> None:
    """What is not known is left out."""
    trail = Audit(str(tmp_path / "audit"))
    trail.granted("grant", granted(ask(LOGIN)), NOW.wall)
    trail.granted("grant", by_hand(CLIENT, NOW.wall, NOW, 1000, "printer"), NOW.wall)
    trail("refuse", ORIGIN._replace(cursor="s=1"), CLIENT, "bob", NOW.wall, reason="no", service=None)
    trail.close()
    login, hand, refused = map(json.loads, (tmp_path / "audit").read_text().splitlines())
    assert list(login) == FIELDS
    assert login == {
        "event": "grant",
        "time": "2026-11-22T12:00:00.000+00:00",
        "id": decision_id(ORIGIN, CLIENT, "alice"),
        "address": CLIENT,
        "account": "alice",
        "source": "/var/log/mail.log",
        "offset": 4711,
        "format": "dovecot",
        "service": "imap",
        "rule": "grace",
        "until": "2026-11-22T12:30:00.000+00:00",
    }
    assert list(hand) == [*FIELDS[:7], "cursor", "rule", "until", "uid", "reason"]
    assert (hand["uid"], hand["reason"], hand["source"]) == (1000, "printer", "by hand")
    assert list(refused) == [*FIELDS[:7], "cursor", "reason"]


def test_a_line_that_is_read_twice_has_the_same_id_and_no_other_has() -> None:
    """By log, offset, cursor, address and account; names that are no UTF-8 too."""
    ids = {
        decision_id(Origin(source, offset, cursor), client, user)
        for source in ("/a", "/b")
        for offset in (0, 1)
        for cursor in ("", "s=1")
        for client in (CLIENT, "192.0.2.11")
        for user in ("", "alice", "\udcff")
    }
    assert len(ids) == 48
    assert decision_id(ORIGIN, CLIENT, "alice") == decision_id(ORIGIN, CLIENT, "alice")


def test_hostile_text_stays_in_its_field(tmp_path: Path) -> None:
    """One line of printable ASCII, which reads back as it was."""
    trail = Audit(str(tmp_path / "audit"))
    trail("refuse", Origin(HOSTILE, 0), CLIENT, HOSTILE, NOW.wall, reason=HOSTILE)
    trail.close()
    text = (tmp_path / "audit").read_text()
    assert text.count("\n") == 1
    assert text[:-1].isascii()
    assert text[:-1].isprintable()
    assert [json.loads(text)[name] for name in ("account", "source", "reason")] == [HOSTILE] * 3


def test_a_rotated_trail_is_let_go_and_a_new_one_is_made(tmp_path: Path) -> None:
    """Nobody has to tell us."""
    path = tmp_path / "audit"
    trail = Audit(str(path))
    trail("refuse", ORIGIN, CLIENT, "before", NOW.wall)
    path.rename(tmp_path / "audit.1")
    trail("refuse", ORIGIN, CLIENT, "after", NOW.wall)
    trail.close()
    assert "before" in (tmp_path / "audit.1").read_text()
    assert "after" in path.read_text()


def test_a_trail_that_cannot_be_written_is_said_once_and_keeps_nobody_waiting(tmp_path: Path, ear: Ear) -> None:
    """It is tried again with each decision, and said once when it works."""
    folder = tmp_path / "folder"
    folder.mkdir()
    trail = Audit(str(folder / "audit"))
    (folder / "audit").rename(tmp_path / "audit.1")
    folder.rename(tmp_path / "gone")
    for _ in range(3):
        trail("refuse", ORIGIN, CLIENT, "alice", NOW.wall)
    assert trail.trouble == f"audit {folder}/audit: No such file or directory"
    assert ear.said == [f"{trail.trouble}; trying again"]
    (tmp_path / "gone").rename(folder)
    for user in ("bob", "carol"):
        trail("refuse", ORIGIN, CLIENT, user, NOW.wall)
    assert trail.trouble is None
    assert ear.said[1:] == [f"audit {folder}/audit works again"]
    trail.close()
    assert [json.loads(line)["account"] for line in (folder / "audit").read_text().splitlines()] == ["bob", "carol"]


def test_a_full_disk_ends_nothing(ear: Ear) -> None:
    """Neither a decision nor the end of the daemon."""
    trail = Audit("/dev/full")
    trail("refuse", ORIGIN, CLIENT, "alice", NOW.wall)
    assert trail.trouble == "audit /dev/full: No space left on device"
    trail.close()
    assert len(ear.said) == 1


def test_a_trail_that_cannot_begin_ends_the_start(tmp_path: Path) -> None:
    """In one sentence."""
    with pytest.raises(CannotCreateError, match="cannot be written: No such file or directory"):
        Audit(str(tmp_path / "none" / "audit"))


def test_without_a_trail_nothing_is_written() -> None:
    """And nothing goes wrong."""
    trail = Audit("")
    trail("refuse", ORIGIN, CLIENT, "alice", NOW.wall)
    trail.granted("grant", granted(ask(LOGIN)), NOW.wall)
    trail.close()
    assert trail.trouble is None


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Listen where journald does."""
    path = tmp_path / "socket"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(path))
    listener.settimeout(5)
    monkeypatch.setattr(audit, "_JOURNAL", path)
    with listener:
        yield listener


def test_the_journal_gets_each_field_by_its_name(journal: socket.socket) -> None:
    """In its native protocol: a field a line; no stranger's text begins another, nor a pair in the message."""
    trail = Audit("journal")
    trail("refuse", ORIGIN, CLIENT, HOSTILE, NOW.wall, reason="no", uid=7)
    lines = journal.recv(65536).decode().split("\n")
    assert lines.pop() == ""
    fields = dict(line.split("=", 1) for line in lines)
    assert len(fields) == len(lines)
    assert fields.keys() == {"MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER"} | {
        f"PBS_{name}" for name in ("EVENT", "TIME", "ID", "ADDRESS", "ACCOUNT", "SOURCE", "OFFSET", "REASON", "UID")
    }
    assert fields["PBS_ACCOUNT"] == "\\x0a".join(("a", 'b\\x1b[31m\\u202e\\xff "x" account=root'))
    assert fields["MESSAGE"].startswith(f'event=refuse id={fields["PBS_ID"]} address={CLIENT} account="a\\x0ab')
    assert '\\"x\\" account=root" source=' in fields["MESSAGE"]
    journal.close()
    trail("refuse", ORIGIN, CLIENT, "alice", NOW.wall)
    assert trail.trouble == "audit journal: Connection refused"
    trail.close()


def test_a_journal_that_takes_nothing_keeps_nobody_waiting(journal: socket.socket) -> None:
    """Its queue is full, or the text too long: said once."""
    trail = Audit("journal")
    for _ in range(1000):
        trail("refuse", ORIGIN, CLIENT, "alice", NOW.wall)
    assert trail.trouble == "audit journal: Resource temporarily unavailable"
    while trail.trouble:
        journal.recv(65536)
        trail("refuse", ORIGIN, CLIENT, "alice", NOW.wall)
    trail("refuse", ORIGIN, CLIENT, "x" * 10_000_000, NOW.wall)
    assert trail.trouble == "audit journal: Message too long"
    trail.close()


def test_without_a_journal_the_start_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one sentence, with a way out."""
    monkeypatch.setattr(audit, "_JOURNAL", tmp_path / "none")
    with pytest.raises(CannotCreateError, match="there is no journal on this host; name a file"):
        Audit("journal")


@pytest.mark.parametrize("later", [False, True], ids=["at the start", "behind a rotation"])
def test_a_trail_follows_no_symlink(tmp_path: Path, ear: Ear, *, later: bool) -> None:
    """Root's daemon would write into another file of root's; it is said, and nobody waits."""
    path, secret = tmp_path / "audit", tmp_path / "secret"
    secret.touch()
    if later:
        trail = Audit(str(path))
        path.unlink()
    path.symlink_to(secret)
    if not later:
        with pytest.raises(CannotCreateError, match="symbolic links"):
            Audit(str(path))
        return
    trail("refuse", ORIGIN, CLIENT, "bob", NOW.wall)
    trail("refuse", ORIGIN, CLIENT, "bob", NOW.wall)
    assert secret.read_text() == ""
    assert trail.trouble is not None
    assert [said for said in ear.said if "symbolic links" in said] == [f"{trail.trouble}; trying again"]
    trail.close()
