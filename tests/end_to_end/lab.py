"""The servers of the end-to-end tests, and clients on another host of the small network that ``enter`` makes.

Real rsyslog, Dovecot, Postfix and dnsmasq from Debian's packages, each with its own files in private copies.
"""

import ctypes
import imaplib
import os
import poplib
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")

SERVER4, SERVER6 = "198.51.100.1", "2001:db8:ffff::1"
LOG = Path("/var/log/mail.log")
MAP = Path("/var/lib/pop-before-smtp/clients.lmdb")
SOCKETMAP_PORT, LMDB_PORT = 25, 2526
MAP_PORTS = {"lmdb": LMDB_PORT, "cdb": 2527, "hash": 2528, "btree": 2529}
"""The port whose smtpd asks a map of this type, and nothing else."""
OUTSIDE, OWN = "somebody@elsewhere.example", "user@lab.example"
HOSTILE_ACCOUNT = "m>, method=plain, rip=9.9.9.9, lip=1.1.1.1, mpid=1, session=<a>"
"""A real account, where Dovecot's auth_username_chars allows all characters; its log line looks like two."""
CONTRIB = Path(__file__).parents[2] / "contrib"

_CLONE_NEWNET = 0x40000000  # setns(2)

_RSYSLOG = """
module(load="imuxsock")
input(type="imuxsock" socket="/var/spool/postfix/dev/log")
$FileOwner root
$FileGroup adm
$FileCreateMode 0640
mail.* action(type="omfile" file="/var/log/mail.log" template="RSYSLOG_FileFormat")
"""

_DOVECOT = """
protocols = imap pop3
listen = 198.51.100.1, 2001:db8:ffff::1, 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_failure_delay = 0
auth_username_chars =
mail_location = maildir:/var/lib/dovecot/mail/%u
first_valid_uid = 1
passdb {
  driver = passwd-file
  args = /etc/dovecot/lab.users
}
userdb {
  driver = static
  args = uid=mail gid=mail home=/var/lib/dovecot/mail
}
imap_hibernate_timeout = 2s
service imap {
  unix_listener imap-master {
    user = $default_internal_user
    mode = 0666
  }
}
service imap-hibernate {
  unix_listener imap-hibernate {
    mode = 0666
  }
}
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
"""

_POSTFIX = """
compatibility_level = 3.6
myhostname = mx1.lab.example
mydestination = lab.example
local_recipient_maps =
mynetworks = 127.0.0.0/8, [::ffff:127.0.0.0]/104, [::1]/128
inet_interfaces = all
inet_protocols = all
default_transport = discard
relay_transport = discard
local_transport = discard
smtpd_peername_lookup = no
smtpd_delay_reject = yes
smtpd_error_sleep_time = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_connection_count_limit = 0
smtpd_soft_error_limit = 1000
smtpd_hard_error_limit = 1000
in_flow_delay = 0
"""
# The same as in contrib, with a map file instead of the socketmap; the port of that type uses it.
_RELAY_BY = """
relay_by_{kind} =
    permit_mynetworks, permit_auth_destination,
    check_client_access {name}, reject
"""
_SMTPD = """
{port} inet n - y - - smtpd
  -o smtpd_relay_restrictions=$relay_by_{kind}
  -o smtpd_recipient_restrictions=
"""


