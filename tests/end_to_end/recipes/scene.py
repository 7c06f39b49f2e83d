"""What the tests of the recipes share: the tools of Debian's packages on this machine, and the daemon with a recipe."""

import shlex
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.end_to_end.lab import SERVER4, SERVER6, Clients, Daemon, server_for, wait_for

UNPACKED = Path("/var/cache/pop-before-smtp-tests")
PACKAGES = ["opensmtpd", "courier", "ucspi-tcp", "fail2ban", "postgrey", "rspamd"]
LAYERS = Path("/run/recipes")
PROGRAMS = Path("/usr/local/lib/pop-before-smtp")
STATE = Path("/var/lib/pop-before-smtp")

CLIENT, STRANGER, CLIENT6 = "192.0.2.10", "192.0.2.11", "2001:db8:1:2:3:4:5:6"
ZEROS6 = "2001:db8::10"
GRACE = timedelta(minutes=30)
SHORT = 8.0  # seconds of a window that a test waits for the end of


def run(*command: str | Path, said: str = "") -> str:
    """Run a program that must work, and return what it prints."""
    done = subprocess.run(list(command), input=said, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{shlex.join(map(str, command))}: {done.stdout}{done.stderr}"
    return done.stdout


def lay_over(folder: Path, under: Sequence[Path]) -> None:
    """Let packages appear in a folder, where it has not the same itself; changes are lost in the end."""
    mounted = [Path(line.split()[1]) for line in Path("/proc/self/mounts").read_text().splitlines()]
    kept = {}
    for number, inner in enumerate(
        sorted({path for path in mounted if path.is_relative_to(folder) and path != folder})
    ):
        kept[inner] = LAYERS / f"kept{folder.name}{number}"
        kept[inner].mkdir() if inner.is_dir() else kept[inner].touch()
        run("mount", "--bind", inner, kept[inner])
    upper, work = LAYERS / f"upper-{folder.name}", LAYERS / f"work-{folder.name}"
    upper.mkdir()
    work.mkdir()
    lower = ":".join(str(path) for path in (folder, *under) if path.is_dir())
    run("mount", "-t", "overlay", "-o", f"lowerdir={lower},upperdir={upper},workdir={work}", "overlay", folder)
    for inner, place in kept.items():
        run("mount", "--bind", place, inner)


class Following(Daemon):
    """The daemon with one recipe, on a log of its own."""

    def __init__(self, folder: Path, recipe: Path, grace: timedelta = GRACE) -> None:
        self._log = folder / "mail.log"
        self._log.touch(0o640)
        config = folder / "pop-before-smtp.toml"
        no_map = "" if "[[mta]]" in recipe.read_text() else "mta = []\n"
        config.write_text(
            f'grace = "{grace.total_seconds():.0f}s"\n{no_map}[rules]\ntrusted = []\n[[source]]\ntype = "file"\n'
            f'path = "{self._log}"\n[store]\ntype = "sqlite"\npath = "{folder}/state.sqlite"\n'
            f'[[lookup]]\ntype = "socketmap"\nlisten = "unix:{folder}/map"\n{recipe.read_text()}'
        )
        super().__init__(config, folder / "daemon.log")
        self.ready()

    def log_in(self, client: str, left: float = GRACE.total_seconds()) -> None:
        """Write a login line, of which so much of the window is left."""
        stamp = (datetime.now(UTC) - GRACE + timedelta(seconds=left)).isoformat()
        line = f"imap-login: Login: user=<alice>, method=PLAIN, rip={client}, lip={SERVER4}, mpid=1, session=<AAAA>"
        with self._log.open("a") as log:
            log.write(f"{stamp} mx1 dovecot: {line}\n")

    def fail(self, client: str, times: int, ago: float = 0.0) -> None:
        """Write lines of failed logins, so many seconds old."""
        stamp = (datetime.now(UTC) - timedelta(seconds=ago)).isoformat()
        line = (
            "imap-login: Disconnected (auth failed, 1 attempts in 2 secs):"
            f" user=<bob>, method=PLAIN, rip={client}, lip={SERVER4}, session=<AAAA>"
        )
        with self._log.open("a") as log:
            log.write(f"{stamp} mx1 dovecot: {line}\n" * times)


def opens_and_closes(daemon: Following, may: Callable[[str], bool], client: str) -> None:
    """Refused, granted, accepted, expired, refused; a stranger is refused all the time."""
    assert not may(client)
    daemon.log_in(client, SHORT)
    wait_for("it is let in", lambda: may(client), SHORT)
    assert not may(STRANGER)
    wait_for("it is let out", lambda: not may(client), SHORT + 10)
    wait_for("the daemon says so", lambda: f"expired client={client}" in daemon.said())


def greets(host: str, port: int) -> bool:
    """Say whether a server there says something first."""
    try:
        with socket.create_connection((host, port), timeout=5) as connection:
            return bool(connection.recv(1))
    except OSError:
        return False


@contextmanager
def listening(*ports: int) -> Iterator[None]:
    """Listen on the server's ports, in IPv4 and IPv6; whoever connects is hung up on."""
    sockets = [socket.create_server((SERVER4, port)) for port in ports]
    sockets += [socket.create_server((SERVER6, port), family=socket.AF_INET6) for port in ports]
    for each in sockets:
        threading.Thread(target=_accept, args=(each,), daemon=True).start()
    yield
    for each in sockets:
        each.shutdown(socket.SHUT_RDWR)
        each.close()


def _accept(listener: socket.socket) -> None:
    with suppress(OSError):  # it was closed
        while True:
            listener.accept()[0].close()


def reaches(clients: Clients, client: str, port: int) -> bool:
    """Say whether a client can connect to a port of the server's."""

    def connect() -> bool:
        try:
            with socket.create_connection((server_for(client), port), timeout=0.5, source_address=(client, 0)):
                return True
        except OSError:
            return False

    return clients(connect)
