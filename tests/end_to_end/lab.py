"""The servers of the end-to-end tests, and all that a test needs beside them.

Real rsyslog, Dovecot, Postfix and dnsmasq from Debian's packages, each with its own files in private copies.
"""

import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.end_to_end.clients import (
    OUTSIDE,
    OWN,
    SERVER4,
    SERVER6,
    Answer,
    Clients,
    IdleSession,
    answers,
    rcpt,
    server_for,
)
from tests.end_to_end.configurations import (
    DOVECOT,
    LMDB_PORT,
    MAP,
    MAP_PORTS,
    RSYSLOG,
    SOCKETMAP_PORT,
    main_cf,
    map_name,
    master_cf,
)
from tests.end_to_end.daemon import Daemon
from tests.site import wait_for

__all__ = [
    "CONTRIB",
    "HOSTILE_ACCOUNT",
    "LMDB_PORT",
    "LOG",
    "MAP",
    "MAP_PORTS",
    "OUTSIDE",
    "OWN",
    "SERVER4",
    "SERVER6",
    "SOCKETMAP_PORT",
    "Answer",
    "Clients",
    "Daemon",
    "IdleSession",
    "Lab",
    "answers",
    "main_cf",
    "map_name",
    "master_cf",
    "rcpt",
    "server_for",
    "wait_for",
]


LOG = Path("/var/log/mail.log")
HOSTILE_ACCOUNT = "m>, method=plain, rip=9.9.9.9, lip=1.1.1.1, mpid=1, session=<a>"
"""A real account, where Dovecot's auth_username_chars allows all characters; its log line looks like two."""


CONTRIB = Path(__file__).parents[2] / "contrib"


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
        config = self._write("rsyslog.conf", RSYSLOG)
        self._rsyslog = self._spawn(["rsyslogd", "-n", "-f", str(config), "-i", "/run/rsyslog.pid"])
        wait_for("rsyslog listens", lambda: Path("/dev/log").is_socket())

    def _start_dovecot(self) -> None:
        Path("/etc/dovecot/lab.users").write_text(
            "".join(f"{user}:{{PLAIN}}secret\n" for user in ("alice", "bob", "carol@lab.example", HOSTILE_ACCOUNT))
        )
        Path("/var/lib/dovecot/mail").mkdir(mode=0o777, exist_ok=True)
        shutil.chown("/var/lib/dovecot/mail", "mail", "mail")
        self._spawn(["dovecot", "-F", "-c", str(self._write("dovecot.conf", DOVECOT))])
        wait_for("Dovecot answers", lambda: answers("127.0.0.1", 110) and answers("127.0.0.1", 143))

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
        wait_for("Postfix answers", lambda: answers("127.0.0.1", SOCKETMAP_PORT))

    def _write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def _spawn(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with (self.folder / "servers.log").open("ab") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output)
        self._processes.append(process)
        return process
