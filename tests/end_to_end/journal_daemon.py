"""A machine that keeps its mail log in the journal only: journald, a Dovecot in its unit, and our daemon beside them.

The other end-to-end tests have a rsyslog and a mail.log on the same host; the daemon of these sees an empty /var/log.
"""

import signal
import subprocess
import sys
from pathlib import Path

from tests.end_to_end.journal import DOVECOT, Journald
from tests.end_to_end.lab import SERVER4, Clients, answers, wait_for

PORT = 2110

_CONFIG = """
protocols = pop3
listen = 198.51.100.1
base_dir = /run/dovecot-unit
ssl = no
disable_plaintext_auth = no
auth_failure_delay = 0
mail_location = maildir:/var/lib/dovecot/mail/%u
first_valid_uid = 1
passdb {
  driver = passwd-file
  args = /etc/dovecot/unit.users
}
userdb {
  driver = static
  args = uid=mail gid=mail home=/var/lib/dovecot/mail
}
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service pop3-login {
  inet_listener pop3 {
    port = 2110
  }
  inet_listener pop3s {
    port = 0
  }
}
"""

# systemd makes /dev/log a link to journald's socket, which outlives every journald.
_DEV = """
dev=$(mktemp -d) && mount -t tmpfs -o mode=0755 tmpfs "$dev" &&
cp -a /dev/null /dev/zero /dev/random /dev/urandom "$dev/" &&
ln -s /run/systemd/journal/dev-log "$dev/log" && mount --move "$dev" /dev &&
"""


class JournalHost(Journald):
    """A journald, and a Dovecot in its unit that clients of the other host log in to."""

    def start_mail(self) -> None:
        """Start Dovecot."""
        Path("/etc/dovecot/unit.users").write_text("alice:{PLAIN}secret\nbob:{PLAIN}secret\n")
        config = self.folder / "dovecot.conf"
        config.write_text(_CONFIG)
        self._spawn(DOVECOT, ["unshare", "--mount", "sh", "-c", f"{_DEV} exec dovecot -F -c {config}"])
        wait_for("Dovecot answers", lambda: answers(SERVER4, PORT))

    def restart(self) -> None:
        """Kill journald, and start another."""
        self.kill()
        self.start()


class JournalDaemon:
    """pop-before-smtp with no source configured, on a host without any file in /var/log."""

    def __init__(self, config: Path, log: Path) -> None:
        self.log = log
        self._config = config
        self._output = log.open("ab")
        self._began = log.stat().st_size
        program = [sys.executable, "-m", "popbeforesmtp", "run", "--debug", "--config", str(config)]
        self.process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs tmpfs /var/log && exec "$@"', "sh", *program],
            stderr=self._output,
        )
        wait_for(
            "the daemon is ready", lambda: "ready authorizations=" in self.said() or self.process.poll() is not None
        )
        assert self.process.poll() is None, self.said()

    def said(self) -> str:
        """Return all that it has said since it began."""
        return self.log.read_bytes()[self._began :].decode()

    def wait_for(self, text: str) -> None:
        """Wait until it has said something."""
        wait_for(f"it says {text!r}", lambda: text in self.said())

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of its commands."""
        return command(arguments[0], "--config", str(self._config), *arguments[1:])

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it, and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(timeout=15)
        self._output.close()
        return status


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``pop-before-smtp``."""
    return subprocess.run(
        [sys.executable, "-m", "popbeforesmtp", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def login(clients: Clients, client: str, *, user: str = "alice", password: str = "secret") -> bool:
    """Log in to the Dovecot of the journal from an address of the other host, and out again; say whether it worked."""
    return clients.pop3_login(client, user, password, port=PORT)


def login_text(client: str, user: str = "alice") -> str:
    """Return what Dovecot writes of a login, to the letter."""
    return f"pop3-login: Login: user=<{user}>, method=PLAIN, rip={client}, lip=198.51.100.1, mpid=7, session=<AAAAAAAA>"
