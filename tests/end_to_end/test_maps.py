"""Postfix hears of who may relay through maps of every type: in time, under load, and when something else is dead."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

import pytest

from tests.end_to_end.lab import LOG, MAP, MAP_PORTS, Clients, Daemon, Lab, main_cf, map_name, master_cf, wait_for

Start = Callable[..., Daemon]

CLIENT, STRANGER = "192.0.2.10", "192.0.2.11"
CROWD = tuple(f"192.0.2.{last}" for last in range(21, 101))
EACH = 0.1  # seconds from one login of the crowd to the next
LATE = 1.5  # seconds behind its end within which a window is closed to new connections; a renamed map is gathered for 1

TRIXIE = Path("/var/cache/pop-before-smtp-tests/trixie")  # install-servers has it made
SHIFT = 1000  # how much higher the ports of the newer Postfix are

each_type = pytest.mark.parametrize("kind", MAP_PORTS)

_WRITER = """
import sys, syslog
syslog.openlog("dovecot", 0, syslog.LOG_MAIL)
for line in sys.stdin:
    syslog.syslog(syslog.LOG_INFO, line.rstrip("\\n"))
"""


@dataclass(frozen=True)
class Asked:
    """One recipient on a new connection."""

    client: str
    began: float
    ended: float
    code: int


class Logins:
    """A process that writes login lines through rsyslog, as Dovecot does; and when each of them was written."""

    def __init__(self) -> None:
        self._writer = subprocess.Popen([sys.executable, "-c", _WRITER], stdin=subprocess.PIPE, text=True)
        self.began: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.communicate()

    def write(self, client: str) -> None:
        """Write one."""
        self.began[client] = time.time()
        assert self._writer.stdin is not None
        self._writer.stdin.write(
            f"imap-login: Login: user=<alice>, method=PLAIN, rip={client}, lip=198.51.100.1, mpid=1, session=<AAAA>\n"
        )
        self._writer.stdin.flush()


@pytest.fixture(scope="module")
def crowd() -> Sequence[str]:
    """Give the other host many addresses."""
    commands = "".join(f"address add {client}/32 dev client\n" for client in CROWD)
    subprocess.run(["ip", "-n", "clients", "-batch", "-"], input=commands, text=True, check=True)
    return CROWD


@pytest.fixture(scope="module")
def newer_types(lab: Lab) -> Iterator[list[str]]:
    """Start a newer Debian's Postfix beside the machine's own, in its chroot; give the types that both can read."""
    if not TRIXIE.exists():
        pytest.skip("run tests/end_to_end/install-servers first: it makes a chroot with a newer Postfix")
    inside = ["chroot", str(TRIXIE)]
    for folder in ("etc/postfix", "var/spool/postfix", "var/lib/postfix"):
        private(TRIXIE / folder)
    for shared in (Path("/proc"), Path("/dev"), MAP.parent):
        (TRIXIE / shared.relative_to("/")).mkdir(exist_ok=True)
        subprocess.run(["mount", "--bind", shared, TRIXIE / shared.relative_to("/")], check=True)
    (TRIXIE / "etc/postfix/main.cf").write_text(main_cf())
    subprocess.run([*inside, "postconf", "-MX", "smtp/inet"], check=True)  # the machine's own has that port
    with (TRIXIE / "etc/postfix/master.cf").open("a") as master:
        master.write(master_cf(SHIFT))
    version = subprocess.run([*inside, "postconf", "-h", "mail_version"], capture_output=True, text=True, check=True)
    assert [int(part) for part in version.stdout.split(".")[:2]] >= [3, 10]
    subprocess.run([*inside, "postfix", "start"], check=True, capture_output=True)
    yield [kind for kind in MAP_PORTS if kind in types() and kind in types(*inside)]
    subprocess.run([*inside, "postfix", "stop"], check=True, capture_output=True)


def private(folder: Path) -> None:
    """Put a copy of a folder in its place, for us alone."""
    copy = tempfile.mkdtemp()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", copy], check=True)
    subprocess.run(["cp", "-a", f"{folder}/.", copy], check=True)
    subprocess.run(["mount", "--move", copy, folder], check=True)
    Path(copy).rmdir()


def types(*inside: str) -> list[str]:
    """Return what types of maps Postfix can read."""
    return subprocess.run([*inside, "postconf", "-m"], capture_output=True, text=True, check=True).stdout.split()


def settings(*kinds: str) -> str:
    """Return the part of the configuration that asks for maps of these types. Skips where Postfix has no such type."""
    if not set(kinds) <= set(types()):
        pytest.skip(f"this Postfix cannot read all of: {', '.join(kinds)}")
    return "".join(mta(map_name(kind)) for kind in kinds)


def mta(name: str) -> str:
    """Return the part of the configuration that asks for a map."""
    return f'[[mta]]\ntype = "postfix"\nmap = "{name}"\n'


def held(name: str, clients: Iterable[str]) -> set[str]:
    """Return which clients Postfix's own tool finds in a map."""
    query = subprocess.run(
        ["postmap", "-q", "-", name], input="\n".join(clients), capture_output=True, text=True, check=False
    )
    assert query.stderr == ""
    return {line.partition("\t")[0] for line in query.stdout.splitlines() if line.endswith("\tOK")}


