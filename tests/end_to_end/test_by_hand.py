"""Grants and revocations by hand with real servers: in the middle of sessions, over restarts, and over kill -9."""

import json
import pwd
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from popbeforesmtp.control import ask
from tests.end_to_end.lab import LMDB_PORT, LOG, MAP, SOCKETMAP_PORT, Daemon, Lab, rcpt, wait_for

Start = Callable[..., Daemon]

CLIENT, STRANGER = "192.0.2.10", "192.0.2.11"
CONTROL = Path("/run/pop-before-smtp/control")
STORE = MAP.parent / "state.sqlite"
ways = pytest.mark.parametrize("port", [SOCKETMAP_PORT, LMDB_PORT], ids=["socketmap", "lmdb"])
ends = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["restart", "kill -9"])

_MEMBER = """
import os, sys
from popbeforesmtp.control import ask
from popbeforesmtp.errors import NotPermittedError
uid, groups, path, command, address = int(sys.argv[1]), list(map(int, sys.argv[2].split())), *sys.argv[3:]
os.setgroups(groups)
os.setresgid(65534, 65534, 65534)
os.setresuid(uid, uid, uid)
try:
    ask(path, command, address=address, until=sys.stdin.read(), reason="the printer in the hall")
except NotPermittedError:
    sys.exit(77)
"""
"""Asks the daemon as another user; everything is imported before it becomes that user."""


def log_in(lab: Lab, daemon: Daemon, client: str = CLIENT, user: str = "alice") -> None:
    """Log in, and wait until both ways let the client in."""
    count = daemon.said().count(f"granted client={client} ")
    assert lab.clients.pop3_login(client, user)
    wait_for("the login is granted", lambda: daemon.said().count(f"granted client={client} ") > count)
    wait_for("the map lets it in", lambda: lab.clients.rcpt(client, LMDB_PORT).accepted)


def refused_as_revoked() -> int:
    """Return how many logins the daemon has refused because somebody revoked."""
    count: int = ask(CONTROL, "status")["counts"].get("refused: revoked by hand", 0)
    return count


def in_ten_minutes() -> datetime:
    """Return a moment without parts of seconds."""
    return (datetime.now(UTC) + timedelta(minutes=10)).replace(microsecond=0)


@ways
def test_a_revocation_ends_a_session_that_is_open_and_the_next_login_opens_it_again(
    lab: Lab, start: Start, port: int
) -> None:
    """The client keeps polling: at once it is refused, in the same session; its next poll counts again."""
    daemon = start()
    log_in(lab, daemon)
    smtp = lab.clients.smtp(CLIENT, port)
    assert rcpt(smtp).accepted
    revoked = daemon.command("revoke", CLIENT, "--reason", "sends spam")
    assert (revoked.returncode, revoked.stdout, revoked.stderr) == (0, f"{CLIENT} may no longer relay\n", "")
    if port == SOCKETMAP_PORT:
        assert rcpt(smtp).code == 554
    wait_for("Postfix hears of it within a second", lambda: rcpt(smtp).code == 554, seconds=1)
    assert lab.clients.rcpt(CLIENT, port).code == 554
    assert f'revoked-by-hand kind=address name={CLIENT} uid=0 reason="sends spam" ended=1' in daemon.said()
    log_in(lab, daemon)
    assert rcpt(smtp).accepted
    assert daemon.command("check", CLIENT).returncode == 0


@ways
def test_a_revocation_for_a_while_refuses_who_keeps_polling(lab: Lab, start: Start, port: int) -> None:
    """With --for 1d no login counts; what somebody grants by hand does, and `grant` says so."""
    daemon = start()
    log_in(lab, daemon)
    smtp = lab.clients.smtp(CLIENT, port)
    assert rcpt(smtp).accepted
    first, second = daemon.command("revoke", CLIENT, "--for", "1d").stdout.splitlines()
    assert first == f"{CLIENT} may no longer relay"
    assert re.fullmatch(rf"logins of {CLIENT} open nothing until [0-9-]{{10}} [0-9:]{{8}}", second)
    wait_for("Postfix hears of it within a second", lambda: rcpt(smtp).code == 554, seconds=1)
    for count, user in enumerate(("alice", "bob", "alice"), start=1):
        assert lab.clients.pop3_login(CLIENT, user)
        wait_for("the poll is refused", lambda c=count: refused_as_revoked() == c)
    assert rcpt(smtp).code == 554
    granted = daemon.command("grant", CLIENT, "--for", "10m")
    assert "(logins from there still open nothing, for it was revoked; this grant holds all the same)" in granted.stdout
    wait_for("Postfix hears of it", lambda: rcpt(smtp).accepted, seconds=1)


def test_a_revoked_account_leaves_the_others_on_its_address(lab: Lab, start: Start) -> None:
    """Bob's login goes on where alice's is taken back; where she was alone, the address is out."""
    daemon = start()
    log_in(lab, daemon, CLIENT, "alice")
    assert lab.clients.pop3_login(CLIENT, "bob")
    wait_for("bob's login counts", lambda: '"bob"' in daemon.command("list", "--json").stdout)
    log_in(lab, daemon, STRANGER, "alice")
    revoked = daemon.command("revoke", "--user", "ALICE")
    assert (revoked.returncode, revoked.stdout) == (0, f"{STRANGER} may no longer relay\n")
    assert lab.clients.rcpt(CLIENT).accepted
    assert lab.clients.rcpt(STRANGER).code == 554
    wait_for("the map has heard", lambda: lab.clients.rcpt(STRANGER, LMDB_PORT).code == 554)
    assert lab.clients.rcpt(CLIENT, LMDB_PORT).accepted
    assert [entry["user"] for entry in json.loads(daemon.command("list", "--json").stdout)] == ["bob"]


