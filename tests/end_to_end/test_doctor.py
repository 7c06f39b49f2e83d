"""doctor finds what was planted into Postfix's configuration, with the sentence that stands here, and mends it.

One daemon, one client that logged in; each fault is planted into a copy of main.cf and master.cf, which real postconf
and postmap read.
"""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.lab import LOG, MAP, Daemon, Lab
from tests.end_to_end.patient import CONFIG_DIR, MAIN, Patient, faults, well

SPOOL = Path("/var/spool/postfix/pop-before-smtp")

EVERYBODY = Path("/run/everybody.cidr")

_RELAY = "check_client_access socketmap:unix:pop-before-smtp/map:clients"
_SPARE = "check_client_access lmdb:/var/lib/pop-before-smtp/clients"
_RELAY_LIST, _RECIPIENT_LIST = "main.cf: smtpd_relay_restrictions: ", "main.cf: smtpd_recipient_restrictions: "
_JAIL = f", seen from its chroot, and the daemon answers socketmap:unix:{SPOOL}/map"
_DECIDES = "decides before we are asked: a login lets nobody in"
_IN_FRONT = "refuses or delays roaming clients before we are asked"
_DEAD = f"with the daemon dead {_RELAY} answers 451 to all inbound mail"

Plant = Callable[[Patient], None]


@pytest.fixture(scope="module")
def steady(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Patient]:
    """One daemon for all."""
    for state in MAP.parent.glob("state.sqlite*"):
        state.unlink()
    os.truncate(LOG, 0)
    EVERYBODY.write_text("0.0.0.0/0 OK\n")
    daemon = Daemon(lab.config(), tmp_path_factory.mktemp("doctor") / "daemon.log").ready()
    with well(lab, daemon) as made:
        yield made
    daemon.stop()


@pytest.fixture
def patient(steady: Patient) -> Patient:
    """A configuration of its own for each test."""
    return Patient(steady.daemon, steady.main, steady.master)


def test_nothing_is_wrong_where_all_is_well(patient: Patient) -> None:
    """Not a single fault, on every link from the log to Postfix."""
    status, findings = patient.doctor()
    assert faults(findings) == []
    assert status == 0
    links = {finding["link"] for finding in findings if finding["level"] == "ok"}
    assert links >= {
        "configuration", "log", "formats", "clock", "crowds", "store", "daemon", "units", "mta", "postfix_map",
        "postfix_socket", "postfix_lookup", "postfix_checks", "postfix_relay", "postfix_networks", "postfix_inbound",
        "postfix_reach", "postfix_domains", "rules",
    }  # fmt: skip


def test_other_ways_to_ask_are_well_too(patient: Patient) -> None:
    """The policy service, the map alone, through mynetworks or proxymap, and lists that refuse once more behind us."""
    patient.swap(f"    {_SPARE},\n    reject_rbl_client rbl.example", f"    {_SPARE},\n    reject_unauth_destination")
    assert faults(patient.doctor()[1]) == []
    patient.swap(_RELAY, "check_client_access proxy:lmdb:/var/lib/pop-before-smtp/clients")
    assert faults(patient.doctor()[1]) == []
    patient.swap("    check_client_access proxy:lmdb:/var/lib/pop-before-smtp/clients,\n", "")
    patient.swap("mynetworks = ", "mynetworks = lmdb:/var/lib/pop-before-smtp/clients, ")
    assert faults(patient.doctor()[1]) == []


