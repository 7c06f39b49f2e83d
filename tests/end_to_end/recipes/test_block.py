"""A firewall that shuts out who fails to log in too often: the very files of contrib, with the real tools."""

import re
import signal
from collections.abc import Callable, Iterator

import pytest

from tests.end_to_end.lab import CONTRIB, Clients, wait_for
from tests.end_to_end.recipes import scene
from tests.end_to_end.recipes.scene import CLIENT, CLIENT6, SHORT, STRANGER, Following, run

RECIPE = "nftables/block.toml"
MAIL, OTHER = 143, 2222
AFTER = 20
THREE_HOURS = 3 * 3600.0
NEIGHBOUR6 = "2001:db8:1:2::99"


@pytest.fixture
def listening() -> Iterator[None]:
    """Load the sets and the chain, and listen on a port of the mail server's, and on another."""
    run("nft", "-f", CONTRIB / "nftables" / "block.nft")
    with scene.listening(MAIL, OTHER):
        yield
    run("nft", "delete", "table", "inet", "pop_before_smtp_block")


def _reaches(clients: Clients, client: str, port: int = MAIL) -> bool:
    return scene.reaches(clients, client, port)


def _elements() -> str:
    return run("nft", "list", "table", "inet", "pop_before_smtp_block")


@pytest.mark.parametrize(("client", "name"), [(CLIENT, CLIENT), (CLIENT6, "2001:db8:1:2::/64")], ids=["IPv4", "IPv6"])
def test_nftables_shuts_out_who_fails_too_often_until_a_login(
    clients: Clients, follow: Callable[[str], Following], listening: None, client: str, name: str
) -> None:
    """From mail and from nothing else, and nobody else; a login from there, by a session that goes on, lets in."""
    daemon = follow(RECIPE)
    daemon.fail(client, AFTER - 1)
    daemon.log_in(STRANGER)
    wait_for("it has read", lambda: f"granted client={STRANGER}" in daemon.said())
    assert _reaches(clients, client)
    daemon.fail(client, 1)
    wait_for("it is shut out", lambda: not _reaches(clients, client))
    assert re.search(rf"{re.escape(name)} timeout (3h|2h59m5.s)", _elements())
    assert _reaches(clients, client, OTHER)
    assert _reaches(clients, STRANGER)
    assert f"blocked client={name} failures=20" in daemon.said()
    daemon.log_in(client)
    wait_for("it is let in", lambda: _reaches(clients, client))
    assert name not in _elements()


def test_nftables_shuts_out_all_of_an_ipv6_network(
    clients: Clients, follow: Callable[[str], Following], listening: None
) -> None:
    """Who has one address there has 2^64; the network beside it is somebody else's."""
    daemon = follow(RECIPE)
    for last in range(AFTER):
        daemon.fail(f"2001:db8:1:2::{last + 1:x}", 1)
    wait_for("it is shut out", lambda: not _reaches(clients, CLIENT6))
    assert "2001:db8:1:2::/64 timeout" in _elements()
    assert "2001:db8:1:3::" not in _elements()


@pytest.mark.parametrize("client", [CLIENT, CLIENT6])
def test_nftables_lets_in_at_the_end_by_itself(
    clients: Clients, follow: Callable[[str], Following], listening: None, client: str
) -> None:
    """However the daemon ends; and more failures move that end."""
    daemon = follow(RECIPE)
    daemon.log_in("192.0.2.12")  # of a log that begins with old lines these are passed by
    wait_for("it has read", lambda: "granted client=192.0.2.12" in daemon.said())
    daemon.fail(client, AFTER, THREE_HOURS - SHORT)
    daemon.fail(STRANGER, AFTER, THREE_HOURS - SHORT)
    wait_for("both are shut out", lambda: not _reaches(clients, client) and not _reaches(clients, STRANGER), SHORT)
    daemon.fail(STRANGER, AFTER)
    wait_for("it is blocked for longer", lambda: f"{STRANGER} timeout 2h59m5" in _elements())
    daemon.stop(signal.SIGKILL)
    wait_for("the block ends", lambda: _reaches(clients, client), SHORT + 10)
    assert not _reaches(clients, STRANGER)


@pytest.mark.parametrize("end", ["stopped", "swept", "started again"])
def test_nobody_stays_shut_out_by_a_daemon_that_is_gone(
    clients: Clients, follow: Callable[[str], Following], listening: None, end: str
) -> None:
    """Stopped, it lets all in; killed, the sweep does, or the next start; and who may relay is not shut out by that."""
    daemon = follow(RECIPE)
    daemon.log_in(STRANGER)
    daemon.fail(CLIENT, AFTER)
    daemon.fail(CLIENT6, AFTER)
    wait_for("both are shut out", lambda: not _reaches(clients, CLIENT) and not _reaches(clients, CLIENT6))
    daemon.stop(signal.SIGTERM if end == "stopped" else signal.SIGKILL)
    if end == "swept":
        assert not _reaches(clients, CLIENT)
        assert daemon.command("sweep").returncode == 0
    elif end == "started again":
        assert not _reaches(clients, CLIENT)
        follow(RECIPE)
    assert _reaches(clients, CLIENT)
    assert _reaches(clients, CLIENT6)
    assert "timeout" not in _elements().replace("flags timeout", "").replace("interval,timeout", "")
    assert _reaches(clients, STRANGER)
