"""The recipes for `type = "command"`: the very files of contrib, with the real tools of Debian's packages.

Their packages are unpacked (unpack) and laid over this machine's folders, in the private mount namespace.
"""

import http.client
import json
import os
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.end_to_end.lab import CONTRIB, OUTSIDE, SERVER4, SERVER6, Clients, Daemon, rcpt, server_for, wait_for

UNPACKED = Path("/var/cache/pop-before-smtp-tests")
PACKAGES = ["opensmtpd", "courier", "ucspi-tcp", "fail2ban", "postgrey", "rspamd"]
LAYERS = Path("/run/recipes")
PROGRAMS = Path("/usr/local/lib/pop-before-smtp")
STATE = Path("/var/lib/pop-before-smtp")

CLIENT, STRANGER, CLIENT6 = "192.0.2.10", "192.0.2.11", "2001:db8:1:2:3:4:5:6"
ZEROS6 = "2001:db8::10"
GRACE = timedelta(minutes=30)
SHORT = 8.0  # seconds of a window that a test waits for the end of
OPENSMTPD_PORT, TCPSERVER_PORT, COURIER_PORT, GUARDED_PORT, POSTGREY_PORT, RSPAMD_PORT = (
    2625,
    2626,
    2627,
    2525,
    2628,
    2629,
)