def window_ends(grace: float) -> dict[str, float]:
    """Return when the window of each client that logged in is over, by the stamps in the log."""
    logins = (line.partition(" ")[::2] for line in LOG.read_text().splitlines() if "-login: Login: " in line)
    return {
        text.partition("rip=")[2].partition(",")[0]: datetime.fromisoformat(stamp).timestamp() + grace
        for stamp, text in logins
    }


def is_within(asked: Asked, shown: Mapping[str, float], ends: Mapping[str, float]) -> bool:
    """Say whether somebody was asked for who had to be accepted: it was in the map before, and its window was open."""
    return shown.get(asked.client, asked.began) < asked.began and asked.ended < ends[asked.client]


def is_outside(asked: Asked, logins: Mapping[str, float], ends: Mapping[str, float]) -> bool:
    """Say whether somebody was asked for who had to be refused: a stranger, before the login, or long enough behind."""
    if asked.client not in logins:
        return True
    return asked.ended < logins[asked.client] or asked.began > ends[asked.client] + LATE


def at_pace(clients: Sequence[str]) -> Iterator[str]:
    """Give one client after the other, each at its time; the caller has the time between."""
    began = time.monotonic()
    for number, client in enumerate(clients):
        time.sleep(max(0.0, began + number * EACH - time.monotonic()))
        yield client


def is_accepted_and_then_refused(lab: Lab, daemon: Daemon, kinds: Iterable[str], shift: int = 0) -> None:
    """Log in, and see a window open and close on the ports of these types; a stranger never gets in."""
    ports = {kind: MAP_PORTS[kind] + shift for kind in kinds}
    for kind, port in ports.items():
        wait_for(f"{kind}: refused before the login", lambda port=port: lab.clients.rcpt(CLIENT, port).code == 554)
    assert lab.clients.pop3_login(CLIENT)
    for kind, port in ports.items():
        wait_for(f"{kind}: the map holds it", lambda kind=kind: held(map_name(kind), [CLIENT]))
        assert lab.clients.rcpt(CLIENT, port).accepted
        assert lab.clients.rcpt(STRANGER, port).code == 554
    wait_for("the window ends", lambda: f"expired client={CLIENT}" in daemon.said())
    ended = time.monotonic()
    for kind, port in ports.items():
        wait_for(f"{kind}: the map lets go", lambda kind=kind: not held(map_name(kind), [CLIENT]), seconds=LATE)
        assert lab.clients.rcpt(CLIENT, port).code == 554
    assert time.monotonic() < ended + LATE + 1


