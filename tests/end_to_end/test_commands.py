"""What an administrator types while the daemon runs, and when it does not."""

import json
import signal
from collections.abc import Callable

from tests.end_to_end.lab import LMDB_PORT, MAP, Daemon, Lab, wait_for

Start = Callable[..., Daemon]

CLIENT = "192.0.2.10"


def test_list_check_and_status_say_what_is_so(lab: Lab, start: Start) -> None:
    """With the daemon from the daemon, without it from the store."""
    daemon = start()
    assert daemon.command("check", CLIENT).returncode == 1
    assert lab.clients.pop3_login(CLIENT)
    wait_for("the login is granted", lambda: f"granted client={CLIENT} " in daemon.said())
    assert daemon.command("check", CLIENT).returncode == 0
    (entry,) = json.loads(daemon.command("list", "--json").stdout)
    assert (entry["address"], entry["user"], entry["service"], entry["format"]) == (CLIENT, "alice", "pop3", "dovecot")
    assert daemon.command("status").returncode == 0
    wait_for("the store has it", lambda: (MAP.parent / "state.sqlite").exists())
    daemon.stop()
    assert daemon.command("check", CLIENT).returncode == 0
    assert [entry["address"] for entry in json.loads(daemon.command("list", "--json").stdout)] == [CLIENT]
    status = daemon.command("status")
    assert status.returncode == 1
    assert "no daemon is running" in status.stdout


def test_a_second_daemon_is_refused_and_harms_nothing(lab: Lab, start: Start) -> None:
    """One sentence, a status of sysexits, and the first one goes on."""
    daemon = start()
    second = daemon.command("run")
    assert second.returncode == 69
    assert "is another pop-before-smtp running?" in second.stderr
    assert "Traceback" not in second.stderr
    assert lab.clients.pop3_login(CLIENT)
    wait_for("the login is granted", lambda: f"granted client={CLIENT} " in daemon.said())
    assert lab.clients.rcpt(CLIENT).accepted


def test_sweep_ends_a_window_when_no_daemon_runs(lab: Lab, start: Start) -> None:
    """Dead means closed: after kill -9 the timer's command takes out of the map what has ended, and only that."""
    daemon = start(grace="3s")
    assert lab.clients.pop3_login(CLIENT)
    wait_for("the map lets it in", lambda: lab.clients.rcpt(CLIENT, LMDB_PORT).accepted)
    assert daemon.command("sweep").returncode == 0
    assert lab.clients.rcpt(CLIENT, LMDB_PORT).accepted
    wait_for("the store is written", lambda: daemon.command("list", "--json").stdout != "[]\n")
    daemon.stop(signal.SIGKILL)
    wait_for("the window is over", lambda: daemon.command("check", CLIENT).returncode == 1)
    assert lab.clients.rcpt(CLIENT, LMDB_PORT).accepted
    assert daemon.command("sweep").returncode == 0
    assert lab.clients.rcpt(CLIENT, LMDB_PORT).code == 554


def test_sweep_empties_the_map_when_the_store_cannot_be_read(lab: Lab, start: Start) -> None:
    """In doubt nobody relays."""
    daemon = start()
    assert lab.clients.pop3_login(CLIENT)
    wait_for("the map lets it in", lambda: lab.clients.rcpt(CLIENT, LMDB_PORT).accepted)
    daemon.stop(signal.SIGKILL)
    for leftover in MAP.parent.glob("state.sqlite-*"):
        leftover.unlink()
    (MAP.parent / "state.sqlite").write_bytes(b"garbage" * 1000)
    swept = daemon.command("sweep")
    assert swept.returncode == 74
    assert "so nobody may relay any more" in swept.stderr
    assert lab.clients.rcpt(CLIENT, LMDB_PORT).code == 554


def test_a_network_that_is_never_authorized_any_more_loses_its_windows_at_the_next_start(
    lab: Lab, start: Start
) -> None:
    """Not only new logins are refused: who was let in is put out, of the map and of the store."""
    daemon = start()
    assert lab.clients.pop3_login(CLIENT)
    wait_for("the map lets it in", lambda: lab.clients.rcpt(CLIENT, LMDB_PORT).accepted)
    daemon.stop()
    again = start(more='[rules]\nnever = ["192.0.2.0/24"]\n')
    assert f'revoked client={CLIENT} reason="never-authorized network"' in again.said()
    assert lab.clients.rcpt(CLIENT).code == 554
    assert lab.clients.rcpt(CLIENT, LMDB_PORT).code == 554
    again.stop()
    assert again.command("sweep").returncode == 0
    assert lab.clients.rcpt(CLIENT, LMDB_PORT).code == 554


def test_a_map_that_the_configuration_forgets_is_emptied(lab: Lab, start: Start) -> None:
    """By the next start, or by the sweep where there is none; and sweeping fills no map that no daemon kept."""
    daemon = start()
    assert lab.clients.pop3_login(CLIENT)
    wait_for("the map lets it in", lambda: lab.clients.rcpt(CLIENT, LMDB_PORT).accepted)
    daemon.stop()
    other = '[[mta]]\ntype = "postfix"\nmap = "lmdb:/var/lib/pop-before-smtp/others"\n'
    again = start(more=other)
    assert "is configured no longer; it was emptied" in again.said()
    assert lab.clients.rcpt(CLIENT, LMDB_PORT).code == 554
    again.stop()
    lab.config()  # no map is named any more, and the usual one was kept by no daemon
    assert again.command("sweep").returncode == 0
    assert lab.clients.rcpt(CLIENT, LMDB_PORT).code == 554
