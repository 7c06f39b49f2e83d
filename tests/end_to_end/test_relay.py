"""A login to real Dovecot opens real Postfix for that client address, and no longer than it should."""

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.lab import LMDB_PORT, LOG, MAP, OWN, SOCKETMAP_PORT, Daemon, Lab, rcpt, wait_for

Start = Callable[..., Daemon]

CLIENT, STRANGER = "192.0.2.10", "192.0.2.11"
ways = pytest.mark.parametrize("port", [SOCKETMAP_PORT, LMDB_PORT], ids=["socketmap", "lmdb"])


def in_map(client: str) -> bool:
    """Say whether Postfix's own tool finds a client in the map."""
    query = ["postmap", "-q", client, f"lmdb:{MAP.with_suffix('')}"]
    return subprocess.run(query, capture_output=True, check=False).stdout == b"OK\n"


def log_in(lab: Lab, daemon: Daemon, client: str) -> None:
    """Log in, and wait until the daemon has said so and the map holds it."""
    assert lab.clients.pop3_login(client)
    wait_for("the login is granted", lambda: f"granted client={client} " in daemon.said())
    wait_for("the map holds it", lambda: in_map(client))


@ways
def test_a_client_may_relay_after_its_login_and_not_before(lab: Lab, start: Start, port: int) -> None:
    """Refused, then accepted in a new session and in one that was open and refused before; others stay refused."""
    daemon = start()
    session = lab.clients.smtp(CLIENT, port)
    assert rcpt(session).code == 554
    assert lab.clients.rcpt(CLIENT, port).code == 554
    log_in(lab, daemon, CLIENT)
    assert rcpt(session).accepted
    assert lab.clients.rcpt(CLIENT, port).accepted
    assert lab.clients.rcpt(STRANGER, port).code == 554


@ways
def test_a_window_ends_by_the_timer_while_the_log_is_silent(lab: Lab, start: Start, port: int) -> None:
    """No line comes, and yet the next recipient is refused, in the session that was accepted and in a new one."""
    daemon = start(grace="3s")
    log_in(lab, daemon, CLIENT)
    session = lab.clients.smtp(CLIENT, port)
    assert rcpt(session).accepted
    wait_for("the log is silent", lambda: _has_all("Logged out", f"client=unknown[{CLIENT}]"))
    size = LOG.stat().st_size
    wait_for("the window ends", lambda: f"expired client={CLIENT}" in daemon.said())
    assert LOG.stat().st_size == size
    wait_for("the map knows it within a second", lambda: not in_map(CLIENT), seconds=1)
    assert rcpt(session).code == 554
    assert lab.clients.rcpt(CLIENT, port).code == 554


def test_an_imap_login_opens_too_and_a_failed_one_does_not(lab: Lab, start: Start) -> None:
    """Only who proved who they are may relay."""
    daemon = start()
    assert not lab.clients.imap_login(STRANGER, password="wrong")
    assert not lab.clients.pop3_login(STRANGER, password="wrong")
    assert lab.clients.imap_login(CLIENT, "carol@lab.example")
    wait_for("the login is granted", lambda: f"granted client={CLIENT} user=carol@lab.example" in daemon.said())
    assert lab.clients.rcpt(CLIENT).accepted
    assert lab.clients.rcpt(STRANGER).code == 554


@ways
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["restart", "kill -9"])
def test_a_restart_changes_nobodys_window(lab: Lab, start: Start, port: int, number: signal.Signals) -> None:
    """The window is neither emptied nor extended, whichever way the daemon ended."""
    daemon = start()
    log_in(lab, daemon, CLIENT)
    wait_for("the store has it", lambda: daemon.command("check", CLIENT).returncode == 0)
    wait_for("the store is written", lambda: _in_store(CLIENT))
    (before,) = [line for line in daemon.said().splitlines() if "granted" in line]
    status = daemon.stop(number)
    assert status == (0 if number is signal.SIGTERM else -number)
    again = start()
    assert lab.clients.rcpt(CLIENT, port).accepted
    assert lab.clients.rcpt(STRANGER, port).code == 554
    until = before.partition("until=")[2].partition("Z")[0]
    assert _store("SELECT datetime(expires_at / 1000000, 'unixepoch') FROM authorizations") == until.replace("T", " ")
    assert "granted" not in again.said()


@ways
def test_a_map_that_was_deleted_while_the_daemon_was_dead_is_made_true_again(lab: Lab, start: Start, port: int) -> None:
    """After kill -9 the map is gone and Postfix answers 451; the daemon brings both back, without another login."""
    daemon = start()
    log_in(lab, daemon, CLIENT)
    wait_for("the store is written", lambda: _in_store(CLIENT))
    daemon.stop(signal.SIGKILL)
    MAP.unlink()
    assert lab.clients.rcpt(CLIENT, LMDB_PORT).code == 451
    start()
    wait_for("Postfix accepts again", lambda: lab.clients.rcpt(CLIENT, port).accepted)
    assert all(lab.clients.rcpt(STRANGER, port).code == 554 for _ in range(5))


def test_a_map_that_is_deleted_under_the_running_daemon_comes_back(lab: Lab, start: Start) -> None:
    """Somebody removes the file: within seconds it is there again, and true."""
    daemon = start()
    log_in(lab, daemon, CLIENT)
    MAP.unlink()
    wait_for("the map is back", lambda: MAP.exists() and in_map(CLIENT))
    wait_for("Postfix accepts", lambda: lab.clients.rcpt(CLIENT, LMDB_PORT).accepted)


