"""A folder with all that a daemon needs, for tests that run it as a process."""

import fcntl
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.control import ask
from popbeforesmtp.errors import PopBeforeSmtpError
from popbeforesmtp.mtas._lmdb import LmdbFile

ROOT = Path(__file__).parents[1]
CLIENT, OTHER = "192.0.2.10", "192.0.2.11"


def wait_for(what: str, condition: Callable[[], object], seconds: float = 15.0) -> None:
    """Wait until something holds; fail with its name where it does not in time."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"waited {seconds} s in vain: {what}"
        time.sleep(0.01)


def permitted(socketmap: Path, client: str) -> bool | None:
    """Ask a socketmap whether a client may relay; None where nobody answers."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        try:
            connection.connect(str(socketmap))
            question = f"clients {client}".encode()
            connection.sendall(b"%d:%s," % (len(question), question))
            answer = connection.recv(100)
        except OSError:
            return None
    return {b"5:OK OK,": True, b"9:NOTFOUND ,": False}.get(answer)


def in_map(access_map: Path) -> set[str]:
    """Return the keys of an lmdb map, as another process reads them."""
    program = (
        "import lmdb, sys\n"
        "with lmdb.open(sys.argv[1], subdir=False, lock=False, readonly=True).begin() as transaction:\n"
        "    print(*(bytes(key).rstrip(b'\\0').decode() for key, _ in transaction.cursor()))\n"
    )
    read = subprocess.run([sys.executable, "-c", program, str(access_map)], capture_output=True, text=True, check=True)
    return set(read.stdout.split())


