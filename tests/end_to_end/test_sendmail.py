"""A login to real Dovecot opens real Sendmail for that client address: through a map, the socketmap, an access map."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from popbeforesmtp.addresses import ClientAddress, parse_network
from popbeforesmtp.mtas.sendmail import open_map
from tests.end_to_end import sendmail_server
from tests.end_to_end.lab import OUTSIDE, OWN, Clients, Daemon, Lab, rcpt, wait_for
from tests.end_to_end.maps import (
    CROWD,
    LATE,
    Asked,
    Logins,
    at_pace,
    in_place_of,
    is_outside,
    is_within,
    window_ends,
)
from tests.end_to_end.sendmail_server import MAIL, UNPACKED, Sendmail, recipe

Start = Callable[..., Daemon]

FILE_PORT, LIVE_PORT, ACCESS_PORT, LISTS_PORT, BTREE_PORT, AT_ONCE_PORT = range(2601, 2607)
MAP = Path("/var/lib/pop-before-smtp/popauth.db")
MAPS = {FILE_PORT: MAP, ACCESS_PORT: MAP, BTREE_PORT: MAP.with_name("btree.db")}
CLIENT, STRANGER, OWN_NETWORK = "192.0.2.10", "192.0.2.11", sendmail_server.OWN_NETWORK
CLIENT6, BEGINS_WITH_IT = "2001:db8::10", "2001:db8::10:0:0:1"
LISTED, LISTED_STRANGER = "192.0.2.13", "192.0.2.14"
NOBODY = 65534

FILE = '[[mta]]\ntype = "sendmail"\n'
LIVE = '[[lookup]]\ntype = "socketmap"\nlisten = "unix:/run/pop-before-smtp/sendmail"\ngroup = "root"\n'
BTREE = f'{FILE}map = "btree:/var/lib/pop-before-smtp/btree"\n'
WAYS = {FILE_PORT: FILE, LIVE_PORT: LIVE, ACCESS_PORT: f'{FILE}tag = "Connect"\n', BTREE_PORT: BTREE}

each_way = pytest.mark.parametrize("port", WAYS, ids=["map", "socketmap", "access map", "btree"])


@pytest.fixture(scope="module", autouse=True)
def sendmails(lab: Lab) -> Iterator[None]:
    """Start one Sendmail for each of the recipes, as they are shipped."""
    del lab
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
    started = [Sendmail(port, lines, delayed=port != AT_ONCE_PORT) for port, lines in recipes.items()]
    yield
    for one in started:
        one.stop()


@pytest.fixture(autouse=True)
def no_map() -> None:
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


def ends(clients: Iterable[str]) -> dict[ClientAddress, datetime]:
    """Say that these may relay; the map does not keep until when."""
    return dict.fromkeys(map(ClientAddress, clients), datetime.now(UTC))


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


@each_way
@pytest.mark.parametrize("client", [CLIENT, CLIENT6], ids=["IPv4", "IPv6"])
def test_a_login_opens_sendmail_and_time_closes_it(lab: Lab, start: Start, port: int, client: str) -> None:
    """Refused, granted, accepted, expired, refused: in a new session, and in those that were open all the time."""
    daemon = start(grace="3s", more=WAYS[port])
    session, asked_before = lab.clients.smtp(client, port), lab.clients.smtp(client, port)
    assert rcpt(asked_before).code == 550
    assert refused(lab, client, port)
    assert lab.clients.pop3_login(client)
    wait_for("accepted in a new session", lambda: lab.clients.rcpt(client, port).accepted, seconds=LATE)
    assert rcpt(asked_before).accepted
    assert rcpt(session).accepted
    assert refused(lab, STRANGER, port)
    assert refused(lab, BEGINS_WITH_IT, port)
    wait_for("the window ends", lambda: f"expired client={client}" in daemon.said())
    wait_for("refused in a new session", lambda: refused(lab, client, port), seconds=LATE)
    assert rcpt(asked_before).code == 550
    assert rcpt(session).code == 550


@each_way
def test_under_load_nobody_is_refused_within_its_window_nor_accepted_outside(
    lab: Lab, start: Start, port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten clients a second come and as many go, while all of them and strangers ask, before, within and after."""
    grace = 3
    commands = "".join(f"address replace {client}/32 dev client\n" for client in CROWD)
    subprocess.run(["ip", "-n", "clients", "-batch", "-"], input=commands, text=True, check=True)
    daemon = start(grace=f"{grace}s", more=WAYS[port])
    shown: dict[str, float] = {}
    stop = threading.Event()

    def look() -> None:
        """Note who is in the map since when, or was granted where there is none."""
        said = daemon.said()
        there = held(port) if port in MAPS else {key for key in logins.began if f"granted client={key} " in said}
        shown.update(dict.fromkeys(there & logins.began.keys() - shown.keys(), time.time()))

    def ask() -> list[Asked]:
        clients, asked = Clients(), []
        while not stop.is_set():
            lately = tuple(logins.began)[-50:]
            client = random.choice(random.choice(((STRANGER,), CROWD, lately or CROWD)))
            began = time.time()
            code = clients.rcpt(client, port).code
            asked.append(Asked(client, began, time.time(), code))
        return asked

    with ThreadPoolExecutor(2) as threads, Logins() as logins:
        askers = [threads.submit(ask) for _ in range(2)]
        try:
            for client in at_pace(CROWD):
                logins.write(client)
                look()
            wait_for("all is over", lambda: time.time() > max(window_ends(grace).values()) + LATE + 0.5)
        finally:
            stop.set()
        asked = [each for asker in askers for each in asker.result()]
    ends = window_ends(grace)
    within = [each for each in asked if each.client in shown and is_within(each, shown, ends)]
    outside = [each for each in asked if is_outside(each, logins.began, ends)]
    assert [each for each in asked if each.code not in (250, 550)] == []
    assert [each for each in within if each.code != 250] == []
    assert [each for each in outside if each.code != 550] == []
    assert min(len(within), len(outside)) > 100
    with capsys.disabled():
        sys.stdout.write(f"\n{port}: of {len(asked)} questions {len(within)} within a window, {len(outside)} outside\n")


