"""A plain list, for those that read one: the very files of contrib, with the real tools of Debian's packages."""

import http.client
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from tests.end_to_end.lab import CONTRIB, OUTSIDE, wait_for
from tests.end_to_end.recipes.scene import (
    CLIENT,
    CLIENT6,
    STATE,
    STRANGER,
    Following,
    run,
)

POSTGREY_PORT, RSPAMD_PORT = 2628, 2629


def test_fail2ban_bans_nobody_who_may_relay(
    follow: Callable[[str], Following], spawn: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    """With the client on the list as with a stranger: as many failures; only the stranger is banned."""
    daemon = follow("command/write-list.toml")
    for client in (CLIENT, CLIENT6):
        daemon.log_in(client)
    wait_for("the list is there", lambda: CLIENT6 in (STATE / "clients.list").read_text())
    shutil.copy(CONTRIB / "fail2ban" / "pop-before-smtp.local", "/etc/fail2ban/jail.d")
    attempts, banned = tmp_path / "attempts.log", tmp_path / "banned"
    attempts.touch()
    Path("/etc/fail2ban/filter.d/lab.conf").write_text("[Definition]\nfailregex = ^\\s*failure of <ADDR>$\n")
    Path("/etc/fail2ban/action.d/lab.conf").write_text(f"[Definition]\nactionban = echo <ip> >>{banned}\n")
    Path("/etc/fail2ban/jail.d/defaults-debian.conf").unlink(missing_ok=True)
    Path("/etc/fail2ban/jail.d/lab.local").write_text(
        f"[lab]\nenabled = true\nbackend = polling\nfilter = lab\naction = lab\nlogpath = {attempts}\nmaxretry = 3\n"
    )
    Path("/run/fail2ban").mkdir()
    server = ["fail2ban-server", "-f", "--logtarget", str(tmp_path / "fail2ban.log"), "--loglevel", "DEBUG", "start"]
    spawn(*server, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for("fail2ban watches", lambda: "Jail 'lab' started" in _text(tmp_path / "fail2ban.log"), 30)
    with attempts.open("a") as log:
        for who in (CLIENT, CLIENT6, STRANGER):
            log.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} failure of {who}\n" * 5)  # noqa: DTZ005 - as a log has it
    wait_for("the stranger is banned", lambda: STRANGER in _text(banned), 30)
    assert _text(banned).splitlines() == [STRANGER]
    for client in (CLIENT, CLIENT6):
        assert f"Ignore {client} by command" in _text(tmp_path / "fail2ban.log")


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_postgrey_lets_who_logged_in_pass(
    follow: Callable[[str], Following], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Once it is told, as the path unit tells it."""
    daemon = follow("command/write-list.toml")
    listed, pid = STATE / "clients.list", Path("/run/postgrey.pid")
    (option,) = [
        word
        for word in (CONTRIB / "postgrey" / "pop-before-smtp-postgrey.path").read_text().split()
        if word.startswith("--whitelist-clients=/var/lib")
    ]
    assert option.partition("=")[2] == str(listed)
    (tmp_path / "db").mkdir()
    run(
        "/usr/sbin/postgrey",
        "--daemonize",
        f"--inet=127.0.0.1:{POSTGREY_PORT}",
        f"--pidfile={pid}",
        f"--dbdir={tmp_path}/db",
        "--user=root",
        "--group=root",
        option,
    )
    wait_for("postgrey answers", lambda: pid.exists() and _connects(POSTGREY_PORT), 30)
    request.addfinalizer(lambda: os.kill(int(pid.read_text()), signal.SIGTERM))
    assert _greylisted(CLIENT)
    for client in (CLIENT, CLIENT6):
        daemon.log_in(client)
    wait_for("the list is there", lambda: CLIENT6 in listed.read_text())
    service = (CONTRIB / "postgrey" / "pop-before-smtp-postgrey.service").read_text()
    (command,) = [line.partition("=")[2] for line in service.splitlines() if line.startswith("ExecStart=")]
    run(*shlex.split(command))
    wait_for("it has read its list", lambda: not _greylisted(CLIENT), 30)
    assert not _greylisted(CLIENT6)
    assert _greylisted(STRANGER)


def _connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def _greylisted(client: str) -> bool:
    """Ask postgrey as Postfix does."""
    question = (
        "request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\nclient_name=unknown\n"
        f"client_address={client}\nsender=x@elsewhere.example\nrecipient={OUTSIDE}\ninstance={time.monotonic_ns()}\n\n"
    )
    try:
        with socket.create_connection(("127.0.0.1", POSTGREY_PORT), timeout=10) as connection:
            connection.sendall(question.encode())
            answer = connection.makefile("rb").readline()
    except OSError:
        return True  # it is starting anew
    return not answer.startswith(b"action=DUNNO")


def test_rspamd_accepts_mail_of_who_logged_in(
    follow: Callable[[str], Following], spawn: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    """What it rejects of a stranger; the list is read anew when it changes."""
    daemon = follow("command/write-list.toml")
    local = Path("/etc/rspamd/local.d")
    shutil.copy(CONTRIB / "rspamd" / "multimap.conf", local)
    (local / "options.inc").write_text(
        'map_watch_interval = 1s;\ndns { nameserver = ["127.0.0.1:53"]; timeout = 0.1s; retransmits = 1; }\n'
    )
    (local / "actions.conf").write_text("reject = 1; add_header = null; greylist = null;\n")
    (local / "worker-normal.inc").write_text(f'bind_socket = "127.0.0.1:{RSPAMD_PORT}";\n')
    (local / "worker-proxy.inc").write_text("enabled = false;\n")
    (local / "worker-controller.inc").write_text("enabled = false;\n")
    (local / "logging.inc").write_text(f'type = "file";\nfilename = "{tmp_path}/rspamd.log";\n')
    for folder in ("/var/lib/rspamd", "/run/rspamd"):
        Path(folder).mkdir(exist_ok=True)
    spawn("/usr/bin/rspamd", "-f", "-i", "-c", "/etc/rspamd/rspamd.conf", stdout=subprocess.DEVNULL)
    wait_for("rspamd answers", lambda: _connects(RSPAMD_PORT), 60)
    assert _verdict(CLIENT) == "reject"
    for client in (CLIENT, CLIENT6):
        daemon.log_in(client)
    wait_for("it has read the list", lambda: _verdict(CLIENT) == "no action", 60)
    assert _verdict(CLIENT6) == "no action"
    assert _verdict(STRANGER) == "reject"


def _verdict(client: str) -> str:
    """Have rspamd look at a message of a client's."""
    message = f"From: <x@elsewhere.example>\r\nTo: <{OUTSIDE}>\r\n\r\nno date, no subject\r\n"
    connection = http.client.HTTPConnection("127.0.0.1", RSPAMD_PORT, timeout=30)
    connection.request("POST", "/checkv2", message, {"IP": client})
    answer = json.loads(connection.getresponse().read())
    connection.close()
    action = answer["action"]
    assert isinstance(action, str)
    return action
