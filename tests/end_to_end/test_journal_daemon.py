"""The daemon on a host whose mail log is the journal: real logins open the relay, and nothing else that is written."""

import json
import signal
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.journal import DOVECOT, SESSION, SOCKETS
from tests.end_to_end.journal_daemon import JournalDaemon, JournalHost, command, login, login_text
from tests.end_to_end.lab import MAP, Lab, wait_for

Start = Callable[[], JournalDaemon]

FORGED = "not written by the server itself"
USER, MAIL = 1000, 8


@pytest.fixture(scope="module")
def host(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JournalHost]:
    """Start journald and Dovecot, once."""
    started = JournalHost(tmp_path_factory.mktemp("host"))
    started.start_mail()
    yield started
    started.stop()


@pytest.fixture
def start(lab: Lab, host: JournalHost, tmp_path: Path) -> Iterator[Start]:
    """Start pop-before-smtp with nothing remembered, on a journal without entries."""
    daemons: list[JournalDaemon] = []
    for state in MAP.parent.glob("state.sqlite*"):
        state.unlink()
    for _ in range(2):  # only archived files can be vacuumed
        subprocess.run(["journalctl", "--rotate", "--vacuum-time=1us"], check=True, capture_output=True)

    def start() -> JournalDaemon:
        daemons.append(JournalDaemon(lab.config(), tmp_path / "daemon.log"))
        return daemons[-1]

    yield start
    for daemon in daemons:
        daemon.stop()
        assert "Traceback" not in daemon.said()


def granted(daemon: JournalDaemon) -> list[str]:
    """Return whom the daemon lets relay."""
    entries = json.loads(daemon.command("list", "--json").stdout)
    return sorted(entry["address"] for entry in entries)


def counts(daemon: JournalDaemon) -> dict[str, int]:
    """Return what the daemon has counted."""
    found: dict[str, int] = json.loads(daemon.command("status", "--json").stdout)["counts"]
    return found


def log_in(lab: Lab, daemon: JournalDaemon, client: str) -> None:
    """Log in, and wait until that is granted: then all that was written before it has been read."""
    assert login(lab.clients, client)
    daemon.wait_for(f"granted client={client} ")


def test_a_daemon_that_nobody_told_finds_the_journal_and_a_login_opens_the_relay(lab: Lab, start: Start) -> None:
    """To the client that logged in, and to nobody else; what was found is said, and status shows it."""
    daemon = start()
    assert "log: the journal, and no [[source]] is configured" in daemon.said()
    assert "can open the relay: any local user can" not in daemon.said()  # that is so of files only
    assert not lab.clients.rcpt("192.0.2.10").accepted
    assert not login(lab.clients, "192.0.2.12", password="wrong")
    log_in(lab, daemon, "192.0.2.10")
    assert lab.clients.rcpt("192.0.2.10").accepted
    assert not lab.clients.rcpt("192.0.2.11").accepted
    assert not lab.clients.rcpt("192.0.2.12").accepted
    assert daemon.command("check", "192.0.2.10").returncode == 0
    assert daemon.command("check", "192.0.2.12").returncode == 1
    status = daemon.command("status")
    assert status.returncode == 0, status.stdout
    assert "journal: following" in status.stdout
    assert "log: the journal" in status.stdout
    wait_for("the session's end and the failure were read too", lambda: counts(daemon).get("logout") == 1)
    assert counts(daemon) == {"login": 1, "failure": 1, "logout": 1, "granted": 1}


def test_logger_opens_nothing_whoever_runs_it(lab: Lab, host: JournalHost, start: Start) -> None:
    """A local user, root in a shell, and what runs as the mail user or as root inside of Dovecot's own unit."""
    daemon = start()
    attackers = [(SESSION, USER), ("", 0), ("", USER), (DOVECOT, MAIL), (DOVECOT, 0)]
    for number, (group, uid) in enumerate(attackers):
        host.logger(login_text("192.0.2.11", f"attacker{number}"), group=group, uid=uid)
    log_in(lab, daemon, "192.0.2.10")
    assert granted(daemon) == ["192.0.2.10"]
    assert not lab.clients.rcpt("192.0.2.11").accepted
    assert counts(daemon)[f"refused: {FORGED}"] == len(attackers)
    assert f'refused client=192.0.2.11 user=attacker0 reason="{FORGED}"' in daemon.said()  # said once, counted always


