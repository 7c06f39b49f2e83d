"""doctor finds what is wrong with log, clock, store, daemon, units, map and sockets, and by a conversation."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.end_to_end.configurations import POSTFIX
from tests.end_to_end.lab import LOG, MAP, SERVER4, Daemon, Lab, answers, wait_for
from tests.end_to_end.patient import CLIENT, CONFIG_DIR, CRON, MAIN, Findings, Patient, faults, well
from tests.end_to_end.test_system import installed

Start = Callable[..., Daemon]
Write = Callable[[str], None]

STORE = MAP.parent / "state.sqlite"
SOCKET = Path("/var/spool/postfix/pop-before-smtp/map")
OTHER_LOG = Path("/var/log/maillog")
SYSTEMD, UNITS = Path("/run/systemd/system"), ("pop-before-smtp.service", "pop-before-smtp-sweep.timer")

__all__ = ["installed"]  # a fixture


@pytest.fixture
def patient(lab: Lab, start: Start) -> Iterator[Patient]:
    """A machine on which all is well, with a daemon of its own."""
    with well(lab, start()) as made:
        yield made
    for path in (OTHER_LOG, MAP.with_name("second")):
        path.unlink(missing_ok=True)
    LOG.chmod(0o640)


def stamp(ago: timedelta = timedelta()) -> str:
    """Write a stamp as rsyslog does."""
    return (datetime.now(UTC) - ago).isoformat(timespec="microseconds")


def login(account: str, client: str, ago: timedelta = timedelta()) -> str:
    """Write what Dovecot logs of a login."""
    return (
        f"{stamp(ago)} mx1 dovecot: pop3-login: Login: user=<{account}>, method=PLAIN, rip={client}, lip={SERVER4},"
        " mpid=77, session=<AbCdEfGhIjKlMnOp>\n"
    )


def found(findings: Findings, link: str, beginning: str) -> bool:
    """Say whether a link found something wrong whose sentence begins so, and says what to change."""
    assert all(finding["change"] for finding in findings if finding["level"] == "wrong")
    seen = any(name == link and sentence.startswith(beginning) for name, sentence in faults(findings))
    print([finding for finding in findings if finding["link"] == link])  # noqa: T201 - why not
    return seen


def test_a_log_that_is_not_there(patient: Patient, tmp_path: Path) -> None:
    """The configuration names another."""
    config = tmp_path / "wrong.toml"
    config.write_text('[[source]]\ntype = "file"\npath = "/var/log/imap.log"\n')
    status, findings = patient.doctor(config=config)
    assert status == 1
    assert found(findings, "log", "/var/log/imap.log: there is no such log")
    assert any("/var/log/mail.log" in finding["change"] for finding in findings)


def test_a_log_that_the_daemons_user_may_not_read(patient: Patient, installed: Path) -> None:
    """No daemon runs; its user is in adm, and the log belongs to another group."""
    patient.daemon.stop()
    shutil.chown(LOG, "root", "root")
    findings = patient.doctor()[1]
    shutil.chown(LOG, "root", "adm")
    assert found(findings, "log", f"{LOG} may not be read by user pop-before-smtp (owner 0, group 0, mode 0640)")
    assert not found(patient.doctor()[1], "log", str(LOG))


def test_a_log_that_everybody_may_write(patient: Patient) -> None:
    """Whoever can write to a log can open the relay; the daemon refuses to start with it, in the same words."""
    LOG.chmod(0o666)
    findings = patient.doctor()[1]
    assert found(findings, "log", f"{LOG}: whoever can write to a log can open the relay, and {LOG} may be written by")


def test_a_log_that_nobody_writes_to_any_more(patient: Patient) -> None:
    """It was busy, and is silent since two days."""
    lines = "".join(login("alice", CLIENT, timedelta(days=2, seconds=300 - number)) for number in range(300))
    LOG.write_text(lines)
    old = time.time() - 2 * 86400
    os.utime(LOG, (old, old))
    findings = patient.doctor()[1]
    os.truncate(LOG, 0)
    assert found(findings, "log", f"{LOG}: nothing was written for 2d")


def test_another_log_that_the_logins_went_to(patient: Patient, tmp_path: Path) -> None:
    """Somebody moved them: the configured log only has old ones."""
    OTHER_LOG.write_text(login("alice", CLIENT))
    LOG.write_text(login("alice", CLIENT, timedelta(hours=5)))
    config = tmp_path / "named.toml"
    config.write_text(f'[[source]]\ntype = "file"\npath = "{LOG}"\n')
    findings = patient.doctor(config=config)[1]
    os.truncate(LOG, 0)
    assert found(findings, "log", f"{LOG}: the last logins stand in {OTHER_LOG}")


def test_headers_that_nobody_knows(patient: Patient) -> None:
    """A template of the syslog daemon's that we do not read."""
    with LOG.open("a") as log:
        log.write("mx1|dovecot|pop3-login: Login: user=<alice>\n" * 300)
    findings = patient.doctor()[1]
    assert found(findings, "formats", f"{LOG}: 99 % of the last lines have no header that we know")