def test_a_login_while_the_daemon_was_dead_is_acted_on(lab: Lab, start: Start) -> None:
    """What was written meanwhile is read from the place where reading ended, once."""
    daemon = start()
    log_in(lab, daemon, CLIENT)
    wait_for("the store is written", lambda: _in_store(CLIENT))
    daemon.stop(signal.SIGKILL)
    assert lab.clients.pop3_login("192.0.2.12")
    lab.rotate()
    wait_for(
        "the login of before the rotation is in the old file",
        lambda: "192.0.2.12" in LOG.with_suffix(".log.1").read_text(),
    )
    assert lab.clients.pop3_login("192.0.2.15")
    wait_for("rsyslog has written", lambda: "rip=192.0.2.15" in LOG.read_text())
    again = start()
    wait_for("both are granted", lambda: again.said().count("granted client=") == 2)
    assert lab.clients.rcpt("192.0.2.12").accepted
    assert lab.clients.rcpt("192.0.2.15").accepted
    assert f"granted client={CLIENT}" not in again.said()


def test_a_rotation_in_the_middle_loses_no_login(lab: Lab, start: Start) -> None:
    """Logins before, during and after the rotation by rename all count."""
    daemon = start()
    log_in(lab, daemon, CLIENT)
    assert lab.clients.pop3_login("192.0.2.16")
    lab.rotate()
    assert lab.clients.pop3_login("192.0.2.17")
    assert lab.clients.pop3_login("192.0.2.18")
    for client in ("192.0.2.16", "192.0.2.17", "192.0.2.18"):
        wait_for(f"{client} is granted", lambda client=client: f"granted client={client} " in daemon.said())
        assert lab.clients.rcpt(client).accepted
    assert "was rotated" in daemon.said()


@ways
def test_mail_for_our_own_domains_is_taken_while_the_daemon_is_dead(lab: Lab, start: Start, port: int) -> None:
    """A dead daemon puts off roaming clients, and nobody else."""
    daemon = start()
    daemon.stop(signal.SIGKILL)
    assert lab.clients.rcpt(STRANGER, port, OWN).accepted
    assert lab.clients.rcpt(STRANGER, port).code in (451, 554)


def test_an_authorized_client_that_a_blocklist_lists_can_send(lab: Lab, start: Start) -> None:
    """Roaming clients sit in blocklists; a stranger there can send neither to us nor through us."""
    listed, stranger = "192.0.2.13", "192.0.2.14"
    daemon = start()
    log_in(lab, daemon, listed)
    assert lab.clients.rcpt(listed).accepted
    assert lab.clients.rcpt(listed, to=OWN).accepted
    answers = [lab.clients.rcpt(stranger, to=to) for to in (OWN, "user@lab.example")] + [lab.clients.rcpt(stranger)]
    assert [answer.code for answer in answers] == [554, 554, 554]
    assert "blocked using rbl.example" in answers[0].text
    assert lab.clients.rcpt(STRANGER, to=OWN).accepted
    daemon.stop(signal.SIGKILL)
    assert lab.clients.rcpt(stranger, to=OWN).code == 554


def test_ipv6_clients_are_let_in_exactly(lab: Lab, start: Start) -> None:
    """An address that Postfix would take for a prefix in a map stays out of the map, and the log says so."""
    plain, short, longer = "2001:db8:1:2:3:4:5:6", "2001:db8::10", "2001:db8::10:0:0:1"
    daemon = start()
    for client in (plain, short):
        assert lab.clients.pop3_login(client)
        wait_for(f"{client} is granted", lambda client=client: f"granted client={client} " in daemon.said())
    wait_for("the map holds the plain one", lambda: in_map(plain))
    assert lab.clients.rcpt(plain, SOCKETMAP_PORT).accepted
    assert lab.clients.rcpt(plain, LMDB_PORT).accepted
    assert lab.clients.rcpt(short, SOCKETMAP_PORT).accepted
    assert lab.clients.rcpt(short, LMDB_PORT).code == 554
    assert f"left-out client={short} " in daemon.said()
    assert lab.clients.rcpt(longer, SOCKETMAP_PORT).code == 554
    assert lab.clients.rcpt(longer, LMDB_PORT).code == 554


def test_trusted_networks_are_postfixs_own(lab: Lab, start: Start) -> None:
    """What main.cf says in mynetworks, with its references and files, is what the daemon trusts."""
    Path("/etc/postfix/networks").write_text("192.0.2.19/32  # a printer\n")
    subprocess.run(["postconf", "-e", "lab_networks = 192.0.2.20, /etc/postfix/networks"], check=True)
    subprocess.run(["postconf", "-e", "mynetworks = 127.0.0.0/8 $lab_networks [::1]/128"], check=True)
    try:
        daemon = start()
        assert "trusted networks: 127.0.0.0/8, 192.0.2.20/32, 192.0.2.19/32, ::1/128" in daemon.said()
        assert lab.clients.pop3_login("192.0.2.19")
        wait_for("the login is refused", lambda: "refused client=192.0.2.19 user=alice" in daemon.said())
        assert 'reason="trusted network"' in daemon.said()
    finally:
        subprocess.run(["postconf", "-e", "mynetworks = 127.0.0.0/8, [::ffff:127.0.0.0]/104, [::1]/128"], check=True)


def _has_all(*texts: str) -> bool:
    """Say whether the log holds all of these."""
    log = LOG.read_text()
    return all(text in log for text in texts)


def _store(query: str) -> str:
    """Ask the store's file."""
    import sqlite3

    with sqlite3.connect(MAP.parent / "state.sqlite") as database:
        row = database.execute(query).fetchone()
    return str(row[0]) if row else ""


def _in_store(client: str) -> bool:
    return _store(f"SELECT client FROM authorizations WHERE client = '{client}'") == client