@pytest.mark.parametrize("port", [FILE_PORT, LIVE_PORT], ids=["map", "socketmap"])
def test_what_is_missing_puts_off_who_may_not_relay_and_nobody_else(lab: Lab, start: Start, port: int) -> None:
    """A map that is not there yet, or no daemon: inbound mail goes on; when it is back, nothing needs a restart."""
    assert lab.clients.rcpt(CLIENT, port).code == 451
    inbound_goes_on(lab, port)
    start(more=WAYS[port])
    assert refused(lab, CLIENT, port)
    assert lab.clients.pop3_login(CLIENT)
    wait_for("accepted", lambda: lab.clients.rcpt(CLIENT, port).accepted)


def test_an_access_map_that_is_missing_lets_nobody_in_and_inbound_mail_goes_on(lab: Lab, start: Start) -> None:
    """It is optional, so it is as if it were empty."""
    assert refused(lab, CLIENT, ACCESS_PORT)
    inbound_goes_on(lab, ACCESS_PORT)
    start(more=WAYS[ACCESS_PORT])
    assert lab.clients.pop3_login(CLIENT)
    wait_for("accepted", lambda: lab.clients.rcpt(CLIENT, ACCESS_PORT).accepted)
    assert lab.clients.rcpt(CLIENT, ACCESS_PORT, "user@192.0.2.10").code == 250
    assert refused(lab, STRANGER, ACCESS_PORT, f"user@{CLIENT}")  # it is no recipient domain of ours


