"""doctor and init with a real Exim, which is asked by its own test mode."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end import exim_server as server
from tests.end_to_end.lab import MAP, Daemon, Lab, wait_for
from tests.end_to_end.patient import CLIENT, faults, swept

Start = Callable[..., Daemon]
Findings = list[dict[str, str]]

FILE = MAP.parent / "clients.exim"
CONFIG = Path("/etc/exim4/exim4.conf")
HIDDEN = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs tmpfs /etc/postfix && exec "$@"', "sh")
"""Runs a program on a machine without Postfix."""
LIST = f"${{if exists{{{FILE}}}{{{FILE}}}}}"


@pytest.fixture(scope="module")
def exim(lab: Lab) -> Iterator[None]:
    """Lay Exim over this machine's programs, for this process and its children."""
    assert server.available()
    with server.prepared():
        usr = server._TREE / "usr"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={usr}:/usr", "/usr"], check=True)
        yield
        subprocess.run(["umount", "--lazy", "/usr"], check=True)


@pytest.fixture
def doctor(exim: None, lab: Lab, start: Start) -> Iterator[Callable[..., tuple[int, Findings]]]:
    """A machine on which all is well, and one client logged in; returns what `doctor` finds with a configuration."""
    daemon = start(more='[[mta]]\ntype = "exim"\n')
    assert lab.clients.pop3_login(CLIENT)
    wait_for("the file holds it", lambda: CLIENT in FILE.read_text())

    def examine(old: str = "", new: str = "", *, dead: bool = False) -> tuple[int, Findings]:
        lists = (server.LINES / "list.conf").read_text()
        text = server._PLAIN.format(lists="LISTS", lines=server.LINES, restricted="").replace(".include LISTS", lists)
        assert old in text
        CONFIG.write_text(text.replace(old, new))
        if dead:
            daemon.stop()
        done = daemon.command("doctor", "--json")
        assert done.stderr == ""
        return done.returncode, json.loads(done.stdout)

    with swept():
        yield examine
    CONFIG.unlink(missing_ok=True)
    FILE.unlink(missing_ok=True)


def test_nothing_is_wrong_where_all_is_well(doctor: Callable[..., tuple[int, Findings]]) -> None:
    """Exim itself says that it refuses a stranger and lets in who logged in; Postfix is not looked at."""
    status, findings = doctor()
    assert (status, faults(findings)) == (0, [])
    said = [finding["found"] for finding in findings if finding["link"] == "exim"]
    assert said[0].startswith("Exim refuses strangers: 550 relay not permitted")
    assert said[1].startswith(f"Exim lets in {CLIENT}, who logged in: 250")
    assert not [finding for finding in findings if finding["link"].startswith("postfix")]


_SHUT_OUT = f"Exim does not let in {CLIENT}, who logged in: 55"
FAULTS = {
    "nobody asks": (
        ("hosts = +pop_before_smtp", "hosts = 127.0.0.1"),
        f"Exim does not let in {CLIENT}, who logged in: 55",
    ),
    "an open relay": (
        ("  accept hosts = +relay_from_hosts", "  accept"),
        "open relay: Exim would take a stranger's mail to",
    ),
    "a blocklist in front": (
        ("acl_check_rcpt:\n", "acl_check_rcpt:\n  deny message = listed\n       hosts = 192.0.2.0/24\n"),
        f"Exim does not let in {CLIENT}, who logged in: 550 listed",
    ),
    "a file that may be missing": (
        (LIST, str(FILE)),
        f"`hostlist pop_before_smtp = {FILE}`: without {FILE} Exim would",
    ),
    "strangers are put off": (("require message", "defer\n  require message"), "Exim puts strangers off: 451"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_exims_configuration_is_found(doctor: Callable[..., tuple[int, Findings]], fault: str) -> None:
    """With its sentence, and what to change."""
    (old, new), beginning = FAULTS[fault]
    if fault == "nobody asks":
        text = (server.LINES / "acl.conf").read_text().replace(old, new)
        old, new = f".include {server.LINES}/acl.conf", text
    status, findings = doctor(old, new)
    assert status == 1
    assert [link for link, sentence in faults(findings) if sentence.startswith(beginning)] == ["exim"], faults(findings)
    assert all(finding["change"] for finding in findings if finding["level"] == "wrong")


def test_a_file_that_exim_cannot_read_or_that_is_gone(doctor: Callable[..., tuple[int, Findings]]) -> None:
    """Its user is not ours."""
    FILE.chmod(0o600)
    assert any(
        sentence.startswith(f"{FILE} may not be read by user Debian-exim") for _, sentence in faults(doctor()[1])
    )
    FILE.unlink()
    found = faults(doctor(dead=True)[1])
    assert ("exim", f"{FILE}: is not there: nobody who logs in is let in") in found


def test_what_init_writes_works_with_exim(exim: None, lab: Lab, start: Start, tmp_path: Path) -> None:
    """No Postfix that could be asked: its configuration is hidden, as on a machine that has none."""
    config = tmp_path / "init.toml"
    run = [*HIDDEN, sys.executable, "-m", "popbeforesmtp", "init", str(config)]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert "Exim needs these lines:" in done.stdout
    lines = done.stdout.partition("Exim needs these lines:\n")[2]
    assert (server.LINES / "list.conf").read_text() in lines
    shutil.rmtree(tmp_path / "none", ignore_errors=True)
    for state in MAP.parent.glob("state.sqlite*"):
        state.unlink()
    daemon = Daemon(config, tmp_path / "daemon.log").ready()
    try:
        assert lab.clients.pop3_login(CLIENT)
        wait_for("the file holds it", lambda: CLIENT in FILE.read_text())
    finally:
        daemon.stop()
        FILE.unlink(missing_ok=True)


def test_without_a_configuration_exims_file_is_kept_and_swept(
    exim: None, lab: Lab, start: Start, tmp_path: Path
) -> None:
    """A window outlives a daemon that was stopped, until it ends or everybody is taken out."""
    del start  # has emptied the log
    for state in MAP.parent.glob("state.sqlite*"):
        state.unlink()
    program = [*HIDDEN, sys.executable, "-m", "popbeforesmtp"]
    assert lab.clients.pop3_login(CLIENT)  # so that there is a log to find
    log = tmp_path / "daemon.log"
    with log.open("wb") as output:
        process = subprocess.Popen([*program, "run"], stderr=output)
    try:
        wait_for("it lets the client in", lambda: FILE.exists() and CLIENT in FILE.read_text())
        assert "access map: Exim's, for no [[mta]] is configured" in log.read_text()
    finally:
        process.terminate()
        process.wait(timeout=15)
    subprocess.run([*program, "sweep"], check=True)
    assert CLIENT in FILE.read_text()
    subprocess.run([*program, "sweep", "--empty"], check=True)
    assert CLIENT not in FILE.read_text()
    FILE.unlink()
