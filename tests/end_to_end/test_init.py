"""What init writes works as it is, and what it prints for the mail server is what the mail server needs."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.configurations import POSTFIX
from tests.end_to_end.journal_daemon import JournalDaemon, JournalHost, login
from tests.end_to_end.lab import LOG, MAP, OWN, SOCKETMAP_PORT, Daemon, Lab, answers, wait_for
from tests.end_to_end.patient import faults
from tests.end_to_end.test_doctor_machine import postfix
from tests.end_to_end.test_journal_daemon import host

__all__ = ["host", "postfix"]  # fixtures

CLIENT, LISTED, LISTED_STRANGER, STRANGER = "192.0.2.10", "192.0.2.13", "192.0.2.14", "192.0.2.11"
_OWN_LISTS = """
smtpd_client_restrictions = permit_mynetworks, reject_rbl_client rbl.example
smtpd_relay_restrictions = permit_mynetworks, permit_tls_clientcerts, defer_unauth_destination
"""

Change = Callable[[str], None]


def init(*arguments: str | Path, wrapped: tuple[str, ...] = ()) -> tuple[int, str, str]:
    """Run it, and return its exit status, what it printed, and what it complained of."""
    done = subprocess.run(
        [*wrapped, sys.executable, "-m", "popbeforesmtp", "init", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def run(lab: Lab, tmp_path: Path) -> Iterator[Callable[[Path], Daemon]]:
    """Run a daemon with a configuration, and nothing remembered."""
    daemons: list[Daemon] = []
    for state in MAP.parent.glob("state.sqlite*"):
        state.unlink()
    os.truncate(LOG, 0)

    def start(config: Path) -> Daemon:
        daemons.append(Daemon(config, tmp_path / "daemon.log").ready())
        return daemons[-1]

    yield start
    for daemon in daemons:
        daemon.stop()


def test_with_postfix_and_dovecot_all_works_as_it_is_written(
    run: Callable[[Path], Daemon], lab: Lab, postfix: Change, tmp_path: Path
) -> None:
    """The printed lines take the place of an administrator's own: a blocklist, and a relay list with more in it."""
    postfix(POSTFIX + _OWN_LISTS)
    assert lab.clients.pop3_login(CLIENT)  # so that there is a log to find
    wait_for("the log shows it", lambda: "Login: " in LOG.read_text())
    config = tmp_path / "pop-before-smtp.toml"
    status, printed, _ = init(config)
    assert status == 0
    daemon = run(config)
    _, _, lines = printed.partition("Postfix needs these lines:\n")
    assert "permit_tls_clientcerts" in lines
    assert lines.count("reject_rbl_client rbl.example") == 1
    postfix(POSTFIX + lines)
    wait_for("Postfix answers", lambda: answers("127.0.0.1", SOCKETMAP_PORT))
    assert lab.clients.rcpt(STRANGER).code == 554
    assert lab.clients.rcpt(STRANGER, to=OWN).accepted
    assert "blocked using rbl.example" in lab.clients.rcpt(LISTED, to=OWN).text
    assert lab.clients.pop3_login(LISTED)
    wait_for("the login lets it in", lambda: lab.clients.rcpt(LISTED).accepted)
    assert "blocked using rbl.example" in lab.clients.rcpt(LISTED_STRANGER, to=OWN).text
    doctor = daemon.command("doctor", "--json")
    found = [sentence for name, sentence in faults(json.loads(doctor.stdout)) if name.startswith("postfix")]
    assert not [sentence for sentence in found if "main.cf" in sentence or "smtp/inet" in sentence]  # the lab has more


def test_a_configuration_that_is_there_is_never_overwritten_unasked(lab: Lab, tmp_path: Path) -> None:
    """One sentence, status 73; --force insists."""
    config = tmp_path / "pop-before-smtp.toml"
    config.write_text("# mine\n")
    status, printed, complaint = init(config)
    assert (status, printed, config.read_text()) == (73, "", "# mine\n")
    assert complaint == f"pop-before-smtp: {config}: is there already; --force overwrites it, and - prints instead\n"
    assert init("--force", config)[0] == 0
    assert 'grace = "30m"' in config.read_text()
    assert oct(config.stat().st_mode & 0o777) in ("0o640", "0o644")


def test_what_is_printed_is_a_configuration_too(run: Callable[[Path], Daemon], lab: Lab, tmp_path: Path) -> None:
    """The mail server's lines are comments in it."""
    config = tmp_path / "printed.toml"
    status, printed, _ = init("-")
    assert status == 0
    assert "#   smtpd_relay_restrictions =\n" in printed
    config.write_text(printed)
    assert f"log: {LOG}" in run(config).said() or "journal" in config.read_text()


def test_postscreen_gets_the_result_that_it_knows(lab: Lab, tmp_path: Path) -> None:
    """And its access list."""
    master = Path("/etc/postfix/master.cf")
    before = master.read_text()
    master.write_text(before + "2530 inet n - y - 1 postscreen\n")
    try:
        printed = init("-")[1]
    finally:
        master.write_text(before)
    assert 'result = "permit"' in printed
    assert f"postscreen_access_list = permit_mynetworks, lmdb:{MAP.with_suffix('')}" in printed


_NO_LOGS = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs tmpfs /var/log && exec "$@"', "sh")
_NOTHING = (
    "unshare",
    "--mount",
    "sh",
    "-c",
    "for each in /var/log /etc/postfix /etc/mail /run/log; do [ ! -d $each ] || mount -t tmpfs tmpfs $each; done;"
    ' exec "$@"',
    "sh",
)


def test_with_the_journal_only_logins_are_found_there(lab: Lab, host: JournalHost, tmp_path: Path) -> None:
    """No file in /var/log: the configuration names the journal, and a login opens the relay."""
    for state in MAP.parent.glob("state.sqlite*"):
        state.unlink()
    config = tmp_path / "journal.toml"
    assert login(lab.clients, CLIENT)
    status, _, _ = init(config, wrapped=_NO_LOGS)
    assert status == 0
    assert '[[source]]\ntype = "journal"\n' in config.read_text()
    daemon = JournalDaemon(config, tmp_path / "daemon.log")
    try:
        assert login(lab.clients, STRANGER)
        daemon.wait_for(f"granted client={STRANGER} ")
    finally:
        daemon.stop()


def test_with_nothing_there_is_a_configuration_that_waits_for_what_comes(lab: Lab, tmp_path: Path) -> None:
    """Neither a log nor a mail server; the daemon starts, and says what it lacks."""
    config = tmp_path / "nothing.toml"
    status, printed, _ = init(config, wrapped=_NOTHING)
    assert status == 0
    assert "No mail server was found that could be told anything" in printed
    log = tmp_path / "daemon.log"
    with log.open("wb") as output:
        program = [sys.executable, "-m", "popbeforesmtp", "run", "--config", str(config)]
        process = subprocess.Popen([*_NOTHING, *program], stderr=output)
    try:
        wait_for("it is ready", lambda: "ready authorizations=" in log.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        assert "there is no Postfix to ask" in log.read_text()
    finally:
        process.terminate()
        process.wait(timeout=15)
