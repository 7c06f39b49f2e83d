"""doctor finds what was planted on a real Postfix, Dovecot, rsyslog and daemon, and nothing where all is well."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.end_to_end.lab import _POSTFIX, CONTRIB, MAP, Daemon, Lab, wait_for

CLIENT = "192.0.2.10"
SPOOL = Path("/var/spool/postfix/pop-before-smtp")
CRON = Path("/etc/cron.d/pop-before-smtp")
STORE = MAP.parent / "state.sqlite"

_MAIN = (CONTRIB / "postfix" / "main.cf").read_text()
_RELAY = "check_client_access socketmap:unix:pop-before-smtp/map:clients"
_SPARE = "check_client_access lmdb:/var/lib/pop-before-smtp/clients"

Start = Callable[..., Daemon]


@dataclass
class Patient:
    """A machine that all is well with: a daemon, a client that logged in, and a configuration of Postfix of its own.

    ``main`` and ``master`` are its main.cf and master.cf, to be changed before `doctor` is asked.
    """

    daemon: Daemon
    folder: Path
    main: str = field(default=_POSTFIX + _MAIN)
    master: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    def swap(self, old: str, new: str) -> None:
        """Change main.cf, which must hold what is changed."""
        assert old in self.main
        self.main = self.main.replace(old, new)

    def doctor(self, *more: str) -> tuple[int, list[dict[str, str]]]:
        """Run it, and return its exit status and what it found."""
        (self.folder / "main.cf").write_text(self.main)
        (self.folder / "master.cf").write_text(self.master)
        done = subprocess.run(
            [sys.executable, "-m", "popbeforesmtp", "doctor", "--json", "--config", self.daemon._config, *more],
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
            env={**os.environ, "MAIL_CONFIG": str(self.folder), **self.environment},
        )
        assert done.stderr == ""
        return done.returncode, json.loads(done.stdout)


def faults(findings: list[dict[str, str]]) -> list[tuple[str, str]]:
    """Return the links on which something is wrong, with what."""
    return [(finding["link"], finding["found"]) for finding in findings if finding["level"] == "wrong"]


@pytest.fixture
def patient(lab: Lab, start: Start, tmp_path: Path) -> Iterator[Patient]:
    """Make all well: the distribution's master.cf, our own lines for main.cf, and somebody who logged in."""
    folder = Path("/etc/postfix-doctor")
    shutil.copytree("/etc/postfix", folder)
    CRON.parent.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", CRON.parent], check=True)
    CRON.write_text("* * * * * root pop-before-smtp sweep\n")
    daemon = start()
    master = subprocess.run(
        ["postconf", "-M"], capture_output=True, text=True, check=True, env={**os.environ, "MAIL_CONFIG": str(folder)}
    ).stdout
    own = "".join(line for line in master.splitlines(keepends=True) if not line[:4].strip().isdigit())
    try:
        assert lab.clients.pop3_login(CLIENT)
        wait_for("the login is granted", lambda: f"granted client={CLIENT} " in daemon.said())
        wait_for("the map holds it", lambda: _in_map(CLIENT))
        wait_for("the store holds it", lambda: CLIENT in daemon.command("list").stdout)
        yield Patient(daemon, folder, master=own)
    finally:
        subprocess.run(["umount", CRON.parent], check=True)
        shutil.rmtree(folder)


def _in_map(client: str) -> bool:
    done = subprocess.run(["postmap", "-q", client, f"lmdb:{MAP.with_suffix('')}"], capture_output=True, check=False)
    return done.returncode == 0


def test_nothing_is_wrong_where_all_is_well(patient: Patient) -> None:
    """Not a single fault, on every link from the log to Postfix."""
    status, findings = patient.doctor()
    assert faults(findings) == []
    assert status == 0
    links = {finding["link"] for finding in findings if finding["level"] == "ok"}
    assert links >= {
        "configuration", "log", "formats", "clock", "crowds", "store", "daemon", "units", "mta", "postfix_map",
        "postfix_socket", "postfix_lookup", "postfix_checks", "postfix_relay", "postfix_networks", "postfix_inbound",
    }  # fmt: skip


Plant = Callable[[Patient], None]


def _main(old: str, new: str) -> Plant:
    """Make a fault of main.cf."""
    return lambda patient: patient.swap(old, new)


