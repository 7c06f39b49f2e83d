"""Whom real Sendmail takes, refuses or spares by the rules and by its blocklists, and which maps it trusts."""

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from popbeforesmtp.addresses import ClientAddress, parse_network
from popbeforesmtp.mtas.sendmail import open_map
from tests.end_to_end.lab import OUTSIDE, OWN, Daemon, Lab, rcpt, wait_for
from tests.end_to_end.maps import in_place_of
from tests.end_to_end.sendmail_server import MAIL
from tests.end_to_end.sendmails import (
    ACCESS_PORT,
    AT_ONCE_PORT,
    BEGINS_WITH_IT,
    CLIENT,
    CLIENT6,
    FILE,
    FILE_PORT,
    LISTS_PORT,
    LIVE,
    LIVE_PORT,
    MAP,
    STRANGER,
    WAYS,
    forget_maps,
    held,
    refused,
    running,
)

Start = Callable[..., Daemon]
LISTED, LISTED_STRANGER = "192.0.2.13", "192.0.2.14"
NOBODY = 65534


@pytest.fixture(scope="module", autouse=True)
def sendmails(lab: Lab) -> Iterator[None]:
    """Start the Sendmails that are asked here."""
    del lab
    with running(FILE_PORT, LIVE_PORT, ACCESS_PORT, LISTS_PORT, AT_ONCE_PORT):
        yield


@pytest.fixture(autouse=True)
def no_map() -> None:
    """Leave nothing of an earlier test."""
    forget_maps()


def ends(clients: Iterable[str]) -> dict[ClientAddress, datetime]:
    """Say that these may relay; the map does not keep until when."""
    return dict.fromkeys(map(ClientAddress, clients), datetime.now(UTC))


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
