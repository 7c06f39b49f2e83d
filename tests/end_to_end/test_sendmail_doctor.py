"""doctor and init with a real Sendmail, which is asked by its own test mode."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end import sendmail_server as server
from tests.end_to_end.lab import CONTRIB, MAP, Daemon, Lab, wait_for
from tests.end_to_end.patient import CLIENT, faults, swept

Start = Callable[..., Daemon]
Findings = list[dict[str, str]]

FILE = MAP.parent / "popauth.db"


@pytest.fixture
def doctor(lab: Lab, start: Start) -> Iterator[Callable[..., tuple[int, Findings]]]:
    """A machine on which all is well, and one client logged in; returns what `doctor` finds with some lines."""
    server.lay_out()
    shutil.copy(CONTRIB / "sendmail" / "pop-before-smtp.m4", server.MAIL / "m4")
    server.makemap("access", server._ACCESS)
    daemon = start(more='[[mta]]\ntype = "sendmail"\n')
    assert lab.clients.pop3_login(CLIENT)
    wait_for("the login is granted", lambda: f"granted client={CLIENT} " in daemon.said())
    wait_for("it is published", lambda: "published map=" in daemon.said())

    def examine(lines: str, *, gone: bool = False) -> tuple[int, Findings]:
        server.configure(lines)
        if gone:
            daemon.stop()
            FILE.unlink()
        done = daemon.command("doctor", "--json")
        assert done.stderr == ""
        return done.returncode, json.loads(done.stdout)

    with swept():
        yield examine
    server.configure("")


def test_nothing_is_wrong_where_all_is_well(doctor: Callable[..., tuple[int, Findings]]) -> None:
    """Sendmail itself says that it refuses a stranger and lets in who logged in; Postfix is not looked at."""
    status, findings = doctor(server.recipe("popauth.mc"))
    assert (status, faults(findings)) == (0, [])
    said = [finding["found"] for finding in findings if finding["link"] == "sendmail"]
    assert said[0].startswith("Sendmail refuses strangers: Relaying denied")
    assert said[1] == f"Sendmail lets in {CLIENT}, who logged in"
    assert not [finding for finding in findings if finding["link"].startswith("postfix")]


def test_the_access_map_is_well_too(doctor: Callable[..., tuple[int, Findings]]) -> None:
    """Sendmail finds a bare address in an access map as it finds one behind "Connect:"."""
    status, findings = doctor(server.recipe("access.mc"))
    assert (status, faults(findings)) == (0, [])


def test_sendmail_does_not_ask(doctor: Callable[..., tuple[int, Findings]]) -> None:
    """Nobody put the lines in."""
    status, findings = doctor("")
    assert status == 1
    (found,) = faults(findings)
    assert found[1].startswith(f"Sendmail does not let in {CLIENT}, who logged in: Relaying denied")


def test_an_open_relay(doctor: Callable[..., tuple[int, Findings]]) -> None:
    """promiscuous_relay is what it says."""
    findings = doctor("define(`confCT_FILE', `')LOCAL_RULESETS\nSLocal_check_rcpt\nR$*\t$#OK\n")[1]
    assert any(sentence.startswith("open relay: Sendmail would take a stranger's") for _, sentence in faults(findings))


def test_a_map_that_is_gone(doctor: Callable[..., tuple[int, Findings]]) -> None:
    """The daemon is dead, and does not make it again."""
    found = faults(doctor(server.recipe("popauth.mc"), gone=True)[1])
    assert ("sendmail", f"{FILE}: is not there: roaming clients are put off (451)") in found


def test_the_classics_list_is_what_sendmails_map_holds(
    doctor: Callable[..., tuple[int, Findings]], tmp_path: Path
) -> None:
    """As the classic left it, whatever a daemon of ours knows; without Postfix's programs."""
    del doctor  # its daemon has let somebody else in
    server.makemap("classic", "192.0.2.77 ok\n192.0.2.9 ok\n")
    conf = tmp_path / "conf.pl"
    conf.write_text(f"$dbfile = '{server.MAIL}/classic';\n$tie_func = \\&tie_sendmail;\nsub tie_sendmail {{ 1 }}\n")
    run = [sys.executable, "-m", "popbeforesmtp", f"--config={conf}", "--list"]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert done.stdout == "The database holds 2 IPs:\n\t192.0.2.77\n\t192.0.2.9\n"


def test_what_init_writes_works_with_sendmail(lab: Lab, start: Start, tmp_path: Path) -> None:
    """No Postfix that could be asked: its configuration is hidden, as on a machine that has none."""
    server.lay_out()
    hidden = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs tmpfs /etc/postfix && exec "$@"', "sh")
    config = tmp_path / "init.toml"
    run = [*hidden, sys.executable, "-m", "popbeforesmtp", "init", str(config)]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    lines = done.stdout.partition("Sendmail needs these lines:\n")[2]
    assert server.recipe("popauth.mc") in lines
    for state in MAP.parent.glob("state.sqlite*"):
        state.unlink()
    daemon = Daemon(config, tmp_path / "daemon.log").ready()
    try:
        assert lab.clients.pop3_login(CLIENT)
        wait_for("the login is granted", lambda: f"granted client={CLIENT} " in daemon.said())
        shutil.copy(CONTRIB / "sendmail" / "pop-before-smtp.m4", server.MAIL / "m4")
        server.configure(lines.partition("dnl # --- ")[0])
        wait_for("Sendmail lets it in", lambda: f"Sendmail lets in {CLIENT}" in daemon.command("doctor").stdout)
    finally:
        daemon.stop()
        server.configure("")


def test_without_a_configuration_sendmails_map_is_kept(lab: Lab, start: Start, tmp_path: Path) -> None:
    """Where there is no Postfix that could be asked; it says what Sendmail still needs."""
    del start  # has emptied the log
    server.lay_out()
    server.configure("")
    for state in MAP.parent.glob("state.sqlite*"):
        state.unlink()
    assert lab.clients.pop3_login(CLIENT)  # so that there is a log to find
    hidden = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs tmpfs /etc/postfix && exec "$@"', "sh")
    log = tmp_path / "daemon.log"
    with log.open("wb") as output:
        process = subprocess.Popen([*hidden, sys.executable, "-m", "popbeforesmtp", "run"], stderr=output)
    dump = ["makemap", "-u", "hash", str(FILE)]
    try:
        wait_for("it is ready", lambda: "ready authorizations=" in log.read_text() or process.poll() is not None)
        wait_for(
            "the map holds it",
            lambda: CLIENT in subprocess.run(dump, capture_output=True, text=True, check=False).stdout,
        )
        assert "access map: Sendmail's, for no [[mta]] is configured" in log.read_text()
    finally:
        process.terminate()
        process.wait(timeout=15)
        FILE.unlink(missing_ok=True)
