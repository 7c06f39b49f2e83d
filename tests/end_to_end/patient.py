"""A machine on which all is well, for tests that plant one fault and let ``doctor`` find it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.end_to_end.configurations import POSTFIX
from tests.end_to_end.lab import CONTRIB, MAP, Daemon, Lab, wait_for

CLIENT = "192.0.2.10"
CRON = Path("/etc/cron.d/pop-before-smtp")
MAIN = (CONTRIB / "postfix" / "main.cf").read_text()
CONFIG_DIR = Path("/run/postfix-doctor")
"""Postfix's configuration as doctor sees it: a copy that tests change. The Postfix that runs has another."""

Findings = list[dict[str, str]]


@dataclass
class Patient:
    """The machine; ``main`` and ``master`` are its main.cf and master.cf, to be changed before `doctor` is asked."""

    daemon: Daemon
    main: str
    master: str
    environment: dict[str, str] = field(default_factory=dict)

    def swap(self, old: str, new: str) -> None:
        """Change main.cf, which must hold what is changed."""
        assert old in self.main
        self.main = self.main.replace(old, new)

    def doctor(self, *more: str, config: Path | None = None) -> tuple[int, Findings]:
        """Run it, and return its exit status and what it found."""
        (CONFIG_DIR / "main.cf").write_text(self.main)
        (CONFIG_DIR / "master.cf").write_text(self.master)
        path = config or self.daemon._config
        done = subprocess.run(
            [sys.executable, "-m", "popbeforesmtp", "doctor", "--json", "--config", path, *more],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, "MAIL_CONFIG": str(CONFIG_DIR), **self.environment},
        )
        assert done.stderr == ""
        return done.returncode, json.loads(done.stdout)


def faults(findings: Findings) -> list[tuple[str, str]]:
    """Return the links on which something is wrong, with what."""
    return [(finding["link"], finding["found"]) for finding in findings if finding["level"] == "wrong"]


@contextmanager
def well(lab: Lab, daemon: Daemon) -> Iterator[Patient]:
    """Make all well: the distribution's master.cf, our own lines for main.cf, and somebody who logged in."""
    shutil.copytree("/etc/postfix", CONFIG_DIR)
    try:
        with swept():
            yield _logged_in(lab, daemon)
    finally:
        shutil.rmtree(CONFIG_DIR)


@contextmanager
def swept() -> Iterator[None]:
    """Have a line for cron, which is what there is without systemd."""
    CRON.parent.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", CRON.parent], check=True)
    CRON.write_text("* * * * * root pop-before-smtp sweep\n")
    try:
        yield
    finally:
        subprocess.run(["umount", CRON.parent], check=True)


def _logged_in(lab: Lab, daemon: Daemon) -> Patient:
    assert lab.clients.pop3_login(CLIENT)
    wait_for("the login is granted", lambda: f"granted client={CLIENT} " in daemon.said())
    wait_for("the map holds it", lambda: _in_map(CLIENT))
    wait_for("the store holds it", lambda: CLIENT in daemon.command("list").stdout)
    services = subprocess.run(["postconf", "-M"], capture_output=True, text=True, check=True).stdout
    own = [line for line in services.splitlines() if not line.split()[0].isdigit()]  # without the lab's own ports
    return Patient(daemon, POSTFIX + MAIN, "\n".join(own) + "\n")


def _in_map(client: str) -> bool:
    done = subprocess.run(["postmap", "-q", client, f"lmdb:{MAP.with_suffix('')}"], capture_output=True, check=False)
    return done.returncode == 0
