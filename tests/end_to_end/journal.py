"""A real systemd-journald without an init system: units are control groups of our own, in a namespace of their own."""

import os
import poplib
import shutil
import signal
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from popbeforesmtp.entry import EntryReader
from popbeforesmtp.model import LogMessage
from popbeforesmtp.sources.journal import open_source
from tests.end_to_end.lab import answers, wait_for

DOVECOT = "system.slice/dovecot.service"
SESSION = "user.slice/user-1000.slice/session-1.scope"
POP3_PORT = 1110
RUNTIME, PERSISTENT = Path("/run/log/journal"), Path("/var/log/journal")
SOCKETS = Path("/run/systemd/journal")

_CONFIGURATION = """
protocols = pop3
listen = 127.0.0.1
base_dir = /run/dovecot-journal
ssl = no
disable_plaintext_auth = no
mail_location = maildir:/var/lib/dovecot/journal/%u
first_valid_uid = 1
passdb {
  driver = passwd-file
  args = /etc/dovecot/journal.users
}
userdb {
  driver = static
  args = uid=mail gid=mail home=/var/lib/dovecot/journal
}
service pop3-login {
  inet_listener pop3 {
    port = 1110
  }
  inet_listener pop3s {
    port = 0
  }
}
"""


class Journald:
    """The daemon, and processes in units that it knows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        mount = folder / "cgroup"
        mount.mkdir()
        subprocess.run(["mount", "-t", "cgroup2", "none", str(mount)], check=True)
        self._root = mount / f"popbeforesmtp-{os.getpid()}-{id(self):x}"
        self._root.mkdir()
        self._processes: list[subprocess.Popen[bytes]] = []
        config = Path("/run/systemd/journald.conf.d/lab.conf")
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text("[Journal]\nRateLimitIntervalSec=0\nSyncIntervalSec=1s\n")
        for path in (SOCKETS, RUNTIME):
            path.mkdir(parents=True, exist_ok=True)
        self.start()

    def start(self) -> None:
        """Start it; the namespace begins at our own group, so that units stand at the top of it."""
        # The sockets of one that was killed are still there, and systemd would hand them over open.
        for path in SOCKETS.iterdir():
            if path.is_socket():
                path.unlink()
        inside = "mount -t cgroup2 none /sys/fs/cgroup && exec /lib/systemd/systemd-journald"
        self._journald = self._spawn("", ["unshare", "--cgroup", "--mount", "sh", "-c", inside])
        wait_for("journald listens", lambda: (SOCKETS / "stdout").is_socket() or self._journald.poll() is not None)
        assert self._journald.poll() is None
        wait_for("journald answers", lambda: self._synchronize() == 0)

    def kill(self) -> None:
        """Kill it."""
        self.send(signal.SIGKILL)
        self._journald.wait(timeout=10)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal: SIGUSR1 has it move to the disk, SIGUSR2 rotate."""
        self._journald.send_signal(number)

    def stop(self) -> None:
        """End everything, and leave nothing behind."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(timeout=10)
        shutil.rmtree(RUNTIME)
        shutil.rmtree(PERSISTENT, ignore_errors=True)
        wait_for("the control groups are empty", self._removed)
        subprocess.run(["umount", str(self._root.parent)], check=True)

    def run(self, command: Sequence[str], *, group: str = "", uid: int = 0, text: bytes = b"") -> None:
        """Run a program in a unit, as some user, to its end."""
        subprocess.run(self._command(group, command, uid), input=text, check=True, timeout=30)

    def logger(self, text: str, *, group: str = "", uid: int = 0, tag: str = "dovecot") -> None:
        """Write to syslog's socket by `logger`."""
        self.run(
            ["logger", "--socket", str(SOCKETS / "dev-log"), "--tag", tag, "--priority", "mail.info", text],
            group=group,
            uid=uid,
        )

    def start_dovecot(self) -> None:
        """Start a Dovecot in its unit, which finds journald where every program looks for syslog."""
        Path("/etc/dovecot/journal.users").write_text("alice:{PLAIN}secret\n")
        mail = Path("/var/lib/dovecot/journal")
        mail.mkdir()
        shutil.chown(mail, "mail", "mail")
        config = self.folder / "dovecot.conf"
        config.write_text(_CONFIGURATION)
        inside = (
            "[ -e /dev/log ] || : >/dev/log; mount --bind /run/systemd/journal/dev-log /dev/log;"
            f" exec dovecot -F -c {config}"
        )
        self._spawn(DOVECOT, ["unshare", "--mount", "sh", "-c", inside])
        wait_for("Dovecot answers", lambda: answers("127.0.0.1", POP3_PORT))

    def _spawn(self, group: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with (self.folder / "journald.log").open("ab") as output:
            process = subprocess.Popen(self._command(group, command, 0), stdout=output, stderr=output)
        self._processes.append(process)
        return process

    def _command(self, group: str, command: Sequence[str], uid: int) -> list[str]:
        place = self._root / group
        place.mkdir(parents=True, exist_ok=True)
        enter = ["sh", "-c", f'echo 0 >{place}/cgroup.procs && exec "$@"', "sh"]
        user = ["setpriv", f"--reuid={uid}", "--clear-groups"] if uid else []
        return [*enter, *user, *command]

    def _synchronize(self) -> int:
        return subprocess.run(["journalctl", "--sync"], capture_output=True, check=False, timeout=10).returncode

    def _removed(self) -> bool:
        try:
            for path in sorted(self._root.rglob("*/"), reverse=True):
                path.rmdir()
            self._root.rmdir()
        except OSError:
            return False
        return True


class Follower:
    """A journal source and what came through it."""

    def __init__(self, checkpoint: str | None = None, programs: tuple[str, ...] = ("dovecot",)) -> None:
        self.source = open_source(programs=programs, checkpoint=checkpoint)
        self.reader = EntryReader()
        self.checkpoint = checkpoint
        self.messages: list[LogMessage] = []
        self.notices: list[str] = []

    def read(self) -> list[str]:
        """Read all there is at present, and return the text of all that was ever read."""
        while (block := self.source.read()) is not None:
            self.checkpoint = block.checkpoint
            messages = (self.reader.read(line, datetime.now(UTC)) for line in block.data.splitlines())
            self.messages += [message for message in messages if message is not None]
        self.notices += self.source.notices()
        return [message.text.decode(errors="replace") for message in self.messages]

    def wait_for(self, text: str) -> LogMessage:
        """Read until a message with this text has come."""
        wait_for(f"the entry {text!r}", lambda: text in self.read())
        return next(message for message in self.messages if message.text == text.encode())


def pop3_login() -> None:
    """Log in to the Dovecot of this journal, and out again."""
    session = poplib.POP3("127.0.0.1", POP3_PORT, timeout=10)
    try:
        session.user("alice")
        session.pass_("secret")
        session.quit()
    finally:
        session.close()