def test_logins_that_fit_no_format(patient: Patient) -> None:
    """Dovecot's login_log_format is its administrator's own."""
    with LOG.open("a") as log:
        log.writelines(f"{stamp()} mx1 dovecot: pop3-login: Login: alice at {CLIENT}\n" for _ in range(5))
    findings = patient.doctor()[1]
    assert found(findings, "formats", f"{LOG}: 5 of the last lines look like logins and fit no format, such as 'pop3-l")


def test_a_log_without_any_login(patient: Patient) -> None:
    """The POP server logs elsewhere."""
    LOG.write_text(f"{stamp()} mx1 postfix/smtpd[7]: connect from unknown[{CLIENT}]\n" * 300)
    findings = patient.doctor()[1]
    assert found(findings, "formats", f"{LOG}: the last 300 lines hold no login, logout or failure that we know")


@pytest.mark.parametrize(("offset", "says"), [(-2, "behind"), (2, "ahead of")])
def test_stamps_of_another_zone(patient: Patient, offset: int, says: str) -> None:
    """Written now, in traditional syslog's stamps, by a program whose TZ is another."""
    time_there = (datetime.now().astimezone() + timedelta(hours=offset)).strftime("%b %e %H:%M:%S")
    LOG.write_text(f"{time_there} mx1 dovecot: pop3-login: Disconnected\n" * 3)
    findings = patient.doctor()[1]
    (finding,) = [sentence for name, sentence in faults(findings) if name == "clock"]
    assert re.fullmatch(rf"{LOG}: stamps lie a steady (2h|2h [0-9]s|1h 59m) {says} this machine's clock", finding)


def test_a_clock_that_was_set_back(patient: Patient) -> None:
    """The log was written in the future."""
    ahead = time.time() + 7190
    os.utime(LOG, (ahead, ahead))
    assert found(patient.doctor()[1], "clock", f"{LOG}: was written 1h 59m ahead of this machine's clock")


def test_many_accounts_behind_one_address(patient: Patient) -> None:
    """A proxy, whose address must never be authorized."""
    with LOG.open("a") as log:
        log.writelines(login(f"user{number}", "192.0.2.15") for number in range(20))
    assert found(patient.doctor()[1], "crowds", f"{LOG}: 192.0.2.15: 20 accounts log in from there;")


def test_a_store_that_is_broken(patient: Patient) -> None:
    """Something else lies in its place."""
    patient.daemon.stop()
    STORE.with_name("state.sqlite-wal").unlink(missing_ok=True)
    STORE.write_bytes(b"no database at all, but long enough to be looked at as one" * 100)
    assert found(patient.doctor()[1], "store", f"{STORE}: ")