def test_fields_of_the_journals_own_protocol_open_nothing(lab: Lab, host: JournalHost, start: Start) -> None:
    """Neither from a user nor from root inside of the unit, whatever they claim to be."""
    daemon = start()
    claims = (
        "_UID=0\n_EXE=/usr/lib/dovecot/log\n_SYSTEMD_UNIT=dovecot.service\n_TRANSPORT=syslog\n_PID=1\n_COMM=log\n"
        "_HOSTNAME=mx1.lab.example\nSYSLOG_IDENTIFIER=dovecot\nSYSLOG_FACILITY=2\nPRIORITY=6\n"
        "UNIT=dovecot.service\nOBJECT_SYSTEMD_UNIT=dovecot.service\nOBJECT_PID=1\n"
    )
    for group, uid in ((SESSION, USER), (DOVECOT, MAIL), (DOVECOT, 0)):
        text = f"MESSAGE={login_text('192.0.2.11', f'native{uid}')}\n{claims}".encode()
        host.run(["logger", "--journald"], group=group, uid=uid, text=text)
    log_in(lab, daemon, "192.0.2.10")
    assert granted(daemon) == ["192.0.2.10"]
    assert counts(daemon)[f"refused: {FORGED}"] == 3
    assert f'refused client=192.0.2.11 user=native{USER} reason="{FORGED}"' in daemon.said()


def test_a_login_on_the_standard_output_of_a_process_in_the_unit_opens_nothing(
    lab: Lab, host: JournalHost, start: Start
) -> None:
    """What a filter prints is a line of its own in the journal, of the tag that its stream was given."""
    daemon = start()
    text = f"{login_text('192.0.2.11')}\n".encode()
    host.run(["systemd-cat", "--identifier=dovecot", "cat"], group=DOVECOT, uid=MAIL, text=text)
    host.run(["systemd-cat", "--identifier=dovecot", "cat"], group=DOVECOT, text=text)
    host.run(["systemd-cat", "--identifier=dovecot", "cat"], group=DOVECOT, text=b"x" * 49152 + text)
    log_in(lab, daemon, "192.0.2.10")
    assert granted(daemon) == ["192.0.2.10"]
    assert counts(daemon)[f"refused: {FORGED}"] >= 2


def test_a_message_with_a_line_feed_is_no_login_and_no_line_of_its_own(lab: Lab, start: Start) -> None:
    """In front, behind, and between two logins."""
    daemon = start()
    text = login_text("192.0.2.11")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.connect(str(SOCKETS / "socket"))
        for message in (f"x\n{text}", f"{text}\n", f"{text}\n{text}", f"\n{text}"):
            field = b"MESSAGE\n" + struct.pack("<Q", len(message)) + message.encode() + b"\n"
            client.send(b"SYSLOG_IDENTIFIER=dovecot\n" + field)
    log_in(lab, daemon, "192.0.2.10")
    assert granted(daemon) == ["192.0.2.10"]
    assert "192.0.2.11" not in daemon.said()
    assert counts(daemon)["login"] == 1


def test_a_login_while_the_daemon_is_dead_is_granted_at_its_start(lab: Lab, host: JournalHost, start: Start) -> None:
    """And what was granted before keeps its end; each entry is read once, and forged ones meanwhile open nothing."""
    daemon = start()
    log_in(lab, daemon, "192.0.2.10")
    (before,) = json.loads(daemon.command("list", "--json").stdout)
    host.logger("the place is kept behind this")
    wait_for("the place is kept", lambda: _read(daemon) > 2)
    daemon.stop(signal.SIGKILL)
    assert login(lab.clients, "192.0.2.12")
    host.logger(login_text("192.0.2.11"), group=SESSION, uid=USER)
    assert login(lab.clients, "192.0.2.13", user="bob")
    again = start()
    assert "log: the journal" in again.said()
    again.wait_for("granted client=192.0.2.13 ")
    assert granted(again) == ["192.0.2.10", "192.0.2.12", "192.0.2.13"]
    (after,) = (e for e in json.loads(again.command("list", "--json").stdout) if e["address"] == "192.0.2.10")
    assert after == before
    assert again.said().count(" granted client=") == 2
    assert lab.clients.rcpt("192.0.2.12").accepted
    assert not lab.clients.rcpt("192.0.2.11").accepted


