"""Mail servers that hear by a program: the very files of contrib, with the real tools of Debian's packages."""

import signal
import socket
import sqlite3
import subprocess
import time
import tomllib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.end_to_end.lab import CONTRIB, SERVER4, SERVER6, Clients, rcpt, server_for, wait_for
from tests.end_to_end.recipes.scene import (
    CLIENT,
    CLIENT6,
    PROGRAMS,
    SHORT,
    STATE,
    ZEROS6,
    Following,
    greets,
    opens_and_closes,
    run,
)

OPENSMTPD_PORT, TCPSERVER_PORT, COURIER_PORT = 2625, 2626, 2627


# OpenSMTPD


@pytest.fixture
def opensmtpd(spawn: Callable[..., subprocess.Popen[bytes]]) -> None:
    """Start it with Debian's configuration and our lines, when the daemon has made the table."""
    wait_for("the table is there", (STATE / "roaming").exists)
    own = Path("/etc/smtpd.conf").read_text()
    if "roaming" not in own:
        lines = (CONTRIB / "opensmtpd" / "smtpd.conf").read_text()
        listen = "".join(f"listen on {server} port {OPENSMTPD_PORT}\n" for server in (SERVER4, SERVER6))
        Path("/etc/smtpd.conf").write_text(own.replace("listen on localhost\n", listen) + lines)
        Path("/etc/aliases").touch()
        run("smtpd", "-n")
    spawn("smtpd", "-d", stderr=subprocess.DEVNULL)
    wait_for("OpenSMTPD answers", lambda: greets(SERVER4, OPENSMTPD_PORT))


@pytest.mark.parametrize("client", [CLIENT, CLIENT6, ZEROS6])
def test_opensmtpd_lets_who_logged_in_relay(
    clients: Clients, follow: Callable[[str], Following], request: pytest.FixtureRequest, client: str
) -> None:
    """Also in a session that was refused before."""
    daemon = follow("opensmtpd/pop-before-smtp.toml")  # first, as at the start of the machine
    request.getfixturevalue("opensmtpd")
    session = clients.smtp(client, OPENSMTPD_PORT)
    assert not rcpt(session).accepted
    opens_and_closes(daemon, lambda who: clients.rcpt(who, OPENSMTPD_PORT).accepted, client)
    daemon.log_in(client)
    wait_for("the open session is let through", lambda: rcpt(session).accepted)