def wait_for(what: str, condition: Callable[[], object], seconds: float = 15.0) -> None:
    """Wait until something holds; fail with its name where it does not in time."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"waited {seconds} s in vain: {what}")
        time.sleep(0.01)


def map_name(kind: str) -> str:
    """Return what a map of this type is called in main.cf; hash and btree share a suffix, and so not a name."""
    return f"{kind}:{MAP.parent / 'btree' if kind == 'btree' else MAP.with_suffix('')}"


def main_cf() -> str:
    """Return the main.cf of a Postfix that can ask maps of all types."""
    return _POSTFIX + "".join(_RELAY_BY.format(kind=kind, name=map_name(kind)) for kind in MAP_PORTS)


def master_cf(shift: int = 0) -> str:
    """Return what is added to master.cf: one port for each type of map, so much above the usual one."""
    return "".join(_SMTPD.format(port=port + shift, kind=kind) for kind, port in MAP_PORTS.items())


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1) as connection:
            return bool(connection.recv(1))
    except OSError:
        return False


@dataclass
class Answer:
    """What a mail server said to one command."""

    code: int
    text: str

    @property
    def accepted(self) -> bool:
        """Whether the recipient was taken."""
        return self.code == 250


class _Imap(imaplib.IMAP4):
    """An IMAP client that binds its address."""

    def __init__(self, client: str) -> None:
        self._client = client
        super().__init__(server_for(client), timeout=10)

    def _create_socket(self, timeout: float | None) -> socket.socket:
        return socket.create_connection((self.host, self.port), timeout, source_address=(self._client, 0))


class IdleSession:
    """An IMAP session that waits for new mail (IDLE, RFC 2177), as phones keep open for hours."""

    def __init__(self, client: str, user: str, password: str) -> None:
        self._imap = _Imap(client)
        self._imap.login(f'"{user}"', password)  # imaplib quotes the password alone
        self._imap.select()
        self._imap.send(b"idle IDLE\r\n")
        while not (line := self._imap.readline()).startswith(b"+"):
            assert line, "Dovecot does not let us wait"

    def logout(self) -> None:
        """Stop waiting, and log out."""
        self._imap.send(b"DONE\r\n")
        while not self._imap.readline().startswith(b"idle "):
            pass
        self._imap.logout()

    def close(self) -> None:
        """Go without a word; of a session that was logged out nothing is left."""
        with suppress(OSError):
            self._imap.shutdown()


class Clients:
    """The other host: its addresses log in and send mail."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, initializer=self._enter)
        self.sessions: list[smtplib.SMTP | IdleSession] = []

    @staticmethod
    def _enter() -> None:
        """Move this thread, and only this thread, to the other host."""
        descriptor = os.open("/run/netns/clients", os.O_RDONLY)
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        os.close(descriptor)

    def __call__(self, function: Callable[[], Result]) -> Result:
        """Run something on the other host."""
        return self._thread.submit(function).result(timeout=60)

    def pop3_login(self, client: str, user: str = "alice", password: str = "secret") -> bool:  # noqa: S107
        """Log in to POP3 and out again; say whether it worked."""

        def login() -> bool:
            with socket.create_connection((server_for(client), 110), timeout=10, source_address=(client, 0)) as raw:
                pop = poplib.POP3.__new__(poplib.POP3)
                pop.sock, pop.file, pop._debugging = raw, raw.makefile("rb"), 0  # type: ignore[attr-defined]
                pop._getresp()  # type: ignore[attr-defined]
                try:
                    pop.user(user)
                    pop.pass_(password)
                except poplib.error_proto:
                    return False
                pop.quit()
                return True

        return self(login)

    def imap_login(self, client: str, user: str = "alice", password: str = "secret") -> bool:  # noqa: S107
        """Log in to IMAP and out again; say whether it worked."""

        def login() -> bool:
            imap = _Imap(client)
            try:
                imap.login(user, password)
            except imaplib.IMAP4.error:
                return False
            finally:
                imap.logout()
            return True

        return self(login)

    def idle(self, client: str, user: str = "alice", password: str = "secret") -> IdleSession:  # noqa: S107
        """Log in to IMAP and stay, waiting for mail; the test's end closes the session."""
        session = self(lambda: IdleSession(client, user, password))
        self.sessions.append(session)
        return session

    def smtp(self, client: str, port: int = SOCKETMAP_PORT) -> smtplib.SMTP:
        """Begin an SMTP session; the test's end closes it."""

        def begin() -> smtplib.SMTP:
            smtp = smtplib.SMTP(
                server_for(client), port, local_hostname="client.example", timeout=30, source_address=(client, 0)
            )
            smtp.ehlo()
            return smtp

        session = self(begin)
        self.sessions.append(session)
        return session

    def rcpt(self, client: str, port: int = SOCKETMAP_PORT, to: str = OUTSIDE) -> Answer:
        """Ask in a new session whether mail to somebody is taken; no mail is sent."""
        smtp = self.smtp(client, port)
        try:
            return rcpt(smtp, to)
        finally:
            smtp.close()
            self.sessions.remove(smtp)


def server_for(client: str) -> str:
    """Return the server's address of the client's kind."""
    return SERVER6 if ":" in client else SERVER4


def rcpt(smtp: smtplib.SMTP, to: str = OUTSIDE) -> Answer:
    """Ask in an open session whether mail to somebody is taken, then take it back."""
    smtp.mail("sender@client.example")
    code, text = smtp.rcpt(to)
    smtp.rset()
    return Answer(code, text.decode(errors="replace"))