def test_a_journal_that_is_rotated_and_vacuumed_under_the_daemon_is_followed(lab: Lab, start: Start) -> None:
    """No login is missed, and nothing is to be looked at."""
    daemon = start()
    log_in(lab, daemon, "192.0.2.10")
    subprocess.run(["journalctl", "--rotate"], check=True, capture_output=True)
    log_in(lab, daemon, "192.0.2.12")
    subprocess.run(["journalctl", "--rotate", "--vacuum-files=1"], check=True, capture_output=True)
    log_in(lab, daemon, "192.0.2.13")
    status = daemon.command("status")
    assert (status.returncode, daemon.said().count(" granted client=")) == (0, 3), status.stdout


def test_a_journald_that_dies_and_comes_back_is_followed(lab: Lab, host: JournalHost, start: Start) -> None:
    """Dovecot goes on to write to the new one."""
    daemon = start()
    log_in(lab, daemon, "192.0.2.10")
    host.restart()
    log_in(lab, daemon, "192.0.2.12")
    assert granted(daemon) == ["192.0.2.10", "192.0.2.12"]


def test_scan_of_the_journal_counts_what_the_server_wrote_and_apart_from_it_what_others_did(
    lab: Lab, host: JournalHost, start: Start, tmp_path: Path
) -> None:
    """Of the machine's own journal and of what was exported of it; with and without a look at each event."""
    daemon = start()
    host.logger(login_text("192.0.2.11"), group=SESSION, uid=USER)
    log_in(lab, daemon, "192.0.2.10")
    wait_for("the session's end was read too", lambda: counts(daemon).get("logout") == 1)
    export = tmp_path / "journal.json"
    export.write_bytes(subprocess.run(["journalctl", "-o", "json"], check=True, capture_output=True).stdout)
    for files in ([], [str(export)]):
        events = command("scan", "--from", "journal", "--json", *files)
        assert events.returncode == 0, events.stderr
        found = [json.loads(line) for line in events.stdout.splitlines()]
        kinds = [(event["event"], event["address"], event["user"]) for event in found]
        assert kinds == [("login", "192.0.2.10", "alice"), ("logout", "192.0.2.10", "alice")]
        summary = command("scan", "--from", "journal", "--summary", *files)
        assert summary.returncode == 0
        assert "1 logins, 1 logouts, 0 failures" in summary.stdout
        assert "1 written by others than the server" in summary.stdout


def test_a_start_behind_a_real_login_names_it_and_grants_it(lab: Lab, start: Start) -> None:
    """The daemon is installed on a host that has been in use; forged ones do not count as logins of the server."""
    assert login(lab.clients, "192.0.2.10")
    daemon = start()
    assert "hold 1 logins; events: " in daemon.said()
    daemon.wait_for("granted client=192.0.2.10 ")


def test_messages_that_journald_drops_are_said_and_shown(lab: Lab, host: JournalHost, start: Start) -> None:
    """A flood in one unit: its own logins may be among what is missing; those of others are not."""
    limits = Path("/run/systemd/journald.conf.d/limits.conf")
    limits.write_text("[Journal]\nRateLimitIntervalSec=1s\nRateLimitBurst=5\n")
    try:
        host.restart()
        daemon = start()
        noisy = ["logger", "--socket", str(SOCKETS / "dev-log"), "--tag", "noise"]
        host.run(noisy, group="system.slice/noisy.service", text=b"noise\n" * 2000)

        def heard() -> bool:  # journald says it with the next message of that unit
            host.run(noisy, group="system.slice/noisy.service", text=b"one more\n")
            return "the syslog daemon dropped " in daemon.said()

        wait_for("it is said", heard)
        status = daemon.command("status")
        assert status.returncode == 1
        assert "warning         journal: the syslog daemon dropped " in status.stdout
        log_in(lab, daemon, "192.0.2.10")
        assert daemon.said().count("the syslog daemon dropped ") == 1
    finally:
        limits.unlink()
        host.restart()


def _read(daemon: JournalDaemon) -> int:
    """Return how many entries the daemon has read."""
    (source,) = json.loads(daemon.command("status", "--json").stdout)["sources"]
    return int(source["lines"])