def test_an_administrators_own_word_in_the_access_map_comes_first(lab: Lab, start: Start) -> None:
    """Whoever it rejects is rejected, logged in or not."""
    start(more=WAYS[ACCESS_PORT])
    assert lab.clients.pop3_login(sendmail_server.REJECTED)
    wait_for("the map holds it", lambda: sendmail_server.REJECTED in held())
    assert not lab.clients.rcpt(sendmail_server.REJECTED, ACCESS_PORT, OWN).accepted


def test_a_dead_daemon_lets_nobody_in_through_the_socketmap(lab: Lab, start: Start) -> None:
    """Not even who was in, in the session that was accepted; inbound mail goes on."""
    daemon = start(more=LIVE)
    assert lab.clients.pop3_login(CLIENT)
    wait_for("accepted", lambda: lab.clients.rcpt(CLIENT, LIVE_PORT).accepted)
    session = lab.clients.smtp(CLIENT, LIVE_PORT)
    assert rcpt(session).accepted
    daemon.stop(signal.SIGKILL)
    assert rcpt(session).code == 451
    assert lab.clients.rcpt(CLIENT, LIVE_PORT).code == 451
    inbound_goes_on(lab, LIVE_PORT)


def test_a_daemon_that_hangs_holds_up_no_inbound_mail(lab: Lab, start: Start) -> None:
    """It is not asked about that."""
    daemon = start(more=LIVE)
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        inbound_goes_on(lab, LIVE_PORT)
    finally:
        daemon.process.send_signal(signal.SIGCONT)


def test_after_kill_9_the_sweep_closes_what_has_expired(lab: Lab, start: Start) -> None:
    """The map needs no daemon to end a window, in open sessions too."""
    daemon = start(grace="3s", more=FILE)
    assert lab.clients.pop3_login(CLIENT)
    wait_for("accepted", lambda: lab.clients.rcpt(CLIENT, FILE_PORT).accepted)
    session = lab.clients.smtp(CLIENT, FILE_PORT)
    assert rcpt(session).accepted
    daemon.stop(signal.SIGKILL)

    def swept() -> bool:
        done = daemon.command("sweep")
        assert (done.returncode, done.stderr) == (0, "")
        return held() == set()

    wait_for("the sweep closes it", swept)
    assert refused(lab, CLIENT, FILE_PORT)
    assert rcpt(session).code == 550
    inbound_goes_on(lab, FILE_PORT)


def test_a_map_whose_section_is_gone_is_emptied_by_the_sweep(lab: Lab, start: Start) -> None:
    """Nobody would end the windows in it otherwise."""
    daemon = start(more=BTREE)  # at the usual place the sweep would find it without any section
    assert lab.clients.pop3_login(CLIENT)
    wait_for("the map holds it", lambda: CLIENT in held(BTREE_PORT))
    daemon.stop(signal.SIGKILL)
    lab.config(more=LIVE)
    done = daemon.command("sweep")
    assert (done.returncode, done.stderr) == (0, "")
    assert held(BTREE_PORT) == set()


def test_an_unsafe_folder_puts_off_who_may_not_relay_and_nobody_else(lab: Lab, start: Start) -> None:
    """Sendmail trusts nothing where a group may write, whoever owns it; a folder of the daemon's own user will do."""
    start(more=FILE)
    assert lab.clients.pop3_login(CLIENT)
    wait_for("accepted", lambda: lab.clients.rcpt(CLIENT, FILE_PORT).accepted)
    folder = MAP.parent
    owner, mode = folder.stat().st_uid, folder.stat().st_mode
    try:
        subprocess.run(["chown", "1234", folder], check=True)
        assert lab.clients.rcpt(CLIENT, FILE_PORT).accepted
        folder.chmod(0o775)
        assert lab.clients.rcpt(CLIENT, FILE_PORT).code == 451
        inbound_goes_on(lab, FILE_PORT)
    finally:
        folder.chmod(mode & 0o7777)
        subprocess.run(["chown", str(owner), folder], check=True)
    assert lab.clients.rcpt(CLIENT, FILE_PORT).accepted


