"""Exim hears of who may relay, through files of each form and live, in Debian's configurations and in a plain one."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.mtas.exim import open_map
from tests.end_to_end.crowd import LATE, Logins, asking, at_pace, judge, window_ends
from tests.end_to_end.exim_server import LINES, LISTED, LISTED_STRANGER, OUTSIDE, OWN, Exim, available, prepared
from tests.end_to_end.lab import LOG, MAP, Daemon, Lab, rcpt, wait_for
from tests.end_to_end.test_system import USER, UserDaemon, installed, place, tool  # noqa: F401 - a fixture

Start = Callable[..., Daemon]

FILE = MAP.parent / "clients.exim"
SOCKET = MAP.parent / "exim" / "ask"
CLIENT, STRANGER = "192.0.2.10", "192.0.2.11"
CLIENT6, NEIGHBOUR6 = "2001:db8::10", "2001:db8::10:0:0:1"  # whose text begins with the other's
CROWD = tuple(f"192.0.2.{last}" for last in range(101, 161))
REFUSED = 550


@dataclass(frozen=True)
class Way:
    """One way for Exim to hear of us."""

    port: int
    settings: str
    sees: bool = True  # whether a session that is open already sees a change

    @property
    def plain(self) -> bool:
        """Whether the configuration is not Debian's."""
        return self.port >= 2543

    @property
    def live(self) -> bool:
        """Whether the daemon itself is asked."""
        return "readsocket" in self.settings


LIST = '[[mta]]\ntype = "exim"\n'
NET_IPLSEARCH = f'{LIST}map = "net-iplsearch;{FILE}"\n'
IPLSEARCH = f'{LIST}map = "iplsearch;{FILE}"\n'
READSOCKET = '[[mta]]\ntype = "exim"\n[[lookup]]\ntype = "readsocket"\n'
WAYS = {
    "split, list": Way(2540, LIST),
    "template, readsocket": Way(2541, READSOCKET),
    "split, iplsearch": Way(2542, IPLSEARCH, sees=False),
    "plain, list": Way(2543, LIST),
    "plain, net-iplsearch": Way(2544, NET_IPLSEARCH, sees=False),
    "plain, iplsearch": Way(2545, IPLSEARCH, sees=False),
    "plain, readsocket": Way(2546, READSOCKET),
}


def ways(*names: str) -> pytest.MarkDecorator:
    """Run a test once for each of some ways."""
    return pytest.mark.parametrize("way", [WAYS[name] for name in names], ids=names)


each_way = ways(*WAYS)
plain_ways = ways(*(name for name in WAYS if name.startswith("plain")))


@pytest.fixture(scope="module", autouse=True)
def exim(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exim]:
    """Start all of its daemons, once."""
    del lab
    if not available():
        pytest.skip("Exim cannot be unpacked from Debian's packages here")
    with prepared():
        exim = Exim(tmp_path_factory.mktemp("exim"))
        try:
            exim.debian(2540, "list.conf", split=True)
            exim.debian(2541, "readsocket.conf", split=False)
            exim.debian(2542, "iplsearch.conf", split=True)
            for port, lists in zip(
                range(2543, 2547), ("list", "net-iplsearch", "iplsearch", "readsocket"), strict=True
            ):
                exim.plain(port, f"{lists}.conf")
            yield exim
        finally:
            exim.stop()


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    """Leave neither file nor socket to the next test."""
    yield
    for path in (*FILE.parent.glob(f"{FILE.name}*"), *FILE.parent.glob(f".{FILE.name}*.nobody")):
        path.unlink()
    shutil.rmtree(SOCKET.parent, ignore_errors=True)


@pytest.fixture(scope="module")
def crowd() -> Sequence[str]:
    """Give the other host many addresses."""
    commands = "".join(f"address add {client}/32 dev client\n" for client in CROWD)
    subprocess.run(["ip", "-n", "clients", "-batch", "-"], input=commands, text=True, check=True)
    return CROWD


def held() -> set[str]:
    """Return which clients are in the file, whatever its form."""
    lines = FILE.read_text().splitlines() if FILE.exists() else []
    return {line.removesuffix(": OK").strip('"') for line in lines if line[0] != "#"}


