"""A map that cannot be written, for postmap fails or hangs or the disk is full, is made up for and holds up nothing."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.crowd import CROWD, Logins, at_pace
from tests.end_to_end.lab import LMDB_PORT, MAP, MAP_PORTS, Daemon, Lab, map_name, wait_for
from tests.end_to_end.maps import each_type, held, in_place_of, mta, settings

Start = Callable[..., Daemon]

CLIENT = "192.0.2.10"


@contextlib.contextmanager
def failing_postmap(calls: Path) -> Iterator[None]:
    """Let postmap fail, until it was called three times."""
    with in_place_of("/usr/sbin/postmap", f"#!/bin/sh\necho >>{calls}\necho postmap: fatal: broken >&2\nexit 1\n"):
        yield
        wait_for("it is tried again, and again", lambda: calls.exists() and len(calls.read_text()) >= 3)


def test_what_a_failing_postmap_missed_is_made_up_for(lab: Lab, start: Start, tmp_path: Path) -> None:
    """Meanwhile the map stays as it was, and the socketmap knows all."""
    name, port, late = map_name("cdb"), MAP_PORTS["cdb"], "192.0.2.12"
    daemon = start(more=settings("lmdb") + settings("cdb"))  # lmdb: what all services of the lab ask
    assert lab.clients.pop3_login(CLIENT)
    wait_for("the map holds it", lambda: held(name, [CLIENT]))
    with failing_postmap(tmp_path / "calls"):
        assert lab.clients.pop3_login(late)
        wait_for("the socketmap knows it", lambda: lab.clients.rcpt(late).accepted, seconds=1)
        assert lab.clients.rcpt(CLIENT, port).accepted
        assert lab.clients.rcpt(late, port).code == 554
    assert "postmap: fatal: broken" in daemon.command("status").stdout
    wait_for("the map holds the other too", lambda: held(name, [CLIENT, late]) == {CLIENT, late})
    wait_for("it says so", lambda: f"{name} works again" in daemon.said())
    assert lab.clients.rcpt(late, port).accepted


def test_a_failing_postmap_is_said_once(lab: Lab, start: Start, tmp_path: Path) -> None:
    """However often it is tried again."""
    daemon = start(more=settings("lmdb") + settings("cdb"))  # lmdb: what all services of the lab ask
    with failing_postmap(tmp_path / "calls"):
        assert lab.clients.pop3_login(CLIENT)
    assert daemon.said().count("postmap: fatal: broken") == 1


_LOCKS = """
import fcntl, os, sys
os.setuid(65534)
lock = os.open(sys.argv[1], os.O_RDONLY)
fcntl.lockf(lock, fcntl.LOCK_SH)
print(flush=True)
sys.stdin.read()
"""
"""Takes the lock of a lookup, as any user may, and keeps it."""


def test_nobody_who_may_only_read_a_map_keeps_anybody_in_or_out(lab: Lab, start: Start) -> None:
    """By its lock, for longer than a few seconds: smtpd is given a new file, and begins anew with it."""
    daemon, late = start(grace="4s"), "192.0.2.12"
    assert lab.clients.pop3_login(CLIENT)
    wait_for("the map lets it in", lambda: lab.clients.rcpt(CLIENT, LMDB_PORT).accepted)
    holder = subprocess.Popen([sys.executable, "-c", _LOCKS, MAP], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"\n"
        wait_for("its window ends", lambda: f"expired client={CLIENT}" in daemon.said())
        wait_for("the map keeps it out", lambda: lab.clients.rcpt(CLIENT, LMDB_PORT).code == 554)
        assert lab.clients.pop3_login(late)
        wait_for("the map lets another in", lambda: lab.clients.rcpt(late, LMDB_PORT).accepted, seconds=2)
    finally:
        holder.communicate(timeout=10)


_HANGS = "#!/bin/sh\necho $$ >>{pids}\nexec sleep 600\n"


def test_a_hanging_postmap_holds_up_nothing_but_its_map(lab: Lab, start: Start, tmp_path: Path) -> None:
    """Logins go on, the socketmap answers at once, and the map is made up for."""
    name, port, late, pids = map_name("hash"), MAP_PORTS["hash"], ["192.0.2.12", "192.0.2.15"], tmp_path / "pids"
    start(more=settings("lmdb") + settings("hash"))
    assert lab.clients.pop3_login(CLIENT)
    wait_for("the map holds it", lambda: held(name, [CLIENT]))
    with in_place_of("/usr/sbin/postmap", _HANGS.format(pids=pids)):
        for client in late:
            assert lab.clients.pop3_login(client)
            wait_for("the socketmap knows it", lambda client=client: lab.clients.rcpt(client).accepted, seconds=1)
            wait_for("postmap hangs", lambda: pids.exists() and pids.read_text())
        assert lab.clients.rcpt(CLIENT, port).accepted
        assert lab.clients.rcpt(late[0], port).code == 554
    os.kill(int(pids.read_text()), signal.SIGKILL)
    wait_for("the map holds all", lambda: held(name, [CLIENT, *late]) == {CLIENT, *late})


def test_a_hanging_postmap_does_not_keep_the_daemon_from_ending(lab: Lab, start: Start, tmp_path: Path) -> None:
    """SIGTERM ends it within seconds, and it says that the map could not be written."""
    pids = tmp_path / "pids"
    daemon = start(more=settings("lmdb") + settings("hash"))
    with in_place_of("/usr/sbin/postmap", _HANGS.format(pids=pids)):
        assert lab.clients.pop3_login(CLIENT)
        wait_for("postmap hangs", lambda: pids.exists() and pids.read_text())
        daemon.process.terminate()
        wait_for("it says why", lambda: "could not be written in time" in daemon.said())
        with contextlib.suppress(subprocess.TimeoutExpired):
            daemon.process.wait(timeout=3)
        status = daemon.process.poll()
        for pid in pids.read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
    daemon.stop()
    assert status == 0


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """Mount a small disk for a map."""
    folder = MAP.parent / "small"
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k,mode=0755", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(file: Path) -> None:
    """Write a file until the disk is full."""
    with file.open("wb", buffering=0) as opened, contextlib.suppress(OSError):
        while True:
            opened.write(b"x" * 512)


@each_type
def test_a_map_on_a_full_disk_keeps_its_content_and_is_made_up_for(
    lab: Lab, start: Start, small_disk: Path, kind: str
) -> None:
    """It is said once; nothing is left lying about."""
    settings(kind)
    name, filler = f"{kind}:{small_disk}/clients", small_disk / "filler"
    daemon = start(more=mta(name))
    assert lab.clients.pop3_login(CLIENT)
    wait_for("the map holds it", lambda: held(name, [CLIENT]))
    mode = [(path.name, path.stat().st_mode) for path in small_disk.iterdir()]
    fill(filler)
    with Logins() as logins:
        for client in at_pace(CROWD):
            logins.write(client)
            if "trying again" in daemon.said():
                break
    wait_for("the socketmap knows them", lambda: daemon.command("check", client).returncode == 0)
    left = held(name, [CLIENT, *CROWD])
    assert CLIENT in left
    assert client not in left
    filler.unlink()
    wait_for("the map holds all", lambda: held(name, logins.began) == logins.began.keys())
    wait_for("it says so", lambda: f"{name} works again" in daemon.said())
    assert daemon.said().count("trying again") == 1
    assert [(path.name, path.stat().st_mode) for path in small_disk.iterdir()] == mode
