"""A login to real Dovecot opens real Sendmail for that client address: through a map, the socketmap, an access map."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from tests.end_to_end import sendmail_server
from tests.end_to_end.crowd import CROWD, LATE, Logins, asking, at_pace, judge, window_ends
from tests.end_to_end.lab import OWN, Daemon, Lab, rcpt, wait_for
from tests.end_to_end.sendmails import (
    ACCESS_PORT,
    BEGINS_WITH_IT,
    BTREE,
    BTREE_PORT,
    CLIENT,
    CLIENT6,
    FILE,
    FILE_PORT,
    LIVE,
    LIVE_PORT,
    MAP,
    MAPS,
    STRANGER,
    WAYS,
    forget_maps,
    held,
    inbound_goes_on,
    refused,
    running,
)

Start = Callable[..., Daemon]
each_way = pytest.mark.parametrize("port", WAYS, ids=["map", "socketmap", "access map", "btree"])


@pytest.fixture(scope="module", autouse=True)
def sendmails(lab: Lab) -> Iterator[None]:
    """Start the Sendmails that are asked here."""
    del lab
    with running(*WAYS):
        yield


@pytest.fixture(autouse=True)
def no_map() -> None:
    """Leave nothing of an earlier test."""
    forget_maps()


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

    def look() -> None:
        """Note who is in the map since when, or was granted where there is none."""
        said = daemon.said()
        there = held(port) if port in MAPS else {key for key in logins.began if f"granted client={key} " in said}
        shown.update(dict.fromkeys(there & logins.began.keys() - shown.keys(), time.time()))

    with Logins() as logins, asking(logins, port, CROWD, STRANGER) as asked:
        for client in at_pace(CROWD):
            logins.write(client)
            look()
        wait_for("all is over", lambda: time.time() > max(window_ends(grace).values()) + LATE + 0.5)
    within, outside = judge(asked, logins, shown, grace, refusal=550)
    with capsys.disabled():
        sys.stdout.write(f"\n{port}: of {len(asked)} questions {within} within a window, {outside} outside\n")


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