@each_type
def test_a_login_opens_and_time_closes_a_map_of_each_type(lab: Lab, start: Start, kind: str) -> None:
    """Refused, granted after a real login, accepted in a new connection, expired, refused; and no 451 sticks."""
    wanted = settings(kind)
    suffix = {"lmdb": ".lmdb", "cdb": ".cdb"}.get(kind, ".db")
    Path(map_name(kind).partition(":")[2] + suffix).unlink(missing_ok=True)
    assert lab.clients.rcpt(CLIENT, MAP_PORTS[kind]).code == 451
    daemon = start(grace="3s", more=wanted)
    is_accepted_and_then_refused(lab, daemon, [kind])


@each_type
def test_under_load_nobody_is_refused_within_its_window_nor_accepted_outside(
    lab: Lab, start: Start, crowd: Sequence[str], kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten clients a second come and as many go, while all of them and strangers ask, before, within and after."""
    grace = 3
    start(grace=f"{grace}s", more=settings(kind))
    shown: dict[str, float] = {}  # when Postfix's own tool first found it
    stop = threading.Event()

    def look() -> None:
        for new in held(map_name(kind), logins.began.keys() - shown.keys()):
            shown[new] = time.time()

    def ask() -> list[Asked]:
        clients, asked = Clients(), []
        while not stop.is_set():
            lately = tuple(logins.began)[-50:]  # about to be let in, within their windows, and outside again
            client = random.choice(random.choice(((STRANGER,), crowd, lately or crowd)))
            began = time.time()
            code = clients.rcpt(client, MAP_PORTS[kind]).code
            asked.append(Asked(client, began, time.time(), code))
        return asked

    began = time.monotonic()
    with ThreadPoolExecutor(2) as threads, Logins() as logins:
        askers = [threads.submit(ask) for _ in range(2)]
        try:
            for client in at_pace(crowd):
                logins.write(client)
                look()
            minutes = (time.monotonic() - began) / 60
            restarts = LOG.read_text().count("has changed -- restarting")
            wait_for("all were shown", lambda: look() or len(shown) == len(crowd), seconds=LATE)
            wait_for("all is over", lambda: time.time() > max(window_ends(grace).values()) + LATE + 0.5)
        finally:
            stop.set()
        asked = [each for asker in askers for each in asker.result()]
    ends = window_ends(grace)
    within = [each for each in asked if is_within(each, shown, ends)]
    outside = [each for each in asked if is_outside(each, logins.began, ends)]
    assert [each for each in asked if each.code not in (250, 554)] == []
    assert [each for each in within if each.code != 250] == []
    assert [each for each in outside if each.code != 554] == []
    assert min(len(within), len(outside)) > 100
    with capsys.disabled():
        sys.stdout.write(
            f"\n{kind}: {restarts / minutes:.0f} restarts of smtpd a minute; of {len(asked)} questions"
            f" {len(within)} within a window, {len(outside)} outside\n"
        )


@each_type
def test_after_kill_9_under_load_sweeping_alone_closes_every_window(
    lab: Lab, start: Start, crowd: Sequence[str], kind: str
) -> None:
    """The first sweep behind a window's end closes it, and none closes one before; new logins open nothing."""
    grace = 4
    name, port = map_name(kind), MAP_PORTS[kind]
    daemon = start(grace=f"{grace}s", more=settings(kind))
    with Logins() as logins:
        for number, client in enumerate(at_pace(crowd[:40])):
            logins.write(client)
            if number == 20:
                safe = held(name, logins.began)
            if number == 30:
                daemon.stop(signal.SIGKILL)
                killed = time.time()
    ends = window_ends(grace)
    assert safe
    assert held(name, crowd) >= safe
    over = False
    while not over:
        began = time.time()
        swept = daemon.command("sweep")
        assert swept.returncode == 0, swept.stderr
        left = held(name, crowd)
        over = began > max(ends[client] for client in ends if logins.began[client] < killed)
        assert [client for client in left if ends[client] < began] == []
        assert [client for client in safe - left if ends[client] > time.time()] == []
        if left:
            open_one = max(left, key=lambda client: ends[client])
            assert lab.clients.rcpt(open_one, port).accepted or time.time() > ends[open_one]
        closed = random.choice([client for client in crowd if client not in left])
        assert lab.clients.rcpt(closed, port).code == 554
    assert left == set()


def test_a_newer_postfix_hears_of_who_may_relay_through_each_type(
    lab: Lab, start: Start, newer_types: list[str]
) -> None:
    """Maps that the older postmap has made serve Postfix 3.10 as well, and it notices their changes as promised."""
    assert {"lmdb", "cdb"} <= set(newer_types)
    daemon = start(grace="3s", more=settings(*newer_types))
    is_accepted_and_then_refused(lab, daemon, newer_types, SHIFT)


_CLASSIC = {
    "by postmap": r"""printf '%s\tok\n' "$@" >clients && postmap hash:clients && rm clients""",
    "by Perl's DB_File": (
        """perl -MDB_File -e 'tie %map, "DB_File", "clients.db" or die; $map{$_} = "ok" for @ARGV' "$@" """
    ),
}


@pytest.mark.parametrize("written", _CLASSIC)
def test_a_map_that_the_classic_daemon_left_is_taken_over(lab: Lab, start: Start, written: str) -> None:
    """Who is in it without a login of ours is in it no more, and who logs in relays."""
    name, port = map_name("hash"), MAP_PORTS["hash"]
    MAP.with_suffix(".db").unlink(missing_ok=True)
    stale = ["192.0.2.12", "192.0.2.15", "192.0.2.16"]
    subprocess.run(["sh", "-c", _CLASSIC[written], "sh", *stale], cwd=MAP.parent, check=True)
    wait_for("Postfix reads it", lambda: lab.clients.rcpt(stale[0], port).accepted)
    start(more=settings("hash"))
    assert [lab.clients.rcpt(client, port).code for client in stale] == [554, 554, 554]
    assert lab.clients.pop3_login(CLIENT)
    wait_for("the map holds it", lambda: held(name, [CLIENT]))
    assert lab.clients.rcpt(CLIENT, port).accepted
    assert lab.clients.rcpt(stale[0], port).code == 554


@contextlib.contextmanager
def in_place_of(program: str, script: str) -> Iterator[None]:
    """Put a script in a program's place, for us alone."""
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
        file.write(script)
        file.flush()
        os.fchmod(file.fileno(), 0o755)
        copy = shutil.copy(file.name, f"{file.name}.copy")  # one that nobody writes to can be run
    subprocess.run(["mount", "--bind", copy, program], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", program], check=True)
        Path(copy).unlink()


@contextlib.contextmanager
def failing_postmap(calls: Path) -> Iterator[None]:
    """Let postmap fail, until it was called three times."""
    with in_place_of("/usr/sbin/postmap", f"#!/bin/sh\necho >>{calls}\necho postmap: fatal: broken >&2\nexit 1\n"):
        yield
        wait_for("it is tried again, and again", lambda: calls.exists() and len(calls.read_text()) >= 3)


def test_what_a_failing_postmap_missed_is_made_up_for(lab: Lab, start: Start, tmp_path: Path) -> None:
    """Meanwhile the map stays as it was, and the socketmap knows all."""
    name, port, late = map_name("cdb"), MAP_PORTS["cdb"], "192.0.2.12"
    daemon = start(more=settings("cdb"))
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
    daemon = start(more=settings("cdb"))
    with failing_postmap(tmp_path / "calls"):
        assert lab.clients.pop3_login(CLIENT)
    assert daemon.said().count("postmap: fatal: broken") == 1


_HANGS = "#!/bin/sh\necho $$ >>{pids}\nexec sleep 600\n"


def test_a_hanging_postmap_holds_up_nothing_but_its_map(lab: Lab, start: Start, tmp_path: Path) -> None:
    """Logins go on, the socketmap answers at once, and the map is made up for."""
    name, port, late, pids = map_name("hash"), MAP_PORTS["hash"], ["192.0.2.12", "192.0.2.15"], tmp_path / "pids"
    start(more=settings("hash"))
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
    daemon = start(more=settings("hash"))
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
