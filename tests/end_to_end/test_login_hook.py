"""Dovecot itself tells of each login, through the lines of contrib/dovecot: no log is read, and none can be forged."""

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.configurations import DOVECOT
from tests.end_to_end.lab import CONTRIB, HOSTILE_ACCOUNT, Daemon, Lab, answers, server_for, wait_for
from tests.site import ROOT

Start = Callable[..., Daemon]

CLIENT, STRANGER, CLIENT6 = "192.0.2.10", "192.0.2.11", "2001:db8:1:2:3:4:5:6"
PORTS = {"imap": 2143, "pop3": 2110}
SOURCE = '[[source]]\ntype = "login"\n'
SOCKET = Path("/run/pop-before-smtp/login")
HOOK = Path("/run/hooked/pop-before-smtp")
PYTHON = "/usr/bin/python3"
HOME = "/var/lib/dovecot/mail"  # of all users, as the lab's userdb says

_HOOK = f"""
import sys
sys.dont_write_bytecode = True
sys.path.insert(0, {str(ROOT)!r})
from popbeforesmtp.cli import main
sys.exit(main())
"""
_SECOND = """
base_dir = /run/dovecot-hooked
state_dir = /run/hooked
instance_name = hooked
log_path = /run/hooked/log
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3}
  }}
}}
!include {lines}
"""

services = pytest.mark.parametrize("service", PORTS)


@pytest.fixture(scope="module")
def dovecot(lab: Lab) -> Iterator[Path]:
    """Start another Dovecot, with those lines; return its log, in which the command must not appear."""
    text = (CONTRIB / "dovecot" / "post-login.conf").read_text()
    program = "/opt/pop-before-smtp/bin/python -I -m popbeforesmtp login"  # where the README installs it
    assert text.count(program) == len(PORTS)
    HOOK.parent.mkdir()
    HOOK.write_text(_HOOK)
    lines = HOOK.parent / "post-login.conf"
    lines.write_text(text.replace(program, f"{PYTHON} -I {HOOK} login"))
    config = HOOK.parent / "dovecot.conf"
    config.write_text(DOVECOT + _SECOND.format(**PORTS, lines=lines))
    log = HOOK.parent / "log"
    process = subprocess.Popen(["dovecot", "-F", "-c", config])
    try:
        wait_for("Dovecot answers", lambda: all(answers("127.0.0.1", port) for port in PORTS.values()))
        yield log
    finally:
        process.terminate()
        process.wait(timeout=15)
    assert not [line for line in log.read_text().splitlines() if "script-login" in line or "pop-before-smtp" in line]


@pytest.fixture
def listening(dovecot: Path, start: Start) -> Daemon:
    """Start the daemon, with this source and no other."""
    daemon = start(more=SOURCE)
    wait_for("it listens", SOCKET.is_socket)
    return daemon


class Session:
    """A POP3 or IMAP session that goes no further than its login, until it is asked to."""

    def __init__(self, lab: Lab, service: str, client: str, user: str, password: str) -> None:
        to = server_for(client), PORTS[service]
        self._service = service
        self._socket = lab.clients(lambda: socket.create_connection(to, timeout=20, source_address=(client, 0)))
        self._answers = self._socket.makefile("rb")
        self._answers.readline()
        if service == "imap":
            self.logged_in = self._say(f'a LOGIN "{user}" "{password}"').startswith(b"a OK")
        else:
            self.logged_in = self._say(f"USER {user}") + self._say(f"PASS {password}") == b"+OK\r\n+OK Logged in.\r\n"

    def works(self) -> bool:
        """Send the first command, and say whether it is answered as it should be."""
        if self._service == "imap":
            return self._say("b NOOP").startswith(b"b OK")
        return self._say("NOOP").startswith(b"+OK")

    def close(self) -> None:
        """Hang up."""
        self._answers.close()
        self._socket.close()

    def _say(self, line: str) -> bytes:
        self._socket.sendall(line.encode() + b"\r\n")
        return self._answers.readline()


@pytest.fixture
def log_in(lab: Lab, dovecot: Path) -> Iterator[Callable[..., Session]]:
    """Log in to the other Dovecot; the test's end hangs up."""
    sessions: list[Session] = []

    def log_in(service: str, client: str, user: str = "alice", password: str = "secret") -> Session:
        sessions.append(Session(lab, service, client, user, password))
        return sessions[-1]

    yield log_in
    for session in sessions:
        session.close()


def may_relay(daemon: Daemon, client: str) -> bool:
    """Ask the daemon."""
    return daemon.command("check", client).returncode == 0


def tell(*drop: str) -> subprocess.CompletedProcess[bytes]:
    """Tell the daemon of a login of the stranger's, as the user that setpriv makes of root."""
    claim: list[str | Path] = [PYTHON, "-I", HOOK, "login", "--address", STRANGER, "--account", "mallory"]
    return subprocess.run(["setpriv", *drop, "--", *claim], capture_output=True, timeout=30, check=False)


