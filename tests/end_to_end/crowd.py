"""A crowd of clients that log in at a pace while others ask, and what they had to be answered."""

import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from tests.end_to_end.lab import LOG, Clients

CROWD = tuple(f"192.0.2.{last}" for last in range(21, 101))
EACH = 0.1  # seconds from one login of the crowd to the next
LATE = 1.5  # seconds behind its end within which a window is closed to new connections; a renamed map is gathered for 1

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


@contextmanager
def asking(logins: Logins, port: int, crowd: Sequence[str], stranger: str) -> Iterator[list[Asked]]:
    """Ask for a stranger, the crowd and who logged in lately, all the while; the list is filled at the end."""
    asked: list[Asked] = []
    stop = threading.Event()

    def ask() -> list[Asked]:
        clients, mine = Clients(), []
        while not stop.is_set():
            lately = tuple(logins.began)[-50:]  # about to be let in, within their windows, and outside again
            client = random.choice(random.choice(((stranger,), crowd, lately or crowd)))
            began = time.time()
            code = clients.rcpt(client, port).code
            mine.append(Asked(client, began, time.time(), code))
        return mine

    with ThreadPoolExecutor(2) as threads:
        askers = [threads.submit(ask) for _ in range(2)]
        try:
            yield asked
        finally:
            stop.set()
        asked += [each for asker in askers for each in asker.result()]


def judge(
    asked: Sequence[Asked], logins: Logins, shown: Mapping[str, float], grace: float, *, refusal: int
) -> tuple[int, int]:
    """See that nobody was refused within its window nor accepted outside; return how many were asked for of each."""
    ends = window_ends(grace)
    within = [each for each in asked if is_within(each, shown, ends)]
    outside = [each for each in asked if is_outside(each, logins.began, ends)]
    assert [each for each in asked if each.code not in (250, refusal)] == []
    assert [each for each in within if each.code != 250] == []
    assert [each for each in outside if each.code != refusal] == []
    assert min(len(within), len(outside)) > 100
    return len(within), len(outside)
