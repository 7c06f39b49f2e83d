"""The ways in which Sendmail hears of clients, one Sendmail on a port of its own for each, and what they say."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.end_to_end import sendmail_server
from tests.end_to_end.lab import OUTSIDE, OWN, Lab
from tests.end_to_end.sendmail_server import UNPACKED, Sendmail, recipe

FILE_PORT, LIVE_PORT, ACCESS_PORT, LISTS_PORT, BTREE_PORT, AT_ONCE_PORT = range(2601, 2607)
MAP = Path("/var/lib/pop-before-smtp/popauth.db")
MAPS = {FILE_PORT: MAP, ACCESS_PORT: MAP, BTREE_PORT: MAP.with_name("btree.db")}
CLIENT, STRANGER, OWN_NETWORK = "192.0.2.10", "192.0.2.11", sendmail_server.OWN_NETWORK
CLIENT6, BEGINS_WITH_IT = "2001:db8::10", "2001:db8::10:0:0:1"
FILE = '[[mta]]\ntype = "sendmail"\n'
LIVE = '[[lookup]]\ntype = "socketmap"\nlisten = "unix:/run/pop-before-smtp/sendmail"\ngroup = "root"\n'
BTREE = f'{FILE}map = "btree:/var/lib/pop-before-smtp/btree"\n'
WAYS = {FILE_PORT: FILE, LIVE_PORT: LIVE, ACCESS_PORT: f'{FILE}tag = "Connect"\n', BTREE_PORT: BTREE}


@contextmanager
def running(*ports: int) -> Iterator[None]:
    """Run one Sendmail for each of these ports, by the recipe as it is shipped."""
    if not UNPACKED.exists():
        pytest.skip("run tests/end_to_end/install-servers first: it unpacks Sendmail")
    sendmail_server.lay_out()
    lists = "FEATURE(`enhdnsbl', `rbl.example')dnl\n"
    recipes = {
        FILE_PORT: recipe("popauth.mc"),
        LIVE_PORT: recipe("socketmap.mc"),
        ACCESS_PORT: recipe("access.mc"),
        LISTS_PORT: lists + recipe("popauth.mc"),
        AT_ONCE_PORT: lists + recipe("popauth.mc"),
        BTREE_PORT: recipe("popauth.mc").replace(
            "`hash /var/lib/pop-before-smtp/popauth'", "`btree /var/lib/pop-before-smtp/btree'"
        ),
    }
    started = [Sendmail(port, recipes[port], delayed=port != AT_ONCE_PORT) for port in ports]
    yield
    for one in started:
        one.stop()


def forget_maps() -> None:
    """Leave nothing of an earlier test."""
    for left in MAP.parent.glob("*.db*"):
        left.unlink()


def held(port: int = FILE_PORT) -> set[str]:
    """Return the clients that Sendmail's own tool finds in a map, but for their tag; it fails while one is replaced."""
    path = MAPS[port]
    command = ["makemap", "-u", "btree" if path.stem == "btree" else "hash", path]
    for _ in range(5):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            break
    assert done.returncode == 0, done.stderr
    return {line.partition("\t")[0].removeprefix("connect:") for line in done.stdout.splitlines()}


def refused(lab: Lab, client: str, port: int, to: str = OUTSIDE) -> bool:
    """Say whether a client may not relay, by Sendmail's own word."""
    answer = lab.clients.rcpt(client, port, to)
    assert answer.code in (250, 550), answer
    return answer.code == 550 and "Relaying denied" in answer.text


def inbound_goes_on(lab: Lab, port: int) -> None:
    """Say whether mail for our own domain, and that of our own network, is taken."""
    assert lab.clients.rcpt(STRANGER, port, OWN).accepted
    assert lab.clients.rcpt(CLIENT6, port, OWN).accepted
    assert lab.clients.rcpt(OWN_NETWORK, port).accepted
