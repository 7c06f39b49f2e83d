"""Postfix hears of who may relay through maps of every type: in time, under load, and when something else is dead."""

import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.end_to_end.crowd import (
    CROWD,
    LATE,
    Logins,
    asking,
    at_pace,
    judge,
    window_ends,
)
from tests.end_to_end.lab import LOG, MAP, MAP_PORTS, Daemon, Lab, main_cf, map_name, master_cf, wait_for
from tests.end_to_end.maps import each_type, held, settings, types

Start = Callable[..., Daemon]

CLIENT, STRANGER = "192.0.2.10", "192.0.2.11"

TRIXIE = Path("/var/cache/pop-before-smtp-tests/trixie")  # install-servers has it made
SHIFT = 1000  # how much higher the ports of the newer Postfix are


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

    def look() -> None:
        for new in held(map_name(kind), logins.began.keys() - shown.keys()):
            shown[new] = time.time()

    began = time.monotonic()
    with Logins() as logins, asking(logins, MAP_PORTS[kind], crowd, STRANGER) as asked:
        for client in at_pace(crowd):
            logins.write(client)
            look()
        minutes = (time.monotonic() - began) / 60
        restarts = LOG.read_text().count("has changed -- restarting")
        wait_for("all were shown", lambda: look() or len(shown) == len(crowd), seconds=LATE)
        wait_for("all is over", lambda: time.time() > max(window_ends(grace).values()) + LATE + 0.5)
    within, outside = judge(asked, logins, shown, grace, refusal=554)
    with capsys.disabled():
        sys.stdout.write(
            f"\n{kind}: {restarts / minutes:.0f} restarts of smtpd a minute; of {len(asked)} questions"
            f" {within} within a window, {outside} outside\n"
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