class Daemon:
    """pop-before-smtp itself, as a process."""

    def __init__(self, config: Path, log: Path, *program: str) -> None:
        self.log = log
        self._config = config
        self._output = log.open("ab")
        self._began = log.stat().st_size
        self.process = subprocess.Popen(
            [sys.executable, *(program or ("-m", "popbeforesmtp")), "run", "--debug", "--config", str(config)],
            stderr=self._output,
        )

    def ready(self) -> "Daemon":
        """Wait until it says that it is."""
        wait_for(
            "the daemon is ready", lambda: "ready authorizations=" in self.said() or self.process.poll() is not None
        )
        assert self.process.poll() is None, self.said()
        return self

    def said(self) -> str:
        """Return all that it has said since it began."""
        return self.log.read_bytes()[self._began :].decode()

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of its commands."""
        return subprocess.run(
            [sys.executable, "-m", "popbeforesmtp", arguments[0], "--config", str(self._config), *arguments[1:]],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it, and return its exit status."""
        self.process.send_signal(number)
        status = self.process.wait(timeout=15)
        self._output.close()
        return status


class Lab:
    """The servers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clients = Clients()
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start everything but pop-before-smtp."""
        self.start_rsyslog()
        self._start_dovecot()
        self._start_dns()
        self._start_postfix()

    def stop(self) -> None:
        """Stop everything."""
        subprocess.run(["postfix", "stop"], capture_output=True, check=False)
        for process in self._processes:
            process.terminate()
            process.wait(timeout=10)

    def rotate(self) -> None:
        """Rotate the log as logrotate's `create` does, with a moment between the new file and the signal."""
        LOG.rename("/var/log/mail.log.1")
        LOG.touch(0o640)
        self._rsyslog.send_signal(signal.SIGHUP)

    def config(self, *, grace: str = "30m", more: str = "") -> Path:
        """Write a configuration; all else is found out by the daemon, as on any Debian machine."""
        path = self.folder / "pop-before-smtp.toml"
        path.write_text(f'grace = "{grace}"\n{more}\n')
        return path

    def start_rsyslog(self) -> None:
        """Start rsyslog."""
        (Path("/var/spool/postfix") / "dev").mkdir(exist_ok=True)
        config = self._write("rsyslog.conf", _RSYSLOG)
        self._rsyslog = self._spawn(["rsyslogd", "-n", "-f", str(config), "-i", "/run/rsyslog.pid"])
        wait_for("rsyslog listens", lambda: Path("/dev/log").is_socket())

    def _start_dovecot(self) -> None:
        Path("/etc/dovecot/lab.users").write_text(
            "".join(f"{user}:{{PLAIN}}secret\n" for user in ("alice", "bob", "carol@lab.example", HOSTILE_ACCOUNT))
        )
        Path("/var/lib/dovecot/mail").mkdir(mode=0o777, exist_ok=True)
        shutil.chown("/var/lib/dovecot/mail", "mail", "mail")
        self._spawn(["dovecot", "-F", "-c", str(self._write("dovecot.conf", _DOVECOT))])
        wait_for("Dovecot answers", lambda: _answers("127.0.0.1", 110) and _answers("127.0.0.1", 143))

    def _start_dns(self) -> None:
        listed = [f"--address=/{last}.2.0.192.rbl.example/127.0.0.2" for last in (13, 14)]
        self._spawn(
            ["dnsmasq", "-k", "--no-resolv", "--no-hosts", "--listen-address=127.0.0.1", "--bind-interfaces", *listed]
        )
        for path in (Path("/run/resolv.conf"), Path("/var/spool/postfix/etc/resolv.conf")):
            path.parent.mkdir(exist_ok=True)
            path.write_text("nameserver 127.0.0.1\n")
        subprocess.run(["mount", "--bind", "/run/resolv.conf", "/etc/resolv.conf"], check=True)

    def _start_postfix(self) -> None:
        main = main_cf() + (CONTRIB / "postfix" / "main.cf").read_text()
        Path("/etc/postfix/main.cf").write_text(main)
        with Path("/etc/postfix/master.cf").open("a") as master:
            master.write(master_cf())
        subprocess.run(["newaliases"], capture_output=True, check=False)
        for name in ("hosts", "services", "nsswitch.conf"):
            shutil.copy(f"/etc/{name}", "/var/spool/postfix/etc/")
        subprocess.run(["postfix", "start"], check=True, capture_output=True)
        wait_for("Postfix answers", lambda: _answers("127.0.0.1", SOCKETMAP_PORT))

    def _write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def _spawn(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with (self.folder / "servers.log").open("ab") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output)
        self._processes.append(process)
        return process