def run(*command: str | Path, said: str = "") -> str:
    """Run a program that must work, and return what it prints."""
    done = subprocess.run(list(command), input=said, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{shlex.join(map(str, command))}: {done.stdout}{done.stderr}"
    return done.stdout


def lay_over(folder: Path, under: Sequence[Path]) -> None:
    """Let packages appear in a folder, where it has not the same itself; changes are lost in the end."""
    mounted = [Path(line.split()[1]) for line in Path("/proc/self/mounts").read_text().splitlines()]
    kept = {}
    for number, inner in enumerate(
        sorted({path for path in mounted if path.is_relative_to(folder) and path != folder})
    ):
        kept[inner] = LAYERS / f"kept{folder.name}{number}"
        kept[inner].mkdir() if inner.is_dir() else kept[inner].touch()
        run("mount", "--bind", inner, kept[inner])
    upper, work = LAYERS / f"upper-{folder.name}", LAYERS / f"work-{folder.name}"
    upper.mkdir()
    work.mkdir()
    lower = ":".join(str(path) for path in (folder, *under) if path.is_dir())
    run("mount", "-t", "overlay", "-o", f"lowerdir={lower},upperdir={upper},workdir={work}", "overlay", folder)
    for inner, place in kept.items():
        run("mount", "--bind", place, inner)


@pytest.fixture(scope="module", autouse=True)
def tools() -> Iterator[None]:
    """Have all tools on this machine, and the programs of contrib where the recipes say that they are."""
    folders = [Path("/usr"), Path("/etc"), Path("/var/lib"), Path("/var/spool")]
    LAYERS.mkdir()
    for folder in folders:
        lay_over(folder, [UNPACKED / name / folder.relative_to("/") for name in PACKAGES])
    PROGRAMS.mkdir(parents=True)
    for program in ("command/write-list", "opensmtpd/update-table", "qmail/tcp-rules", "courier/smtpaccess"):
        shutil.copy(CONTRIB / program, PROGRAMS)
    for number, user in enumerate(("opensmtpd", "opensmtpq", "courier"), 990):  # what postinst scripts would make
        with Path("/etc/passwd").open("a") as passwd, Path("/etc/group").open("a") as group:
            passwd.write(f"{user}:x:{number}:{number}::/var/lib/opensmtpd/empty:/usr/sbin/nologin\n")
            group.write(f"{user}:x:{number}:\n")
    shutil.chown("/usr/sbin/smtpctl", group="opensmtpq")
    Path("/usr/sbin/smtpctl").chmod(0o2755)
    Path("/usr/bin/makedat").symlink_to("makedat.courier")
    yield
    for folder in reversed(folders):
        run("umount", "--recursive", "--lazy", folder)


@pytest.fixture(scope="module")
def clients() -> Clients:
    """Be another host."""
    return Clients()


@pytest.fixture(autouse=True)
def hang_up(clients: Clients) -> Iterator[None]:
    """Leave no session open."""
    yield
    while clients.sessions:
        clients.sessions.pop().close()


@pytest.fixture
def spawn() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start servers; the test's end stops them."""
    processes: list[subprocess.Popen[bytes]] = []

    def spawn(*command: str | Path, **settings: object) -> subprocess.Popen[bytes]:
        processes.append(subprocess.Popen(list(command), **settings))  # type: ignore[call-overload]
        return processes[-1]

    yield spawn
    for process in processes:
        process.terminate()
        process.wait(timeout=15)


class Following(Daemon):
    """The daemon with one recipe, on a log of its own."""

    def __init__(self, folder: Path, recipe: Path, grace: timedelta = GRACE) -> None:
        self._log = folder / "mail.log"
        self._log.touch(0o640)
        config = folder / "pop-before-smtp.toml"
        config.write_text(
            f'grace = "{grace.total_seconds():.0f}s"\n[rules]\ntrusted = []\n[[source]]\ntype = "file"\n'
            f'path = "{self._log}"\n[store]\ntype = "sqlite"\npath = "{folder}/state.sqlite"\n'
            f'[[lookup]]\ntype = "socketmap"\nlisten = "unix:{folder}/map"\n{recipe.read_text()}'
        )
        super().__init__(config, folder / "daemon.log")
        self.ready()

    def log_in(self, client: str, left: float = GRACE.total_seconds()) -> None:
        """Write a login line, of which so much of the window is left."""
        stamp = (datetime.now(UTC) - GRACE + timedelta(seconds=left)).isoformat()
        line = f"imap-login: Login: user=<alice>, method=PLAIN, rip={client}, lip={SERVER4}, mpid=1, session=<AAAA>"
        with self._log.open("a") as log:
            log.write(f"{stamp} mx1 dovecot: {line}\n")


@pytest.fixture
def follow(tmp_path: Path) -> Iterator[Callable[[str], Following]]:
    """Start the daemon with a recipe; the test's end stops it."""
    daemons: list[Following] = []

    def follow(recipe: str) -> Following:
        daemons.append(Following(tmp_path, CONTRIB / recipe))
        return daemons[-1]

    yield follow
    for daemon in daemons:
        if daemon.process.poll() is None:
            daemon.stop()
        assert "Traceback" not in daemon.said()
        assert "trying again" not in daemon.said()


def opens_and_closes(daemon: Following, may: Callable[[str], bool], client: str) -> None:
    """Refused, granted, accepted, expired, refused; a stranger is refused all the time."""
    assert not may(client)
    daemon.log_in(client, SHORT)
    wait_for("it is let in", lambda: may(client), SHORT)
    assert not may(STRANGER)
    wait_for("it is let out", lambda: not may(client), SHORT + 10)
    wait_for("the daemon says so", lambda: f"expired client={client}" in daemon.said())


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
    wait_for("OpenSMTPD answers", lambda: _greets(SERVER4, OPENSMTPD_PORT))


def _greets(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=5) as connection:
            return bool(connection.recv(1))
    except OSError:
        return False


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
    wait_for("tcpserver answers", lambda: _greets(SERVER4, TCPSERVER_PORT))
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
    wait_for("couriertcpd answers", lambda: _greets(SERVER4, COURIER_PORT))
    opens_and_closes(daemon, lambda who: _relay(clients, who, COURIER_PORT), client)


# nftables


@pytest.fixture
def guarded() -> Iterator[None]:
    """Load the set and the chain, and listen on the port behind it."""
    run("nft", "-f", CONTRIB / "nftables" / "pop-before-smtp.nft")
    listening = [
        socket.create_server((SERVER4, GUARDED_PORT)),
        socket.create_server((SERVER6, GUARDED_PORT), family=socket.AF_INET6),
    ]
    for each in listening:
        threading.Thread(target=_accept, args=(each,), daemon=True).start()
    yield
    for each in listening:
        each.shutdown(socket.SHUT_RDWR)
        each.close()
    run("nft", "delete", "table", "inet", "pop_before_smtp")


def _accept(listening: socket.socket) -> None:
    with suppress(OSError):  # it was closed
        while True:
            listening.accept()[0].close()


def _reaches(clients: Clients, client: str) -> bool:
    def connect() -> bool:
        to = server_for(client), GUARDED_PORT
        try:
            with socket.create_connection(to, timeout=0.5, source_address=(client, 0)):
                return True
        except OSError:
            return False

    return clients(connect)


def _elements() -> str:
    return run("nft", "list", "table", "inet", "pop_before_smtp")


@pytest.mark.parametrize("client", [CLIENT, CLIENT6])
def test_nftables_opens_a_port_for_who_logged_in(
    clients: Clients, follow: Callable[[str], Following], guarded: None, client: str
) -> None:
    """And closes it."""
    daemon = follow("nftables/pop-before-smtp.toml")
    opens_and_closes(daemon, lambda who: _reaches(clients, who), client)
    assert client not in _elements()


def test_nftables_ends_a_window_by_itself(clients: Clients, follow: Callable[[str], Following], guarded: None) -> None:
    """However the daemon ends; and a renewal moves that end."""
    daemon = follow("nftables/pop-before-smtp.toml")
    daemon.log_in(CLIENT, SHORT)
    daemon.log_in("192.0.2.12", SHORT)
    wait_for("both are in", lambda: _reaches(clients, CLIENT) and _reaches(clients, "192.0.2.12"), SHORT)
    daemon.log_in("192.0.2.12", 600)
    wait_for("it is renewed", lambda: "192.0.2.12 timeout 9m5" in _elements())
    daemon.stop(signal.SIGKILL)
    wait_for("the window ends", lambda: not _reaches(clients, CLIENT), SHORT + 10)
    assert _reaches(clients, "192.0.2.12")


def test_nftables_is_made_true_at_the_start(
    clients: Clients, follow: Callable[[str], Following], guarded: None
) -> None:
    """Whoever was in the set and has no window is out; whoever has one is in."""
    daemon = follow("nftables/pop-before-smtp.toml")
    daemon.log_in(CLIENT)
    wait_for("it is in", lambda: _reaches(clients, CLIENT))
    daemon.stop()
    run("nft", "add", "element", "inet", "pop_before_smtp", "clients4", f"{{ {STRANGER} }}")
    assert _reaches(clients, STRANGER)
    follow("nftables/pop-before-smtp.toml")
    assert _reaches(clients, CLIENT)
    assert not _reaches(clients, STRANGER)


def test_nft_needs_that_one_capability_and_no_more(guarded: None) -> None:
    """What capability.conf gives is enough for each command of the recipe, and less is not."""
    (section,) = tomllib.loads((CONTRIB / "nftables" / "pop-before-smtp.toml").read_text())["mta"]
    given = [line.partition("=")[2] for line in (CONTRIB / "nftables" / "capability.conf").read_text().splitlines()]
    assert given.count("CAP_NET_ADMIN") == 2
    words = {"{address}": CLIENT, "{family}": "4", "{seconds}": "60"}
    nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--no-new-privs"]
    for may in (True, False):
        capability = "+net_admin" if may else "-all"
        for command in (section["grant"], section["expire"], section["clear"]):
            for word, value in words.items():
                command = [argument.replace(word, value) for argument in command]
            done = subprocess.run(
                [*nobody, f"--inh-caps={capability}", f"--ambient-caps={capability}", "--", *command],
                capture_output=True,
                timeout=30,
                check=False,
            )
            assert (done.returncode == 0) is may, done.stderr


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


# A plain list


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


# What systemd is told

DROP_INS = ["nftables/capability.conf", "opensmtpd/root.conf", "qmail/root.conf", "courier/root.conf"]


@pytest.mark.parametrize("drop_in", DROP_INS)
@pytest.mark.parametrize("unit", ["pop-before-smtp.service", "pop-before-smtp-sweep.service"])
def test_systemd_finds_no_mistake_in_a_unit_with_a_drop_in(unit: str, drop_in: str, tmp_path: Path) -> None:
    """Both read it."""
    shutil.copy(CONTRIB / "systemd" / unit, tmp_path)
    (tmp_path / f"{unit}.d").mkdir()
    shutil.copy(CONTRIB / drop_in, tmp_path / f"{unit}.d")
    complaints = _verify(tmp_path / unit)
    assert [line for line in complaints if "pop-before-smtp" in line and "is not executable" not in line] == []
    with (tmp_path / f"{unit}.d" / Path(drop_in).name).open("a") as broken:
        broken.write("NoSuchSetting=1\n")
    assert [line for line in _verify(tmp_path / unit) if "NoSuchSetting" in line]  # it was read


@pytest.mark.parametrize("suffix", ["path", "service"])
def test_systemd_finds_no_mistake_in_the_units_for_postgrey(suffix: str) -> None:
    """Of the same name, so that one starts the other."""
    assert _verify(CONTRIB / "postgrey" / f"pop-before-smtp-postgrey.{suffix}") == []


def _verify(unit: Path) -> list[str]:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"SYSTEMD_UNIT_PATH": f"{unit.parent}:", "PATH": "/usr/sbin:/usr/bin"},
    )
    return [line for line in done.stderr.splitlines() if str(unit.stem) in line]