def test_a_submission_service_and_a_content_filter_are_well(patient: Patient) -> None:
    """They refuse whom they are not meant for; main.cf may say a thing twice, whatever postmap thinks of that."""
    patient.main += (
        "smtpd_helo_required = no\nsmtpd_helo_required = yes\ncontent_filter = smtp-amavis:[127.0.0.1]:10024\n"
    )
    patient.master += (
        "submission inet n - y - - smtpd -o smtpd_client_restrictions=permit_sasl_authenticated,reject\n"
        "127.0.0.1:10025 inet n - n - - smtpd -o smtpd_relay_restrictions=permit_mynetworks,reject"
        " -o mynetworks=127.0.0.0/8\n"
    )
    status, findings = patient.doctor()
    assert faults(findings) == []
    assert status == 0
    (found,) = [
        finding["found"] for finding in findings if "submission" in finding["found"] and "ask" in finding["found"]
    ]
    assert found == "submission/inet does not ask us: who sends there must authenticate"


def _main(old: str, new: str) -> Plant:
    """Make a fault of main.cf."""
    return lambda patient: patient.swap(old, new)


def _more(lines: str, services: str = "") -> Plant:
    """Make a fault that main.cf and master.cf have besides."""

    def plant(patient: Patient) -> None:
        patient.main += lines + "\n"
        patient.master += services

    return plant


def _override(option: str) -> Plant:
    """Make a fault of the smtpd of port 25 in master.cf."""

    def plant(patient: Patient) -> None:
        lines = patient.master.splitlines()
        (place,) = [number for number, line in enumerate(lines) if line.split()[:2] == ["smtp", "inet"]]
        lines[place] += f" -o {{{option}}}"
        patient.master = "\n".join(lines) + "\n"

    return plant


