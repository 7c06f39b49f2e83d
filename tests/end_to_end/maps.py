"""Maps of every type as the tests of Postfix ask for them, and logins by the crowd."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

import pytest

from tests.end_to_end.lab import LOG, MAP_PORTS, map_name

CROWD = tuple(f"192.0.2.{last}" for last in range(21, 101))
EACH = 0.1  # seconds from one login of the crowd to the next
LATE = 1.5  # seconds behind its end within which a window is closed to new connections; a renamed map is gathered for 1

each_type = pytest.mark.parametrize("kind", MAP_PORTS)

_WRITER = """
import sys, syslog
syslog.openlog("dovecot", 0, syslog.LOG_MAIL)
for line in sys.stdin:
    syslog.syslog(syslog.LOG_INFO, line.rstrip("\\n"))
"""


@dataclass(frozen=True)
class Asked:
    """One recipient on a new connection."""

    client: str
    began: float
    ended: float
    code: int


class Logins:
    """A process that writes login lines through rsyslog, as Dovecot does; and when each of them was written."""

    def __init__(self) -> None:
        self._writer = subprocess.Popen([sys.executable, "-c", _WRITER], stdin=subprocess.PIPE, text=True)
        self.began: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.communicate()

    def write(self, client: str) -> None:
        """Write one."""
        self.began[client] = time.time()
        assert self._writer.stdin is not None
        self._writer.stdin.write(
            f"imap-login: Login: user=<alice>, method=PLAIN, rip={client}, lip=198.51.100.1, mpid=1, session=<AAAA>\n"
        )
        self._writer.stdin.flush()


def types(*inside: str) -> list[str]:
    """Return what types of maps Postfix can read."""
    return subprocess.run([*inside, "postconf", "-m"], capture_output=True, text=True, check=True).stdout.split()


def settings(*kinds: str) -> str:
    """Return the part of the configuration that asks for maps of these types. Skips where Postfix has no such type."""
    if not set(kinds) <= set(types()):
        pytest.skip(f"this Postfix cannot read all of: {', '.join(kinds)}")
    return "".join(mta(map_name(kind)) for kind in kinds)


def mta(name: str) -> str:
    """Return the part of the configuration that asks for a map."""
    return f'[[mta]]\ntype = "postfix"\nmap = "{name}"\n'


def held(name: str, clients: Iterable[str]) -> set[str]:
    """Return which clients Postfix's own tool finds in a map."""
    query = subprocess.run(
        ["postmap", "-q", "-", name], input="\n".join(clients), capture_output=True, text=True, check=False
    )
    assert query.stderr == ""
    return {line.partition("\t")[0] for line in query.stdout.splitlines() if line.endswith("\tOK")}


def window_ends(grace: float) -> dict[str, float]:
    """Return when the window of each client that logged in is over, by the stamps in the log."""
    logins = (line.partition(" ")[::2] for line in LOG.read_text().splitlines() if "-login: Login: " in line)
    return {
        text.partition("rip=")[2].partition(",")[0]: datetime.fromisoformat(stamp).timestamp() + grace
        for stamp, text in logins
    }


def is_within(asked: Asked, shown: Mapping[str, float], ends: Mapping[str, float]) -> bool:
    """Say whether somebody was asked for who had to be accepted: it was in the map before, and its window was open."""
    return shown.get(asked.client, asked.began) < asked.began and asked.ended < ends[asked.client]


def is_outside(asked: Asked, logins: Mapping[str, float], ends: Mapping[str, float]) -> bool:
    """Say whether somebody was asked for who had to be refused: a stranger, before the login, or long enough behind."""
    if asked.client not in logins:
        return True
    return asked.ended < logins[asked.client] or asked.began > ends[asked.client] + LATE


def at_pace(clients: Sequence[str]) -> Iterator[str]:
    """Give one client after the other, each at its time; the caller has the time between."""
    began = time.monotonic()
    for number, client in enumerate(clients):
        time.sleep(max(0.0, began + number * EACH - time.monotonic()))
        yield client


@contextlib.contextmanager
def in_place_of(program: str, script: str) -> Iterator[None]:
    """Put a script in a program's place, for us alone."""
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
        file.write(script)
        file.flush()
        os.fchmod(file.fileno(), 0o755)
        copy = shutil.copy(file.name, f"{file.name}.copy")  # one that nobody writes to can be run
    subprocess.run(["mount", "--bind", copy, program], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", program], check=True)
        Path(copy).unlink()