def test_who_logged_in_is_spared_the_blocklists_and_a_stranger_is_not(lab: Lab, start: Start) -> None:
    """A listed client that logged in can send, inside and out; with the daemon dead the map still says so."""
    daemon = start(more=FILE)
    assert "rbl.example" in lab.clients.rcpt(LISTED, LISTS_PORT, OWN).text
    assert lab.clients.rcpt(STRANGER, LISTS_PORT, OWN).accepted
    assert lab.clients.pop3_login(LISTED)
    wait_for("the map holds it", lambda: LISTED in held())
    daemon.stop(signal.SIGKILL)
    assert lab.clients.rcpt(LISTED, LISTS_PORT, OWN).accepted
    assert lab.clients.rcpt(LISTED, LISTS_PORT).accepted
    assert "rbl.example" in lab.clients.rcpt(LISTED_STRANGER, LISTS_PORT, OWN).text


def test_blocklists_that_are_asked_at_once_spare_who_logged_in_too(lab: Lab, start: Start) -> None:
    """Without FEATURE(`delay_checks') a client is judged once, as it connects."""
    start(more=FILE)
    session = lab.clients.smtp(LISTED, AT_ONCE_PORT)
    assert "rbl.example" in lab.clients.rcpt(LISTED, AT_ONCE_PORT, OWN).text
    assert lab.clients.pop3_login(LISTED)
    wait_for("the map holds it", lambda: LISTED in held())
    assert lab.clients.rcpt(LISTED, AT_ONCE_PORT, OWN).accepted
    assert lab.clients.rcpt(LISTED, AT_ONCE_PORT).accepted
    assert "rbl.example" in lab.clients.rcpt(LISTED_STRANGER, AT_ONCE_PORT, OWN).text
    assert "rbl.example" in rcpt(session, OWN).text
    assert refused(lab, STRANGER, AT_ONCE_PORT)


def test_a_daemon_without_privileges_builds_a_map_that_sendmail_trusts(lab: Lab) -> None:
    """In a folder of its own; nothing of it belongs to root."""
    folder = MAP.parent
    owner = folder.stat().st_uid
    os.chown(folder, NOBODY, -1)
    try:
        os.setresuid(NOBODY, NOBODY, 0)
        try:
            access_map = open_map()
            access_map.replace({})
            access_map.change(ends([CLIENT]), [])
        finally:
            os.setresuid(0, 0, 0)
        assert MAP.stat().st_uid == NOBODY
        assert lab.clients.rcpt(CLIENT, FILE_PORT).accepted
        assert refused(lab, STRANGER, FILE_PORT)
    finally:
        os.chown(folder, owner, -1)


@pytest.mark.parametrize("port", [FILE_PORT, ACCESS_PORT], ids=["map", "access map"])
def test_restricted_networks_are_refused_but_for_who_logged_in(lab: Lab, port: int) -> None:
    """Inbound mail too; octets and groups are whole, so the next network is not meant."""
    networks = tuple(map(parse_network, ("192.0.2.0/24", "2001:db8:0::/48")))
    access_map = open_map(restrict=networks, tag="Connect" if port == ACCESS_PORT else "")
    access_map.replace(ends([CLIENT, CLIENT6]))
    for client in (CLIENT, CLIENT6):
        assert lab.clients.rcpt(client, port).accepted
        assert lab.clients.rcpt(client, port, OWN).accepted
    for client in (STRANGER, BEGINS_WITH_IT):
        assert "Access denied" in lab.clients.rcpt(client, port, OWN).text
    assert refused(lab, "2001:db8:1:2:3:4:5:6", port)
    assert lab.clients.rcpt("2001:db8:1:2:3:4:5:6", port, OWN).accepted
    access_map.shut()
    assert "Access denied" in lab.clients.rcpt(CLIENT, port, OWN).text


