"""A firewall that hears by a program: the very files of contrib, with the real tools of Debian's packages."""

import signal
import subprocess
import tomllib
from collections.abc import Callable, Iterator

import pytest

from tests.end_to_end.lab import CONTRIB, Clients, wait_for
from tests.end_to_end.recipes import scene
from tests.end_to_end.recipes.scene import CLIENT, CLIENT6, SHORT, STRANGER, Following, opens_and_closes, run

GUARDED_PORT = 2525


@pytest.fixture
def guarded() -> Iterator[None]:
    """Load the set and the chain, and listen on the port behind it."""
    run("nft", "-f", CONTRIB / "nftables" / "pop-before-smtp.nft")
    with scene.listening(GUARDED_PORT):
        yield
    run("nft", "delete", "table", "inet", "pop_before_smtp")


def _reaches(clients: Clients, client: str) -> bool:
    return scene.reaches(clients, client, GUARDED_PORT)


def _elements() -> str:
    return run("nft", "list", "table", "inet", "pop_before_smtp")


@pytest.mark.parametrize("client", [CLIENT, CLIENT6])
def test_nftables_opens_a_port_for_who_logged_in(
    clients: Clients, follow: Callable[[str], Following], guarded: None, client: str
) -> None:
    """And closes it."""
    daemon = follow("nftables/pop-before-smtp.toml")
    opens_and_closes(daemon, lambda who: _reaches(clients, who), client)
    assert client not in _elements()


def test_nftables_ends_a_window_by_itself(clients: Clients, follow: Callable[[str], Following], guarded: None) -> None:
    """However the daemon ends; and a renewal moves that end."""
    daemon = follow("nftables/pop-before-smtp.toml")
    daemon.log_in(CLIENT, SHORT)
    daemon.log_in("192.0.2.12", SHORT)
    wait_for("both are in", lambda: _reaches(clients, CLIENT) and _reaches(clients, "192.0.2.12"), SHORT)
    daemon.log_in("192.0.2.12", 600)
    wait_for("it is renewed", lambda: "192.0.2.12 timeout 9m5" in _elements())
    daemon.stop(signal.SIGKILL)
    wait_for("the window ends", lambda: not _reaches(clients, CLIENT), SHORT + 10)
    assert _reaches(clients, "192.0.2.12")


def test_nftables_is_made_true_at_the_start(
    clients: Clients, follow: Callable[[str], Following], guarded: None
) -> None:
    """Whoever was in the set and has no window is out; whoever has one is in."""
    daemon = follow("nftables/pop-before-smtp.toml")
    daemon.log_in(CLIENT)
    wait_for("it is in", lambda: _reaches(clients, CLIENT))
    daemon.stop()
    run("nft", "add", "element", "inet", "pop_before_smtp", "clients4", f"{{ {STRANGER} }}")
    assert _reaches(clients, STRANGER)
    follow("nftables/pop-before-smtp.toml")
    assert _reaches(clients, CLIENT)
    assert not _reaches(clients, STRANGER)


def test_nft_needs_that_one_capability_and_no_more(guarded: None) -> None:
    """What capability.conf gives is enough for each command of the recipe, and less is not."""
    (section,) = tomllib.loads((CONTRIB / "nftables" / "pop-before-smtp.toml").read_text())["mta"]
    given = [line.partition("=")[2] for line in (CONTRIB / "nftables" / "capability.conf").read_text().splitlines()]
    assert given.count("CAP_NET_ADMIN") == 2
    words = {"{address}": CLIENT, "{family}": "4", "{seconds}": "60"}
    nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--no-new-privs"]
    for may in (True, False):
        capability = "+net_admin" if may else "-all"
        for command in (section["grant"], section["expire"], section["clear"]):
            for word, value in words.items():
                command = [argument.replace(word, value) for argument in command]
            done = subprocess.run(
                [*nobody, f"--inh-caps={capability}", f"--ambient-caps={capability}", "--", *command],
                capture_output=True,
                timeout=30,
                check=False,
            )
            assert (done.returncode == 0) is may, done.stderr