def test_opensmtpd_forgets_nobody_and_keeps_nobody_when_the_daemon_dies(
    clients: Clients, follow: Callable[[str], Following], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The sweep ends whose window is over, and a new daemon changes nobody's."""
    short = "192.0.2.12"

    def may(client: str) -> bool:
        return clients.rcpt(client, OPENSMTPD_PORT).accepted

    daemon = follow("opensmtpd/pop-before-smtp.toml")
    request.getfixturevalue("opensmtpd")
    daemon.log_in(CLIENT)
    daemon.log_in(short, SHORT)
    end = time.monotonic() + SHORT
    wait_for("both are let in", lambda: may(CLIENT) and may(short), SHORT)
    with closing(sqlite3.connect(tmp_path / "state.sqlite")) as store:  # the sweep knows no more than is there
        wait_for(
            "both are remembered",
            lambda: store.execute("SELECT count(*) FROM authorizations").fetchone() == (2,),
            SHORT,
        )
    daemon.stop(signal.SIGKILL)
    wait_for("the window is over", lambda: time.monotonic() > end)
    assert daemon.command("sweep").returncode == 0
    assert may(CLIENT)
    assert not may(short)
    follow("opensmtpd/pop-before-smtp.toml")
    assert may(CLIENT)
    assert not may(short)


# tcpserver and Courier's couriertcpd, each of which decides by its own table and tells the server in a variable


def _relay(clients: Clients, client: str, port: int) -> bool:
    """Ask what the server behind was told of a client."""

    def ask() -> bytes:
        with socket.create_connection((server_for(client), port), timeout=10, source_address=(client, 0)) as connection:
            return connection.makefile("rb").readline()

    answer = clients(ask)
    assert answer in (b"relay\n", b"no relay\n"), answer
    return answer == b"relay\n"


ANSWER = ("/bin/sh", "-c", 'if [ "${RELAYCLIENT+set}" ]; then echo relay; else echo no relay; fi')


def test_tcpserver_sets_relayclient_for_who_logged_in(
    clients: Clients, follow: Callable[[str], Following], spawn: Callable[..., subprocess.Popen[bytes]]
) -> None:
    """The administrator's own rules hold on, and win."""
    Path("/etc/tcp.smtp").write_text('127.:allow,RELAYCLIENT=""\n192.0.2.13:deny\n:allow')
    daemon = follow("qmail/pop-before-smtp.toml")
    spawn("tcpserver", "-H", "-R", "-l", "mx1", "-x", "/etc/tcp.smtp.cdb", SERVER4, str(TCPSERVER_PORT), *ANSWER)
    wait_for("tcpserver answers", lambda: greets(SERVER4, TCPSERVER_PORT))
    opens_and_closes(daemon, lambda who: _relay(clients, who, TCPSERVER_PORT), CLIENT)
    for client in (CLIENT6, "192.0.2.13", CLIENT):
        daemon.log_in(client)
    wait_for("the last is let in", lambda: _relay(clients, CLIENT, TCPSERVER_PORT))
    with pytest.raises((AssertionError, OSError)):
        _relay(clients, "192.0.2.13", TCPSERVER_PORT)


def test_without_own_rules_tcpserver_keeps_the_old_ones(follow: Callable[[str], Following], tmp_path: Path) -> None:
    """Rules that deny are not lost because a file is away."""
    (tmp_path / "own").write_text(":deny\n")
    rules = tmp_path / "rules.cdb"
    run(PROGRAMS / "tcp-rules", tmp_path / "own", rules, said=f"{CLIENT}\n")
    before = rules.read_bytes()
    (tmp_path / "own").unlink()
    done = subprocess.run(
        [PROGRAMS / "tcp-rules", tmp_path / "own", rules], input=b"", capture_output=True, timeout=30, check=False
    )
    assert done.returncode != 0
    assert rules.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == [rules]


@pytest.mark.parametrize("client", [CLIENT, CLIENT6, ZEROS6])
def test_courier_sets_relayclient_for_who_logged_in(
    clients: Clients, follow: Callable[[str], Following], spawn: Callable[..., subprocess.Popen[bytes]], client: str
) -> None:
    """In Courier's own form of IPv6 addresses."""
    daemon = follow("courier/pop-before-smtp.toml")
    access, pid = "-access=/etc/courier/smtpaccess.dat", "-pid=/run/courier/esmtpd.pid"
    Path("/run/courier").mkdir(exist_ok=True)
    spawn("couriertcpd", pid, access, "-nodnslookup", "-noidentlookup", str(COURIER_PORT), *ANSWER)
    wait_for("couriertcpd answers", lambda: greets(SERVER4, COURIER_PORT))
    opens_and_closes(daemon, lambda who: _relay(clients, who, COURIER_PORT), client)


# What root does


@pytest.mark.parametrize("tool", ["opensmtpd", "qmail", "courier"])
def test_root_needs_no_capabilities(
    request: pytest.FixtureRequest, follow: Callable[[str], Following], tool: str, tmp_path: Path
) -> None:
    """As root.conf has it, and the unit of the daemon: neither that, nor what setgid bits would bring."""
    if tool == "qmail":
        Path("/etc/tcp.smtp").write_text(":allow\n")
    follow(f"{tool}/pop-before-smtp.toml").stop()
    if tool == "opensmtpd":
        request.getfixturevalue("opensmtpd")
    (section,) = tomllib.loads((CONTRIB / tool / "pop-before-smtp.toml").read_text())["mta"]
    lines = (CONTRIB / tool / "root.conf").read_text().splitlines()
    assert "User=root" in lines
    (group,) = [line.partition("=")[2] for line in lines if line.startswith("Group=")]
    less = [f"--regid={group}", "--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
    run("setpriv", *less, "--", *section["list"], said=f"{CLIENT}\n")
    written = {"opensmtpd": STATE / "roaming", "qmail": "/etc/tcp.smtp.cdb", "courier": "/etc/courier/smtpaccess.dat"}
    assert CLIENT.encode() in Path(written[tool]).read_bytes()