@pytest.mark.parametrize(("service", "client"), [("imap", CLIENT), ("pop3", CLIENT), ("imap", CLIENT6)])
def test_a_login_opens_the_relay_before_its_first_command(
    lab: Lab, listening: Daemon, log_in: Callable[..., Session], service: str, client: str
) -> None:
    """The server's yes comes when the client may relay: nothing is waited for here. Others stay refused."""
    assert lab.clients.rcpt(client).code == 554
    session = log_in(service, client)
    assert session.logged_in
    assert lab.clients.rcpt(client).accepted
    assert may_relay(listening, client)
    assert session.works()
    assert lab.clients.rcpt(STRANGER).code == 554
    assert f"granted client={client} user=alice " in listening.said()
    assert "mail.log" not in listening.said()


@services
def test_a_failed_login_opens_nothing(
    lab: Lab, listening: Daemon, log_in: Callable[..., Session], service: str
) -> None:
    """Dovecot tells of those only who proved who they are."""
    assert not log_in(service, STRANGER, password="wrong").logged_in
    assert not log_in(service, STRANGER, user="nobody-here").logged_in
    assert log_in(service, CLIENT).logged_in
    assert listening.said().count("granted client=") == 1
    assert not may_relay(listening, STRANGER)
    assert lab.clients.rcpt(STRANGER).code == 554


@services
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP], ids=["ended", "killed", "hangs"])
def test_users_log_in_without_the_daemon_too(
    listening: Daemon, log_in: Callable[..., Session], service: str, number: signal.Signals
) -> None:
    """Whether there is no socket, a dead one, or one that nobody answers on: a second later the session works."""
    if number is signal.SIGSTOP:
        listening.process.send_signal(number)
    else:
        listening.stop(number)
    assert SOCKET.exists() == (number is not signal.SIGTERM)
    try:
        began = time.monotonic()
        session = log_in(service, CLIENT)
        took = time.monotonic() - began
        assert session.logged_in
        assert session.works()
        assert took < 5  # a second, and what a busy machine needs
    finally:
        if number is signal.SIGSTOP:
            listening.process.send_signal(signal.SIGCONT)


def test_a_daemon_that_was_killed_is_told_again_after_its_restart(
    lab: Lab, listening: Daemon, start: Start, log_in: Callable[..., Session]
) -> None:
    """The socket that the dead one left is replaced."""
    listening.stop(signal.SIGKILL)
    inode = SOCKET.stat().st_ino
    start(more=SOURCE)
    wait_for("it listens again", lambda: SOCKET.is_socket() and SOCKET.stat().st_ino != inode)
    assert log_in("imap", CLIENT).logged_in
    assert lab.clients.rcpt(CLIENT).accepted


def test_another_local_user_is_not_believed(lab: Lab, listening: Daemon) -> None:
    """Who may run the command and open the socket, and is not root, tells nothing; the log says that it tried."""
    done = tell("--reuid", "nobody", "--regid", "nogroup", "--clear-groups")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    wait_for("it is said", lambda: "wants to tell logins, and is not in login_uids" in listening.said())
    assert not may_relay(listening, STRANGER)
    assert lab.clients.rcpt(STRANGER).code == 554
    done = tell()
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert lab.clients.rcpt(STRANGER).accepted  # so it was the user, and nothing else


def test_a_reload_says_anew_who_is_believed(lab: Lab, listening: Daemon, log_in: Callable[..., Session]) -> None:
    """On the same socket; windows that are open stay open."""
    assert log_in("imap", CLIENT).logged_in
    lab.config(more=SOURCE + 'login_uids = ["nobody"]\n')
    listening.process.send_signal(signal.SIGHUP)
    wait_for("it has read its configuration", lambda: "reloaded" in listening.said())
    wait_for("it listens", SOCKET.is_socket)
    assert log_in("pop3", STRANGER).logged_in
    wait_for("it is said", lambda: "user 0 wants to tell logins" in listening.said())
    assert not may_relay(listening, STRANGER)
    assert may_relay(listening, CLIENT)
    tell("--reuid", "nobody", "--regid", "nogroup", "--clear-groups")
    assert may_relay(listening, STRANGER)


def test_an_account_that_looks_like_a_login_opens_its_own_client_only(
    listening: Daemon, log_in: Callable[..., Session]
) -> None:
    """Where Dovecot allows all characters in names."""
    assert log_in("imap", CLIENT, HOSTILE_ACCOUNT).logged_in
    assert may_relay(listening, CLIENT)
    assert not may_relay(listening, "9.9.9.9")


def test_nothing_of_a_users_home_is_run_as_root(
    listening: Daemon, log_in: Callable[..., Session], tmp_path: Path
) -> None:
    """Dovecot sets HOME to the user's; Python, left alone, would run what is in ~/.local/lib."""
    environment, caught = {"HOME": HOME}, tmp_path / "caught"
    where = subprocess.run(
        [PYTHON, "-m", "site", "--user-site"], env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    trap = Path(where.stdout.strip()) / "trap.pth"
    assert trap.is_relative_to(HOME)
    trap.parent.mkdir(parents=True)
    trap.write_text(f"import pathlib; pathlib.Path({str(caught)!r}).touch()\n")
    try:
        subprocess.run([PYTHON, "-c", ""], env=environment, timeout=30, check=True)
        assert caught.exists()  # the trap works
        caught.unlink()
        for service in PORTS:
            assert log_in(service, CLIENT).logged_in
        assert may_relay(listening, CLIENT)
        assert not caught.exists()
    finally:
        trap.unlink()