def test_a_revocation_ends_sessions_that_are_held(lab: Lab, start: Start) -> None:
    """The phone is still logged in, and no longer relays; nothing brings that session's leave back."""
    daemon = start(more='hold = "1h"\n')
    assert lab.clients.pop3_login(STRANGER)
    wait_for("a logout was seen", lambda: "pop3(alice)" in LOG.read_text())
    idle = lab.clients.idle(CLIENT)
    wait_for("its session is held", lambda: '"hold"' in daemon.command("list", "--json").stdout)
    assert daemon.command("revoke", "--user", "alice").returncode == 0
    assert lab.clients.rcpt(CLIENT).code == 554
    daemon.stop(signal.SIGKILL)
    again = start(more='hold = "1h"\n')
    assert lab.clients.rcpt(CLIENT).code == 554
    assert again.command("list", "--json").stdout == "[]\n"
    idle.logout()


@ways
@pytest.mark.parametrize("lost", [False, True], ids=["from the checkpoint", "from the beginning"])
def test_a_crash_after_a_revocation_lets_nobody_in_again(lab: Lab, start: Start, port: int, lost: bool) -> None:
    """Killed in the moment of the answer; the lines of before open nothing, even if all of them are read anew."""
    daemon = start()
    log_in(lab, daemon)
    assert ask(CONTROL, "revoke", address=CLIENT) == {"ended": [CLIENT], "until": None}
    daemon.stop(signal.SIGKILL)
    if lost:
        with sqlite3.connect(STORE) as database:
            assert database.execute("DELETE FROM progress").rowcount == 1
        database.close()
    again = start()
    assert lab.clients.rcpt(CLIENT, port).code == 554
    assert lab.clients.pop3_login(STRANGER)  # when it is granted, all that stands before it was read
    wait_for("a later login is granted", lambda: f"granted client={STRANGER} " in again.said())
    refused = f"refused client={CLIENT} " in again.said()
    assert refused == lost
    assert f"granted client={CLIENT} " not in again.said()
    assert lab.clients.rcpt(CLIENT, port).code == 554
    log_in(lab, again)
    assert lab.clients.rcpt(CLIENT, port).accepted


@ways
@ends
def test_a_grant_by_hand_outlives_the_daemon(lab: Lab, start: Start, port: int, number: signal.Signals) -> None:
    """Neither shorter nor longer, with who did it and why; killed in the moment of the answer."""
    daemon = start()
    end = in_ten_minutes().isoformat()
    answer = ask(CONTROL, "grant", address=CLIENT, until=end, reason="a printer")
    assert answer == {"address": CLIENT, "expires_at": end, "logins_refused": False}
    daemon.stop(number)
    again = start()
    assert lab.clients.rcpt(CLIENT, port).accepted
    assert lab.clients.rcpt(STRANGER, port).code == 554
    (entry,) = json.loads(again.command("list", "--json").stdout)
    assert (entry["address"], entry["rule"], entry["uid"], entry["reason"]) == (CLIENT, "by hand", 0, "a printer")
    assert entry["expires_at"] == end
    assert again.command("revoke", CLIENT).returncode == 0
    wait_for("Postfix hears of it", lambda: lab.clients.rcpt(CLIENT, port).code == 554, seconds=1)
    again.stop(number)
    start()
    assert lab.clients.rcpt(CLIENT, port).code == 554


def test_who_did_it_is_the_user_that_the_kernel_names(lab: Lab, start: Start) -> None:
    """A member of control_group may, and `explain` and the audit trail name the uid; who is none may not."""
    member = pwd.getpwnam("games").pw_uid
    audit = lab.folder / "audit"
    audit.unlink(missing_ok=True)
    daemon = start(more=f'control_group = "adm"\naudit = "{audit}"\n')
    end = in_ten_minutes()

    def asks(groups: str, command: str, until: str) -> int:
        arguments = [str(member), groups, CONTROL, command, CLIENT]
        done = subprocess.run(
            [sys.executable, "-c", _MEMBER, *arguments], input=until, text=True, timeout=30, check=False
        )
        return done.returncode

    adm = str(CONTROL.stat().st_gid)
    assert asks("", "grant", end.isoformat()) == 77
    assert lab.clients.rcpt(CLIENT).code == 554
    assert asks(adm, "grant", end.isoformat()) == 0
    assert lab.clients.rcpt(CLIENT).accepted
    lines = daemon.command("explain", CLIENT).stdout.splitlines()
    local = f"{end.astimezone():%Y-%m-%d %H:%M:%S}"
    assert lines[:2] == [
        f"{CLIENT} may relay until {local}, because of:",
        f"  {CLIENT} until {local}: granted by hand by uid {member}: the printer in the hall",
    ]
    assert asks(adm, "revoke", end.isoformat()) == 0
    assert lab.clients.rcpt(CLIENT).code == 554
    lines = daemon.command("explain", CLIENT).stdout.splitlines()
    assert lines[0] == f"{CLIENT} may not relay"
    assert re.fullmatch(
        rf"revoked: {CLIENT} at [0-9-]{{10}} [0-9:]{{8}} by uid {member} \(the printer in the hall\);"
        rf" older logins count no more; no login counts until {local}",
        lines[1],
    )
    done = [json.loads(line) for line in audit.read_text().splitlines()]
    assert [(each["event"], each["uid"]) for each in done if "uid" in each] == [
        ("grant", member),
        ("revoke", member),
        ("revoke", member),
    ]