def test_a_store_that_the_daemons_user_may_not_write(installed: Path, patient: Patient) -> None:
    """Somebody gave it to root; what the daemon makes as root belongs to whom the folder does."""
    patient.daemon.stop()
    assert STORE.stat().st_uid == STORE.parent.stat().st_uid
    os.chown(STORE, 0, 0)
    assert found(patient.doctor()[1], "store", f"{STORE} may not be written by user pop-before-smtp")


def test_a_disk_that_is_full(patient: Patient, tmp_path: Path) -> None:
    """The store's."""
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], check=True)
    config = tmp_path / "full.toml"
    config.write_text(f'[store]\ntype = "sqlite"\npath = "{small}/state.sqlite"\n')
    findings = patient.doctor(config=config)[1]
    subprocess.run(["umount", small], check=True)
    assert found(findings, "store", f"{small}: the disk is full")


def test_a_disk_that_is_mounted_read_only(patient: Patient) -> None:
    """After a fault of the disk, say; root may write everywhere else."""
    folder = STORE.parent
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
    findings = patient.doctor()[1]
    subprocess.run(["umount", folder], check=True)
    assert found(findings, "store", f"{folder}: is mounted read-only")


def test_rules_that_let_nobody_in(lab: Lab, start: Start, tmp_path: Path) -> None:
    """Every login is refused, for a reason that somebody configured."""
    daemon = start(more='[rules]\naccounts = ["somebody-else"]\n')
    for number in range(3):
        assert lab.clients.pop3_login(f"192.0.2.{10 + number}")
    wait_for("all are refused", lambda: daemon.said().count("refused client=") >= 3)
    assert found(
        json.loads(daemon.command("doctor", "--json").stdout), "rules", "no login was granted since the daemon"
    )


def test_a_daemon_that_is_dead(patient: Patient) -> None:
    """In the words of `status`."""
    patient.daemon.stop()
    assert found(patient.doctor()[1], "daemon", "no daemon is running: nobody new is let in")


def test_a_daemon_that_hangs(patient: Patient) -> None:
    """It is there, and does not answer; the links that need no answer are looked at all the same."""
    patient.daemon.process.send_signal(signal.SIGSTOP)
    findings = patient.doctor()[1]
    patient.daemon.process.send_signal(signal.SIGCONT)
    assert found(findings, "daemon", "/run/pop-before-smtp/control: the daemon does not answer")
    assert "postfix_lookup" in {finding["link"] for finding in findings}


def test_a_daemon_that_does_not_know_of_its_new_configuration(patient: Patient, tmp_path: Path) -> None:
    """Nobody has sent it SIGHUP."""
    config = tmp_path / "new.toml"
    config.write_text('[[mta]]\ntype = "postfix"\nmap = "cdb:/var/lib/pop-before-smtp/clients"\n')
    findings = patient.doctor(config=config)[1]
    assert found(findings, "daemon", "the daemon has no cdb:/var/lib/pop-before-smtp/clients, which is what")


def test_no_sweep(patient: Patient) -> None:
    """Neither a timer nor a line for cron."""
    CRON.write_text("# * * * * * root pop-before-smtp sweep\n")
    assert found(patient.doctor()[1], "units", "nothing runs the sweep: should the daemon die")


def test_units_that_are_not_enabled(patient: Patient) -> None:
    """Systemd knows them, and starts neither; then one."""
    patient.environment["SYSTEMD_OFFLINE"] = "1"  # nobody answers on the bus; systemctl reads the files
    SYSTEMD.mkdir(parents=True)
    try:
        for unit in UNITS:
            shutil.copy(Path(__file__).parents[2] / "contrib" / "systemd" / unit, SYSTEMD)
        findings = patient.doctor()[1]
        assert [sentence for name, sentence in faults(findings) if name == "units"] == [
            f"{unit} is disabled" for unit in UNITS
        ]
        wants = SYSTEMD / "multi-user.target.wants"
        wants.mkdir()
        (wants / UNITS[0]).symlink_to(SYSTEMD / UNITS[0])
        findings = patient.doctor()[1]
        assert [sentence for name, sentence in faults(findings) if name == "units"] == [f"{UNITS[1]} is disabled"]
    finally:
        shutil.rmtree(SYSTEMD)