@pytest.mark.parametrize("port", [FILE_PORT, ACCESS_PORT], ids=["map", "access map"])
def test_a_network_that_may_relay_is_that_network_and_no_other(lab: Lab, port: int) -> None:
    """A /64 whose groups are zero is said exactly, too."""
    access_map = open_map(prefix=64, tag="Connect" if port == ACCESS_PORT else "")
    access_map.replace(ends(["2001:db8::/64"]))
    assert lab.clients.rcpt(CLIENT6, port).accepted
    assert lab.clients.rcpt(BEGINS_WITH_IT, port).accepted
    assert refused(lab, "2001:db8:1:2:3:4:5:6", port)
    access_map.replace(ends(["2001:db8:1:2::/64"]))
    assert refused(lab, CLIENT6, port)
    assert lab.clients.rcpt("2001:db8:1:2:3:4:5:6", port).accepted


@pytest.mark.parametrize("port", [FILE_PORT, LIVE_PORT, ACCESS_PORT], ids=["map", "socketmap", "access map"])
def test_the_rules_of_the_configuration_reach_sendmail(lab: Lab, start: Start, port: int) -> None:
    """Restricted networks are refused, but for who logged in; an IPv6 login opens its /64, and no more."""
    rules = '[rules]\ntrusted = []\nrestrict = ["192.0.2.0/24"]\nipv6_prefix = 64\n'
    start(more=(WAYS[port] if port != LIVE_PORT else FILE + LIVE) + rules)
    to = OUTSIDE if port == LIVE_PORT else OWN  # the daemon itself is asked about mail to elsewhere alone
    assert "Access denied" in lab.clients.rcpt(CLIENT, port, to).text
    assert lab.clients.pop3_login(CLIENT)
    assert lab.clients.pop3_login(CLIENT6)
    wait_for("accepted", lambda: lab.clients.rcpt(CLIENT, port).accepted)
    wait_for("accepted", lambda: lab.clients.rcpt(CLIENT6, port).accepted)
    assert lab.clients.rcpt(CLIENT, port, OWN).accepted
    assert lab.clients.rcpt(BEGINS_WITH_IT, port).accepted
    assert refused(lab, "2001:db8:1:2:3:4:5:6", port)
    assert "Access denied" in lab.clients.rcpt(STRANGER, port, to).text


def test_a_makemap_that_fails_leaves_the_old_map_and_is_made_up_for(lab: Lab, start: Start) -> None:
    """It is said once, and nothing is left lying about."""
    daemon = start(more=FILE)
    assert lab.clients.pop3_login(CLIENT)
    wait_for("the map holds it", lambda: CLIENT in held())
    fails = '#!/bin/sh\nhead -c 4096 /dev/urandom >"$2.db"\necho makemap: broken >&2\nexit 1\n'
    with in_place_of("/usr/libexec/sendmail/makemap", fails):
        assert lab.clients.pop3_login(STRANGER)
        wait_for("it says so", lambda: "makemap: broken" in daemon.said())
        assert lab.clients.rcpt(CLIENT, FILE_PORT).accepted
        assert refused(lab, STRANGER, FILE_PORT)
    wait_for("the map holds both", lambda: {CLIENT, STRANGER} <= held())
    assert daemon.said().count("makemap: broken") == 1
    assert sorted(path.name for path in MAP.parent.glob("*popauth*")) == [f".{MAP.name}.nobody", MAP.name]


def test_debians_own_folder_of_sendmail_is_explained(lab: Lab, start: Start, tmp_path: Path) -> None:
    """It belongs to another user than root or ours, who could put another map there."""
    del start
    config = lab.config(more=f'[[mta]]\ntype = "sendmail"\nmap = "hash:{MAIL}/popauth"\n')
    daemon = Daemon(config, tmp_path / "refused.log")
    assert daemon.process.wait(timeout=15) == 77
    assert f"{MAIL} belongs to user" in daemon.said()
    daemon.stop(signal.SIGCONT)