FAULTS: dict[str, tuple[Plant, str, str]] = {  # how it is planted, the link that finds it, and how it is said
    # --- asked at all, in the list that decides
    "Postfix does not ask": (
        _main(f"    {_RELAY},\n", ""),
        "postfix_lookup",
        _RELAY_LIST + "reject " + _DECIDES,
    ),
    "nothing of ours in main.cf": (
        _main(MAIN, ""),
        "postfix_lookup",
        "no smtpd of this Postfix asks us: a login lets nobody in",
    ),
    "asked behind the end": (
        _main(f"    {_RELAY},\n    reject\n", f"    reject,\n    {_RELAY}\n"),
        "postfix_lookup",
        _RELAY_LIST + "reject " + _DECIDES,
    ),
    "the old list refuses before us": (
        _main(f"    {_SPARE},\n    reject_rbl_client rbl.example", f"    reject_unauth_destination,\n    {_SPARE}"),
        "postfix_lookup",
        _RECIPIENT_LIST + "reject_unauth_destination " + _DECIDES,
    ),
    "master.cf overrides": (
        _override("smtpd_relay_restrictions=permit_mynetworks,reject"),
        "postfix_lookup",
        "master.cf, smtp/inet: smtpd_relay_restrictions: reject " + _DECIDES,
    ),
    "master.cf overrides the client list": (
        _override("smtpd_client_restrictions=permit_sasl_authenticated,reject"),
        "postfix_lookup",
        "master.cf, smtp/inet: smtpd_client_restrictions: reject " + _DECIDES,
    ),
    # --- not reached at all
    "only this machine": (
        _more("inet_interfaces = loopback-only"),
        "postfix_reach",
        "main.cf: inet_interfaces = loopback-only: only this machine reaches Postfix",
    ),
    "no smtpd": (
        lambda patient: setattr(patient, "master", "pickup unix n - y 60 1 pickup\n"),
        "postfix_reach",
        "master.cf: no smtpd listens: nobody can send",
    ),
    # --- asked, but somebody else
    "another type of map": (
        _main(_SPARE, _SPARE.replace("lmdb:", "hash:")),
        "postfix_lookup",
        _RECIPIENT_LIST + "check_client_access hash:/var/lib/pop-before-smtp/clients asks a map that the daemon does"
        " not write: it writes lmdb:/var/lib/pop-before-smtp/clients",
    ),
    "the socket by its absolute path": (
        _main("unix:pop-before-smtp/map", f"unix:{SPOOL}/map"),
        "postfix_lookup",
        _RELAY_LIST + f"check_client_access socketmap:unix:{SPOOL}/map:clients reaches"
        f" socketmap at unix:/var/spool/postfix{SPOOL}/map{_JAIL}",
    ),
    "the socket by a wrong name": (
        _main("unix:pop-before-smtp/map", "unix:private/pop-before-smtp"),
        "postfix_lookup",
        _RELAY_LIST + "check_client_access socketmap:unix:private/pop-before-smtp:clients reaches"
        f" socketmap at unix:/var/spool/postfix/private/pop-before-smtp{_JAIL}",
    ),
    "senders instead of clients": (
        _main(_SPARE, _SPARE.replace("check_client_access", "check_sender_access")),
        "postfix_lookup",
        _RECIPIENT_LIST + "check_sender_access lmdb:/var/lib/pop-before-smtp/clients asks for something"
        " else than the client's address, which is all that we know",
    ),
    # --- what stands in front of us
    "a blocklist in front": (
        _main(f"    {_SPARE},\n    reject_rbl_client rbl.example", f"    reject_rbl_client rbl.example,\n    {_SPARE}"),
        "postfix_checks",
        _RECIPIENT_LIST + "reject_rbl_client rbl.example " + _IN_FRONT,
    ),
    "PTR records in another list": (
        _more("smtpd_client_restrictions = permit_mynetworks, reject_unknown_client_hostname"),
        "postfix_checks",
        "main.cf: smtpd_client_restrictions: reject_unknown_client_hostname " + _IN_FRONT,
    ),
    "greylisting in front": (
        _main(f"    {_SPARE},\n", f"    check_policy_service inet:127.0.0.1:10023,\n    {_SPARE},\n"),
        "postfix_checks",
        _RECIPIENT_LIST + "check_policy_service inet:127.0.0.1:10023 " + _IN_FRONT,
    ),
    "senders that must log in by SASL": (
        _more("smtpd_sender_restrictions = permit_mynetworks, reject_sender_login_mismatch"),
        "postfix_checks",
        "main.cf: smtpd_sender_restrictions: reject_sender_login_mismatch " + _IN_FRONT,
    ),
    "the blocklist switched off": (
        _main(f"    {_SPARE},\n", f"    permit_auth_destination,\n    {_SPARE},\n"),
        "postfix_checks",
        _RECIPIENT_LIST + "permit_auth_destination in front of reject_rbl_client rbl.example switches it off for"
        " all inbound mail",
    ),
    "postscreen in front": (
        _more(
            "postscreen_dnsbl_sites = rbl.example\npostscreen_dnsbl_action = enforce",
            "2530 inet n - y - 1 postscreen\nsmtpd pass - - y - - smtpd\n",
        ),
        "postfix_postscreen",
        "main.cf: postscreen_access_list does not ask us: roaming clients in a blocklist are turned away",
    ),
    # --- open relays
    "an open relay": (
        _main("    permit_auth_dest", "    check_client_access static:OK,\n    permit_auth_dest"),
        "postfix_relay",
        "smtp/inet is an open relay: check_client_access static:OK lets everybody in",
    ),
    "a map that lets everybody in": (
        _main("    permit_auth_dest", f"    check_client_access cidr:{EVERYBODY},\n    permit_auth_dest"),
        "postfix_relay",
        f"smtp/inet is an open relay: check_client_access cidr:{EVERYBODY} lets in 203.0.113.77, a stranger",
    ),
    "everybody's domains": (
        _more("relay_domains = static:all"),
        "postfix_domains",
        "open relay: main.cf: relay_domains holds every domain, relay-test.invalid too, by static:all",
    ),
    "no end": (
        _main(f"    {_RELAY},\n    reject\n", f"    {_RELAY}\n"),
        "postfix_relay",
        "smtp/inet takes no mail: Postfix insists on reject or reject_unauth_destination in a list",
    ),
    "refusals that are only logged": (
        _main("    reject\n", "    warn_if_reject reject\n"),
        "postfix_relay",
        "smtp/inet takes no mail: Postfix insists on reject or reject_unauth_destination in a list",
    ),
    "senders are believed": (
        _main(
            "    permit_auth_destination,\n", "    permit_auth_destination,\n    check_sender_access hash:/etc/ours,\n"
        ),
        "postfix_relay",
        "smtp/inet: check_sender_access hash:/etc/ours stands in front of all that refuses strangers,"
        " and believes what any client says of itself",
    ),
    "the world is trusted": (
        _main("mynetworks = 127.0.0.0/8,", "mynetworks = 127.0.0.0/8, 0.0.0.0/0,"),
        "postfix_networks",
        "main.cf: mynetworks holds 0.0.0.0/0: everybody in it may relay without any login",
    ),
    "half a continent is trusted": (
        _main("mynetworks = 127.0.0.0/8,", "mynetworks = 127.0.0.0/8, [2001::]/16,"),
        "postfix_networks",
        "main.cf: mynetworks holds 2001::/16: everybody in it may relay without any login",
    ),
    "everybody may claim an address": (
        _more("smtpd_authorized_xclient_hosts = 0.0.0.0/0"),
        "postfix_networks",
        "main.cf: smtpd_authorized_xclient_hosts: 0.0.0.0/0 lets everybody claim any address",
    ),
    # --- inbound mail when we are dead
    "inbound mail behind the socketmap": (
        _main("    permit_auth_destination,\n", ""),
        "postfix_inbound",
        _RELAY_LIST + f"{_DEAD}; put permit_auth_destination in front of it",
    ),
    "a socketmap in front of a blocklist": (
        _main(_SPARE, _RELAY),
        "postfix_inbound",
        _RECIPIENT_LIST + f"{_DEAD}; only a map may be asked here",
    ),
    "a policy service that is waited for": (
        _main(_SPARE, "check_policy_service unix:pop-before-smtp/policy"),
        "postfix_inbound",
        _RECIPIENT_LIST + "with the daemon dead check_policy_service answers 451 4.3.5 Server configuration problem to"
        " all inbound mail; write default_action=DUNNO",
    ),
    "a policy service that may hang": (
        _main(_SPARE, "check_policy_service { unix:pop-before-smtp/policy, default_action=DUNNO }"),
        "postfix_inbound",
        _RECIPIENT_LIST + "a daemon that hangs would hold all inbound mail up for 100s at check_policy_service; write"
        " timeout=2s",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_postfixs_configuration_is_found(patient: Patient, fault: str) -> None:
    """Each by the link that it is on, with its sentence, and with what to change."""
    plant, link, sentence = FAULTS[fault]
    plant(patient)
    status, findings = patient.doctor()
    assert (link, sentence) in faults(findings), faults(findings)
    assert all(finding["change"] for finding in findings if finding["level"] == "wrong")
    assert status == 1


_MENDED = ("postfix_lookup", "postfix_checks", "postfix_relay", "postfix_inbound")


@pytest.mark.parametrize("fault", [name for name, (_, link, _) in FAULTS.items() if link in _MENDED])
def test_the_lines_that_doctor_prints_mend_it(patient: Patient, fault: str) -> None:
    """Its commands are run as they stand there; afterwards there is nothing to change."""
    FAULTS[fault][0](patient)
    for _ in range(3):  # one list at a time
        findings = patient.doctor()[1]
        for command in {finding["change"] for finding in findings if finding["level"] == "wrong"}:
            if command.startswith("postconf -"):
                environment = {**os.environ, "MAIL_CONFIG": str(CONFIG_DIR)}
                subprocess.run(command, shell=True, check=True, env=environment)  # noqa: S602 - as an administrator
        patient.main = (CONFIG_DIR / "main.cf").read_text()
        patient.master = (CONFIG_DIR / "master.cf").read_text()
        if not faults(findings):
            return
    pytest.fail(f"still wrong: {faults(findings)}")