def test_a_map_that_was_deleted(patient: Patient) -> None:
    """While no daemon runs to make it again."""
    patient.daemon.stop()
    MAP.unlink()
    assert found(patient.doctor()[1], "postfix_map", f"{MAP}: is not there: Postfix answers 451 wherever it is asked")


def test_a_map_that_proxymap_may_not_read(patient: Patient) -> None:
    """Smtpd opens it as root and sees no difference: that is a note; through proxymap it is a fault."""
    MAP.chmod(0o600)
    status, findings = patient.doctor()
    assert (status, faults(findings)) == (0, [])
    assert any(finding["level"] == "note" and f"{MAP} may not be read" in finding["found"] for finding in findings)
    patient.swap("access lmdb:", "access proxy:lmdb:")
    assert found(patient.doctor()[1], "postfix_map", f"{MAP} may not be read by user postfix")


def test_a_map_with_a_second_name(patient: Patient) -> None:
    """Measured: Postfix does not notice that such a one is replaced."""
    MAP.with_name("second").hardlink_to(MAP)
    assert found(patient.doctor()[1], "postfix_map", f"{MAP}: is known by a second name (hard link)")


def test_a_map_that_lets_a_stranger_in(patient: Patient) -> None:
    """Nobody logged in from there; or the time is over, and nobody has swept."""
    patient.daemon.stop()
    entry = "192.0.2.19\tOK\n"
    subprocess.run(["postmap", "-i", f"lmdb:{MAP.with_suffix('')}"], input=entry, text=True, check=True)
    findings = patient.doctor()[1]
    subprocess.run(["postmap", "-d", "192.0.2.19", f"lmdb:{MAP.with_suffix('')}"], check=True)
    assert found(findings, "postfix_map", f"lmdb:{MAP.with_suffix('')}: lets in 1 clients whose time is over")


def test_a_result_that_postfix_does_not_know(patient: Patient, tmp_path: Path) -> None:
    """It would answer 451."""
    config = tmp_path / "result.toml"
    config.write_text('[[mta]]\ntype = "postfix"\nresult = "yes"\n')
    findings = patient.doctor(config=config)[1]
    assert found(findings, "postfix_map", f'{config}:3: [mta] result: Postfix does not take "yes" for a leave')


def test_a_map_type_that_this_postfix_cannot_read(patient: Patient, tmp_path: Path) -> None:
    """postfix-lmdb is not installed."""
    patient.main += f"meta_directory = {CONFIG_DIR}\n"
    for path in (CONFIG_DIR / "dynamicmaps.cf", *(CONFIG_DIR / "dynamicmaps.cf.d").glob("*")):
        path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if "lmdb" not in line))
    config = tmp_path / "lmdb.toml"
    config.write_text('[[mta]]\ntype = "postfix"\nmap = "lmdb:/var/lib/pop-before-smtp/clients"\n')
    findings = patient.doctor(config=config)[1]
    assert found(
        findings, "mta", f'{config}:1: [mta]: map = "lmdb:{MAP.with_suffix("")}": this Postfix cannot read lmdb'
    )


def test_a_configuration_that_others_may_change(patient: Patient) -> None:
    """They could trust themselves."""
    config = patient.daemon._config
    config.chmod(0o666)
    findings = patient.doctor()[1]
    config.chmod(0o644)
    assert found(findings, "configuration", f"{config}: may be written")


def test_a_socket_that_smtpd_may_not_reach(patient: Patient) -> None:
    """Its folder is closed to Postfix's user."""
    mode = SOCKET.parent.stat().st_mode
    SOCKET.parent.chmod(0o700)
    findings = patient.doctor()[1]
    SOCKET.parent.chmod(mode)
    assert found(findings, "postfix_socket", f"{SOCKET.parent} may not be entered by user postfix")