def log_in(lab: Lab, daemon: Daemon, client: str) -> None:
    """Log in, and wait until the daemon has said so and the file holds it."""
    assert lab.clients.pop3_login(client)
    wait_for("the login is granted", lambda: f"granted client={client} " in daemon.said())
    wait_for("the file holds it", lambda: client in held())


def code(lab: Lab, client: str, way: Way, to: str = OUTSIDE) -> int:
    """Return how Exim answers a recipient in a new session."""
    return lab.clients.rcpt(client, way.port, to).code


# Opening and closing


@each_way
def test_a_login_opens_and_time_closes(lab: Lab, start: Start, way: Way) -> None:
    """Refused, granted after a real login by IPv4 and IPv6, accepted, expired, refused; nobody else ever gets in."""
    daemon = start(grace="4s", more=way.settings)
    assert [code(lab, client, way) for client in (CLIENT, CLIENT6)] == [REFUSED, REFUSED]
    for client in (CLIENT, CLIENT6):
        log_in(lab, daemon, client)
        assert code(lab, client, way) == 250
    assert [code(lab, other, way) for other in (STRANGER, NEIGHBOUR6)] == [REFUSED, REFUSED]
    for client in (CLIENT, CLIENT6):
        wait_for("the window ends", lambda client=client: f"expired client={client}" in daemon.said())
        wait_for("the file lets go", lambda client=client: client not in held(), seconds=LATE)
        assert code(lab, client, way) == REFUSED


@plain_ways
def test_an_open_session_sees_a_change_where_exim_does_not_keep_the_file_open(lab: Lab, start: Start, way: Way) -> None:
    """A plain list and the live answer are asked for anew at each recipient; of a lookup's file the view stays."""
    daemon = start(grace="4s", more=way.settings)
    refused = lab.clients.smtp(CLIENT, way.port)
    assert rcpt(refused).code == REFUSED
    log_in(lab, daemon, CLIENT)
    accepted = lab.clients.smtp(CLIENT, way.port)
    assert rcpt(accepted).code == 250
    assert rcpt(refused).code == (250 if way.sees else REFUSED)
    wait_for("the window ends", lambda: f"expired client={CLIENT}" in daemon.said())
    wait_for("the file lets go", lambda: CLIENT not in held(), seconds=LATE)
    assert rcpt(accepted).code == (REFUSED if way.sees else 250)
    assert code(lab, CLIENT, way) == REFUSED