class Site:
    """A folder with all that a daemon needs, and the daemons that run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "pop-before-smtp.toml"
        self.log = folder / "mail.log"
        self.said_to = folder / "daemon.log"
        self.control = folder / "control"
        self.socketmap = folder / "map"
        self.store = folder / "state.sqlite"
        self.pid_file = folder / "pid"
        self.python = sys.executable
        self._started: list[subprocess.Popen[bytes]] = []
        self.log.touch()
        (folder / "postfix").mkdir(exist_ok=True)
        main = folder / "postfix" / "main.cf"
        main.write_text("myhostname = mx1.example.org\nmydomain = example.org\n")
        os.utime(main, (0, 0))  # Postfix's programs wait where it was written just now
        self.configure()

    def configure(self, **changes: str) -> Path:
        """Write the configuration: ``name=value`` pairs take the place of the usual ones, ``more`` goes to the end."""
        usual = {
            "grace": '"30m"',
            "control": f'"{self.control}"',
            "log": f'"{self.said_to}"',
            "never": "[]",
            "source": f'"{self.log}"',
            "store": f'"{self.store}"',
            "listen": f'"unix:{self.socketmap}"',
            "more": "",
        }
        unknown = changes.keys() - usual.keys()
        assert not unknown, unknown
        say = {**usual, **changes}
        no_map = "" if "[[mta]]" in say["more"] else "mta = []\n"  # else this machine's Postfix would be asked
        new = self.config.with_suffix(".new")
        new.write_text(
            f"grace = {say['grace']}\ncontrol = {say['control']}\nlog = {say['log']}\n{no_map}"
            f"[rules]\ntrusted = []\nnever = {say['never']}\n"
            f'[[source]]\ntype = "file"\npath = {say["source"]}\n'
            f'[store]\ntype = "sqlite"\npath = {say["store"]}\n'
            f'[[lookup]]\ntype = "socketmap"\nlisten = {say["listen"]}\n'
            f"{say['more']}\n"
        )
        new.replace(self.config)
        return self.config

    def login(self, client: str, log: Path | None = None, *, user: str = "alice") -> None:
        """Write a login into the log, as Dovecot does."""
        with (log or self.log).open("a") as file:
            file.write(
                f"{datetime.now(UTC).isoformat()} mx1 dovecot: imap-login: Login: user=<{user}>, method=PLAIN,"
                f" rip={client}, lip=198.51.100.1, mpid=7, session=<abc>\n"
            )

    def command(self, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run ``pop-before-smtp`` to its end."""
        usual = {"capture_output": True, "text": True, "timeout": 30, "cwd": self.folder, "env": self.environ()}
        return subprocess.run(
            [self.python, "-m", "popbeforesmtp", *map(str, arguments)], check=False, **{**usual, **options}
        )

    def detach(self, *more: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run the daemon in the background."""
        return self.command("run", "--daemon", self.pid_file, "--config", self.config, *more, **options)

    def start(self, *more: str | Path, program: str = "", **environ: str) -> subprocess.Popen[bytes]:
        """Run the daemon in the foreground; ``program`` is Python that is run before it."""
        main = f"import sys; from popbeforesmtp import cli\n{program}\nsys.exit(cli.main())"
        with (self.folder / "stderr").open("ab") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-c", main, "run", "--config", str(self.config), *map(str, more)],
                cwd=self.folder,
                env=self.environ(environ),
                stderr=stderr,
            )
        self._started.append(process)
        return process

    def environ(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return an environment in which nobody's service manager is found, nor this machine's Postfix."""
        unwanted = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM")
        kept = {key: value for key, value in os.environ.items() if key not in unwanted}
        packages = [str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))]
        return {**kept, "PYTHONPATH": ":".join(packages), "MAIL_CONFIG": str(self.folder / "postfix"), **(more or {})}

    def ready(self) -> None:
        """Wait until the socketmap answers."""
        wait_for("the socketmap answers", lambda: permitted(self.socketmap, "203.0.113.1") is not None)

    def pid(self) -> int:
        """Return the process that the pid file names."""
        return int(self.pid_file.read_text())

    def said(self) -> str:
        """Return what the daemon has logged."""
        return self.said_to.read_text() if self.said_to.exists() else ""

    def windows(self) -> dict[str, str]:
        """Return who may relay until when, as the daemon says."""
        try:
            entries = ask(self.control, "list")
        except PopBeforeSmtpError:
            return {}
        return {entry["address"]: entry["expires_at"] for entry in entries or ()}

    def processes(self) -> set[int]:
        """Return all processes that were started here: they have our environment, wherever they went."""
        found = set()
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                ours = bytes(self.folder / "postfix") in (folder / "environ").read_bytes()
                dead = ") Z " in (folder / "stat").read_text()
            except OSError:  # gone, or somebody else's
                continue
            if ours and not dead:
                found.add(int(folder.name))
        return found

    def close(self) -> None:
        """End what still runs here."""
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        for process in self._started:
            process.kill()
            process.wait(timeout=10)


def state(site: Site) -> dict[str, Any] | None:
    """Return the daemon's status, None where there is none."""
    answer: dict[str, Any] | None = ask(site.control, "status")
    return answer


def map_section(path: Path, *, result: str = "OK") -> str:
    """Write a section for an access map that needs no Postfix."""
    return f'[[mta]]\ntype = "postfix"\nmap = "lmdb:{path}"\nreload = "never"\nresult = "{result}"'


class Held:
    """An access map that a start must change, and whose lock somebody else holds: the start waits for it."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + ".lmdb")
        old = LmdbFile(self.path, "OK")
        old.replace([ClientAddress("203.0.113.9")])
        old.close()
        self._descriptor = os.open(self.path, os.O_RDWR)
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX)

    def release(self) -> None:
        """Let go of the lock."""
        os.close(self._descriptor)


def busy_socket(path: Path) -> socket.socket:
    """Listen where the daemon wants to."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    return listener


def python_for_all() -> str:
    """Return a Python like this one that every user may run; skip where there is none."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for path in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        program = Path(path).resolve()
        ways = [*program.parents, *Path(path).parents]
        if program.exists() and all(folder.stat().st_mode & stat.S_IXOTH for folder in ways):
            return path
    pytest.skip("this Python lies where only root may read it")