def _more(lines: str) -> Plant:
    """Make a fault that main.cf has besides."""

    def plant(patient: Patient) -> None:
        patient.main += lines + "\n"

    return plant


def _override(option: str) -> Plant:
    """Make a fault of the smtpd of port 25 in master.cf."""

    def plant(patient: Patient) -> None:
        lines = patient.master.splitlines()
        (place,) = [number for number, line in enumerate(lines) if line.split()[:2] == ["smtp", "inet"]]
        lines[place] += f" -o {{{option}}}"
        patient.master = "\n".join(lines) + "\n"

    return plant


FAULTS: dict[str, tuple[Plant, str, str]] = {
    # --- asked at all, in the list that decides
    "Postfix does not ask": (
        _main(f"    {_RELAY},\n", ""),
        "postfix_lookup",
        "main.cf: smtpd_relay_restrictions: reject decides before we are asked: a login lets nobody in",
    ),
    "nothing of ours in main.cf": (
        _main(_MAIN, ""),
        "postfix_lookup",
        "no smtpd of this Postfix asks us: a login lets nobody in",
    ),
    "asked behind the end": (
        _main(f"    {_RELAY},\n    reject\n", f"    reject,\n    {_RELAY}\n"),
        "postfix_lookup",
        "main.cf: smtpd_relay_restrictions: reject decides before we are asked: a login lets nobody in",
    ),
    "the old list refuses before us": (
        _main(f"    {_SPARE},\n    reject_rbl_client rbl.example", f"    reject_unauth_destination,\n    {_SPARE}"),
        "postfix_lookup",
        "main.cf: smtpd_recipient_restrictions: reject_unauth_destination decides before we are asked: a login lets"
        " nobody in",
    ),
    "master.cf overrides": (
        _override("smtpd_relay_restrictions=permit_mynetworks,reject"),
        "postfix_lookup",
        "master.cf, smtp/inet: smtpd_relay_restrictions: reject decides before we are asked: a login lets nobody in",
    ),
    "master.cf overrides the client list": (
        _override("smtpd_client_restrictions=permit_sasl_authenticated,reject"),
        "postfix_lookup",
        "master.cf, smtp/inet: smtpd_client_restrictions: reject decides before we are asked: a login lets nobody in",
    ),
    # --- asked, but somebody else
    "another type of map": (
        _main(_SPARE, _SPARE.replace("lmdb:", "hash:")),
        "postfix_lookup",
        "main.cf: smtpd_recipient_restrictions: check_client_access hash:/var/lib/pop-before-smtp/clients asks a map that"
        " the daemon does not write: it writes lmdb:/var/lib/pop-before-smtp/clients",
    ),
    "the socket by its absolute path": (
        _main("unix:pop-before-smtp/map", f"unix:{SPOOL}/map"),
        "postfix_lookup",
        f"main.cf: smtpd_relay_restrictions: check_client_access socketmap:unix:{SPOOL}/map:clients reaches socketmap at"
        f" unix:/var/spool/postfix{SPOOL}/map, seen from its chroot, and the daemon answers socketmap:unix:{SPOOL}/map",
    ),
    "the socket by a wrong name": (
        _main("unix:pop-before-smtp/map", "unix:private/pop-before-smtp"),
        "postfix_lookup",
        "main.cf: smtpd_relay_restrictions: check_client_access socketmap:unix:private/pop-before-smtp:clients reaches"
        " socketmap at unix:/var/spool/postfix/private/pop-before-smtp, seen from its chroot, and the daemon answers"
        f" socketmap:unix:{SPOOL}/map",
    ),
    "senders instead of clients": (
        _main(_SPARE, _SPARE.replace("check_client_access", "check_sender_access")),
        "postfix_lookup",
        "main.cf: smtpd_recipient_restrictions: check_sender_access lmdb:/var/lib/pop-before-smtp/clients asks for something"
        " else than the client's address, which is all that we know",
    ),
    # --- what stands in front of us
    "a blocklist in front": (
        _main(f"    {_SPARE},\n    reject_rbl_client rbl.example", f"    reject_rbl_client rbl.example,\n    {_SPARE}"),
        "postfix_checks",
        "main.cf: smtpd_recipient_restrictions: reject_rbl_client rbl.example refuses or delays roaming clients before we"
        " are asked",
    ),
    "PTR records in another list": (
        _more("smtpd_client_restrictions = permit_mynetworks, reject_unknown_client_hostname"),
        "postfix_checks",
        "main.cf: smtpd_client_restrictions: reject_unknown_client_hostname refuses or delays roaming clients before we are"
        " asked",
    ),
    "greylisting in front": (
        _main(f"    {_SPARE},\n", f"    check_policy_service inet:127.0.0.1:10023,\n    {_SPARE},\n"),
        "postfix_checks",
        "main.cf: smtpd_recipient_restrictions: check_policy_service inet:127.0.0.1:10023 refuses or delays roaming clients"
        " before we are asked",
    ),
    "the blocklist switched off": (
        _main(f"    {_SPARE},\n", f"    permit_auth_destination,\n    {_SPARE},\n"),
        "postfix_checks",
        "main.cf: smtpd_recipient_restrictions: permit_auth_destination in front of reject_rbl_client rbl.example switches it"
        " off for all inbound mail",
    ),
    "postscreen in front": (
        lambda patient: (
            _more("postscreen_dnsbl_sites = rbl.example\npostscreen_dnsbl_action = enforce")(patient),
            setattr(
                patient,
                "master",
                patient.master + "2530 inet n - y - 1 postscreen\nsmtpd pass - - y - - smtpd\n",
            ),
        )[0],
        "postfix_postscreen",
        "main.cf: postscreen_access_list does not ask us: roaming clients in a blocklist are turned away",
    ),
    # --- open relays
    "an open relay": (
        _main("    reject\n", "    permit\n"),
        "postfix_relay",
        "smtp/inet is an open relay: permit in smtpd_relay_restrictions lets everybody in",
    ),
    "no end": (
        _main(f"    {_RELAY},\n    reject\n", f"    {_RELAY}\n"),
        "postfix_relay",
        "smtp/inet is an open relay: no list ends with reject or reject_unauth_destination",
    ),
    "refusals that are only logged": (
        _main("    reject\n", "    warn_if_reject reject\n"),
        "postfix_relay",
        "smtp/inet is an open relay: no list ends with reject or reject_unauth_destination",
    ),
    "senders are believed": (
        _main(
            "    permit_auth_destination,\n", "    permit_auth_destination,\n    check_sender_access hash:/etc/ours,\n"
        ),
        "postfix_relay",
        "smtp/inet: check_sender_access hash:/etc/ours stands in front of all that refuses strangers, and believes what any"
        " client says of itself",
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
        f"main.cf: smtpd_relay_restrictions: with the daemon dead {_RELAY} answers 451 to all inbound mail; put"
        " permit_auth_destination in front of it",
    ),
    "a socketmap in front of a blocklist": (
        _main(_SPARE, _RELAY),
        "postfix_inbound",
        f"main.cf: smtpd_recipient_restrictions: with the daemon dead {_RELAY} answers 451 to all inbound mail; only a map may"
        " be asked here",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_postfixs_configuration_is_found(patient: Patient, fault: str) -> None:
    """Each is found by the link that it is on, with its sentence, and a change that names a parameter."""
    plant, link, sentence = FAULTS[fault]
    plant(patient)
    status, findings = patient.doctor()
    assert (link, sentence) in faults(findings), faults(findings)
    assert status == 1


@pytest.mark.parametrize(
    "fault",
    [
        name
        for name, (_, link, _) in FAULTS.items()
        if link in ("postfix_lookup", "postfix_checks", "postfix_relay", "postfix_inbound")
    ],
)
def test_the_lines_that_doctor_prints_mend_it(patient: Patient, fault: str) -> None:
    """The commands are run as they stand there; afterwards there is nothing to change."""
    FAULTS[fault][0](patient)
    for _ in range(3):  # one list at a time
        findings = patient.doctor()[1]
        for command in {finding["change"] for finding in findings if finding["level"] == "wrong"}:
            if command.startswith("postconf -"):
                environment = {**os.environ, "MAIL_CONFIG": str(patient.folder)}
                subprocess.run(command, shell=True, check=True, env=environment)  # noqa: S602 - as an administrator
        patient.main = (patient.folder / "main.cf").read_text()
        patient.master = (patient.folder / "master.cf").read_text()
    assert faults(patient.doctor()[1]) == []