@plain_ways
def test_under_load_nobody_is_refused_within_its_window_nor_accepted_outside(
    lab: Lab, start: Start, crowd: Sequence[str], way: Way, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten clients a second come and as many go, while all of them and strangers ask, before, within and after."""
    grace = 3
    start(grace=f"{grace}s", more=way.settings)
    shown: dict[str, float] = {}  # when it was first in the file, which comes after the live answer

    def look() -> None:
        for new in held() - shown.keys():
            shown[new] = time.time()

    with Logins() as logins, asking(logins, way.port, crowd, STRANGER) as asked:
        for client in at_pace(crowd):
            logins.write(client)
            look()
        wait_for("all were shown", lambda: look() or len(shown) == len(crowd), seconds=LATE)
        wait_for("all is over", lambda: time.time() > max(window_ends(grace).values()) + LATE + 0.5)
    within, outside = judge(asked, logins, shown, grace, refusal=REFUSED)
    with capsys.disabled():
        sys.stdout.write(
            f"\nExim, {way.settings.splitlines()[-1]}: of {len(asked)} questions {within} within a window,"
            f" {outside} outside\n"
        )


# Missing, dead, hanging


@each_way
def test_without_a_file_and_without_a_daemon_inbound_mail_goes_on(lab: Lab, way: Way) -> None:
    """Nobody relays, and nobody is put off."""
    assert not FILE.exists()
    assert code(lab, STRANGER, way, OWN) == 250
    assert code(lab, STRANGER, way) == REFUSED


@ways("split, list", "template, readsocket", "plain, iplsearch")
def test_with_the_daemon_killed_inbound_mail_goes_on_and_windows_end(lab: Lab, start: Start, way: Way) -> None:
    """A live answer ends at once; a file ends with the first sweep behind the window."""
    daemon = start(grace="3s", more=way.settings)
    log_in(lab, daemon, CLIENT)
    daemon.stop(signal.SIGKILL)
    assert code(lab, STRANGER, way, OWN) == 250
    if way.live:
        assert code(lab, CLIENT, way) == REFUSED
    wait_for("a sweep closes the window", lambda: daemon.command("sweep").returncode == 0 and not held())
    assert code(lab, CLIENT, way) == REFUSED
    assert code(lab, STRANGER, way, OWN) == 250


@ways("split, list", "template, readsocket", "plain, iplsearch")
def test_a_file_that_is_deleted_under_the_running_daemon_comes_back(lab: Lab, start: Start, way: Way) -> None:
    """Meanwhile inbound mail goes on, and no reload is needed afterwards."""
    daemon = start(more=way.settings)
    log_in(lab, daemon, CLIENT)
    FILE.unlink()
    assert code(lab, STRANGER, way, OWN) == 250
    wait_for("the file is back", lambda: CLIENT in held())
    assert code(lab, CLIENT, way) == 250
    assert code(lab, STRANGER, way) == REFUSED


@ways("template, readsocket", "plain, readsocket")
def test_while_the_daemon_hangs_inbound_mail_goes_on_and_nobody_relays(lab: Lab, start: Start, way: Way) -> None:
    """It waits for two seconds at most for each list."""
    daemon = start(more=way.settings)
    log_in(lab, daemon, CLIENT)
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert code(lab, STRANGER, way, OWN) == 250
        assert code(lab, CLIENT, way) == REFUSED
        assert time.monotonic() < began + 10
    finally:
        daemon.process.send_signal(signal.SIGCONT)
    wait_for("it answers again", lambda: code(lab, CLIENT, way) == 250)


@ways("split, list", "plain, list", "plain, net-iplsearch")
def test_a_file_that_exim_cannot_read_is_made_readable_again(lab: Lab, start: Start, way: Way) -> None:
    """Somebody took the right to read it; with acl.conf, mail for our own domains goes on even before that."""
    daemon = start(more=way.settings)
    log_in(lab, daemon, CLIENT)
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        FILE.chmod(0)
        if way.plain:
            assert code(lab, STRANGER, way, OWN) == 250
    finally:
        daemon.process.send_signal(signal.SIGCONT)
    wait_for("it can be read again", lambda: stat.S_IMODE(FILE.stat().st_mode) == 0o644)
    assert code(lab, STRANGER, way, OWN) == 250
    assert code(lab, CLIENT, way) == 250


@pytest.mark.usefixtures("installed")
def test_exim_may_ask_the_daemon_of_a_package(lab: Lab, tmp_path: Path) -> None:
    """Its own user keeps the file; by the folder that our tmpfiles make, its socket belongs to Exim's group."""
    way = WAYS["template, readsocket"]
    os.truncate(LOG, 0)
    shutil.chown(LOG, "root", "adm")
    tool("systemd-tmpfiles", "--create", LINES / "pop-before-smtp-exim.tmpfiles")
    daemon = UserDaemon(lab.config(more=way.settings), tmp_path / "daemon.log").ready()
    try:
        assert place(SOCKET.parent) == (USER, "Debian-exim", "2750")
        assert place(SOCKET) == (USER, "Debian-exim", "0660")
        assert place(FILE) == (USER, USER, "0644")
        log_in(lab, daemon, CLIENT)
        for each in (way, WAYS["split, list"]):
            assert code(lab, CLIENT, each) == 250
            assert code(lab, STRANGER, each) == REFUSED
    finally:
        daemon.stop()


# Blocklists, refused networks, prefixes


@plain_ways
def test_an_authorized_client_that_a_blocklist_lists_can_send(lab: Lab, start: Start, way: Way) -> None:
    """A stranger there can send neither to us nor through us, also when the daemon is dead."""
    daemon = start(more=way.settings)
    assert code(lab, LISTED, way, OWN) == REFUSED
    log_in(lab, daemon, LISTED)
    assert code(lab, LISTED, way, OWN) == 250
    assert code(lab, LISTED, way) == 250
    refused = lab.clients.rcpt(LISTED_STRANGER, way.port, OWN)
    assert (refused.code, "is listed at rbl.example" in refused.text) == (REFUSED, True)
    assert code(lab, STRANGER, way, OWN) == 250


RESTRICT = '[rules]\ntrusted = []\nrestrict = ["192.0.2.0/24", "2001:db8::/32"]\n'


@ways("template, readsocket", "split, iplsearch", "plain, iplsearch", "plain, readsocket")
def test_a_refused_network_may_not_even_write_to_us_until_it_logs_in(lab: Lab, start: Start, way: Way) -> None:
    """Clients in it that logged in are let through; nobody in it relays because of it."""
    assert code(lab, STRANGER, way, OWN) == 250
    asked = READSOCKET.replace(LIST, IPLSEARCH)  # a host list cannot say it
    daemon = start(more=RESTRICT + asked)
    for client in (CLIENT, CLIENT6):
        log_in(lab, daemon, client)
    assert [code(lab, client, way, to) for client in (CLIENT, CLIENT6) for to in (OUTSIDE, OWN)] == [250] * 4
    told = [lab.clients.rcpt(other, way.port, to) for other in (STRANGER, NEIGHBOUR6) for to in (OUTSIDE, OWN)]
    assert [answer.code for answer in told] == [REFUSED] * 4
    assert all("log in to POP or IMAP first" in answer.text for answer in told[1::2])
    daemon.stop(signal.SIGKILL)
    assert daemon.command("sweep").returncode == 0
    assert code(lab, STRANGER, way, OWN) == (250 if way.live else REFUSED)


@plain_ways
def test_a_login_opens_its_whole_prefix_where_that_is_configured(lab: Lab, start: Start, way: Way) -> None:
    """And not the one beside it."""
    daemon = start(more=f"[rules]\ntrusted = []\nipv6_prefix = 64\n{way.settings}")
    assert lab.clients.pop3_login(CLIENT6)
    wait_for("the file holds it", lambda: "2001:db8::/64" in held())
    assert [code(lab, client, way) for client in (CLIENT6, NEIGHBOUR6)] == [250, 250]
    assert code(lab, "2001:db8:1:2:3:4:5:6", way) == REFUSED
    assert daemon.command("check", NEIGHBOUR6).returncode == 0


def test_a_host_list_that_the_configuration_names_no_longer_is_emptied_whatever_the_rules_say_now(
    lab: Lab, start: Start
) -> None:
    """It cannot hold refused networks, and need not: the first sweep takes everybody out."""
    way, elsewhere = WAYS["plain, list"], f'map = "iplsearch;{FILE}.other"\n'
    daemon = start(more=LIST)
    log_in(lab, daemon, CLIENT)
    wait_for("the store has it", lambda: daemon.command("check", CLIENT).returncode == 0)
    daemon.stop(signal.SIGKILL)
    lab.config(more=RESTRICT + LIST + elsewhere)
    swept = daemon.command("sweep")
    assert (swept.returncode, swept.stderr) == (0, "")
    assert code(lab, CLIENT, way) == REFUSED


@pytest.mark.parametrize("form", ["", "net-iplsearch;", "iplsearch;"], ids=["list", "net-iplsearch", "iplsearch"])
def test_exim_finds_exactly_who_is_in_a_file(exim: Exim, form: str) -> None:
    """Neither an address whose text begins with another's, nor the one before or behind a network."""
    listed = ["192.0.2.1", "2001:db8::10", "2001:db8::", "2001:db8:1:2::/64", "2001:db8:0:1:1:1:1:1"]
    open_map(map=f"{form}{FILE}", prefix=64).replace(dict.fromkeys(map(ClientAddress, listed), datetime.now(UTC)))
    inside = [*listed[:3], *listed[4:], "2001:db8:1:2::", "2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"]
    outside = [
        *("192.0.2.10", "192.0.2.19", "192.0.2.0", "192.0.2.2", "92.0.2.1", "2001:db8::1", "2001:db8::10:0:0:1"),
        *("2001:db8::1:0", "2001:db8:1:1:ffff:ffff:ffff:ffff", "2001:db8:1:3::", "2001:db8:0:1:1:1:1:2"),
        *("::192.0.2.1", "::c000:201", "192.0.0.1", "::"),
    ]
    item = f"{form.removeprefix('net-')}{FILE}"
    asked = "".join(f"${{if match_ip{{{client}}}{{{item}}}{{in}}{{out}}}}\n" for client in (*inside, *outside))
    assert exim.expand(asked) == ["in"] * len(inside) + ["out"] * len(outside)