def test_a_socket_that_somebody_removed(patient: Patient) -> None:
    """The daemon goes on, and nobody can ask it."""
    SOCKET.unlink()
    assert found(patient.doctor()[1], "postfix_socket", f"{SOCKET}: there is no socket, although the daemon runs")


def test_postfix_is_stopped(patient: Patient) -> None:
    """All is well but for that."""
    subprocess.run(["postfix", "stop"], check=True, capture_output=True)
    findings = patient.doctor()[1]
    subprocess.run(["postfix", "start"], check=True, capture_output=True)
    wait_for("Postfix answers", lambda: answers(SERVER4, 25))
    assert faults(findings) == [("mta", "Postfix does not run")]


# --- a real conversation


@pytest.fixture
def postfix() -> Iterator[Callable[[str], None]]:
    """Give the Postfix that runs another main.cf for a while."""
    path = Path("/etc/postfix/main.cf")
    before = path.read_text()

    def change(text: str) -> None:
        path.write_text(text)
        subprocess.run(["postfix", "reload"], check=True, capture_output=True)

    yield change
    change(before)


def test_live_proves_that_strangers_are_refused_because_we_were_asked(patient: Patient) -> None:
    """From this host's own address, which is not trusted; mail for the own domain is taken; nothing is sent."""
    before = LOG.read_text().count("queued") + LOG.read_text().count("status=sent")
    status, findings = patient.doctor("--live")
    said = [finding["found"] for finding in findings if finding["link"] == "live"]
    assert (status, faults(findings)) == (0, [])
    assert sum(sentence.startswith(f"a stranger cannot relay: {SERVER4} as <") for sentence in said) == 2
    assert any(sentence.startswith("the daemon was asked: ") for sentence in said)
    assert any(sentence.startswith("inbound mail is taken: <postmaster@lab.example>: 250") for sentence in said)
    assert "that a roaming client gets in cannot be proved from here" in said
    assert LOG.read_text().count("queued") + LOG.read_text().count("status=sent") == before
    assert patient.doctor("--live", "2001:db8:ffff::1")[0] == 0
    assert found(patient.doctor("--live", "192.0.2.99")[1], "live", "192.0.2.99 is no address of this machine")


def test_live_finds_an_open_relay(patient: Patient, postfix: Callable[[str], None]) -> None:
    """Whatever the configuration says that was looked at."""
    postfix(POSTFIX + MAIN.replace("    permit_auth_dest", "    check_client_access static:OK,\n    permit_auth_dest"))
    findings = patient.doctor("--live")[1]
    assert found(findings, "live", f"open relay: {SERVER4} as <> to <relay-test@example.com>: 250 ")


def test_live_finds_that_nobody_answers_postfix(patient: Patient, postfix: Callable[[str], None]) -> None:
    """The daemon is dead: inbound mail comes in all the same where the order is right, and else is put off."""
    postfix(POSTFIX + MAIN)
    patient.daemon.stop()
    findings = patient.doctor("--live")[1]
    assert found(findings, "live", "put off, as if somebody who is asked did not answer: ")
    assert any(finding["found"].startswith("inbound mail is taken: ") for finding in findings)
    postfix(POSTFIX + MAIN.replace("    reject\n", "    permit\n"))
    assert found(patient.doctor("--live")[1], "live", f"{SERVER4}: the mail server does not answer on port 25")
    postfix(POSTFIX + MAIN.replace("    permit_auth_destination,\n", ""))
    assert found(patient.doctor("--live")[1], "live", "inbound mail is put off: <postmaster@lab.example>: 451 ")


def test_live_says_that_it_proves_nothing_where_all_own_addresses_are_trusted(patient: Patient) -> None:
    """Who is trusted may relay, and that tells nothing of strangers."""
    patient.swap("mynetworks = 127.0.0.0/8,", f"mynetworks = 127.0.0.0/8, {SERVER4}, [2001:db8:ffff::1],")
    said = [finding["found"] for finding in patient.doctor("--live")[1] if finding["link"] == "live"]
    assert said == ["the mail server trusts this machine's own addresses: what it says to them proves nothing"]
