"""The Debian package: built from the tree, installed on a clean Debian 12, used, upgraded, removed, purged."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from popbeforesmtp import __version__
from tests.end_to_end.lab import CONTRIB, LOG, SERVER4, Lab, wait_for
from tests.end_to_end.machine import BUILT, CLEAN, TOOLS, Machine, machine

HERE = Path(__file__).parent
USER = "pop-before-smtp"
INIT = "/etc/init.d/pop-before-smtp"
CLIENT, OTHER, UNKNOWN = "192.0.2.10", "192.0.2.11", "192.0.2.12"
PORT = 2625
MAP, HOSTS = "lmdb:/var/lib/pop-before-smtp/clients", "hash:/var/lib/pop-before-smtp/hosts"
CLASSIC_CONF = "/etc/pop-before-smtp/pop-before-smtp.conf"

_KEPT = re.compile(  # what dpkg, apt, debconf, ldconfig and adduser keep of what was done
    r"/var/lib/(dpkg|apt)/.*|/var/(log/(dpkg|apt|alternatives)|cache/(apt|debconf|ldconfig)).*"
    r"|/etc/(ld\.so\.cache|\.pwd\.lock|(passwd|group|shadow|gshadow|subuid|subgid)-)|/var/lib/systemd(/deb-systemd-helper-.*)?"
)

_RELAYING = (
    "smtpd_relay_restrictions = permit_mynetworks, permit_auth_destination, check_client_access {map}, reject",
    "smtpd_recipient_restrictions =",
    "default_transport = discard",
    "relay_transport = discard",
    f"inet_interfaces = {SERVER4}",
    "smtpd_peername_lookup = no",
)


@cache
def built() -> Path:
    """Return the package of this very tree; fail where it was not built."""
    made = subprocess.run([HERE / "make-package"], capture_output=True, text=True, timeout=60, check=False)
    assert made.returncode == 0, made.stderr
    return Path(made.stdout.strip())


def package() -> Path:
    """Return where a machine finds the package."""
    return Path("/mnt") / built().relative_to(BUILT)


@pytest.fixture(scope="module")
def with_postfix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install a mail server, as every machine has one, that runs no service; return the layers of that."""
    folder = tmp_path_factory.mktemp("postfix")
    with machine(folder, CLEAN) as one:
        one.run("sh", "-c", "echo postfix postfix/main_mailer_type select Internet Site | debconf-set-selections")
        one.install("postfix", "postfix-lmdb", "cron", "logrotate")
        master = one.path("/etc/postfix/master.cf")
        master.write_text(re.sub(r"^smtp +inet", f"{PORT} inet", master.read_text(), flags=re.MULTILINE))
    return folder / "upper"


@pytest.fixture(scope="module")
def with_package(with_postfix: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install our package too, which starts nothing yet, as policy-rc.d asks."""
    folder = tmp_path_factory.mktemp("package")
    with machine(folder, with_postfix, CLEAN) as one:
        one.install(str(package()))
        assert one.status(INIT, "status") == 3
    return folder / "upper"


@contextmanager
def on_the_lab(folder: Path, *layers: Path) -> Iterator[Machine]:
    """Give a machine that has the lab's mail log, and whose packages start their daemons."""
    LOG.write_text("")
    for left in LOG.parent.glob("pop-before-smtp*"):  # by the machine before
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    with machine(folder, *layers, CLEAN) as one:
        subprocess.run(["mount", "--bind", "/var/log", one.path("/var/log")], check=True)
        one.path("/usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 0\n")
        yield one


@pytest.fixture
def bare(lab: Lab, with_postfix: Path, tmp_path: Path) -> Iterator[Machine]:
    """Give a machine with a Postfix, and without our package."""
    del lab
    with on_the_lab(tmp_path / "machine", with_postfix) as one:
        yield one


@pytest.fixture
def stopped(lab: Lab, with_postfix: Path, with_package: Path, tmp_path: Path) -> Iterator[Machine]:
    """Give a machine with our package, on which no daemon has run yet."""
    del lab
    with on_the_lab(tmp_path / "machine", with_package, with_postfix) as one:
        yield one


@pytest.fixture
def installed(stopped: Machine) -> Machine:
    """Give a machine with our package, and its daemon running as the init script starts it."""
    stopped.run(INIT, "start")
    return stopped


def start_postfix(one: Machine, access_map: str) -> None:
    """Start the machine's own Postfix, as it was installed, with the lines that ask the map."""
    one.run("postconf", "-e", *(line.format(map=access_map) for line in _RELAYING))
    one.run("postfix", "start")
    wait_for("Postfix listens", lambda: one.status("postfix", "status") == 0)


def may_relay(lab: Lab, client: str) -> bool:
    """Say whether the machine's Postfix lets a client of the other host relay."""
    return lab.clients.rcpt(client, PORT).accepted


def ends(one: Machine) -> dict[str, str]:
    """Return who may relay until when, by the package's own command."""
    return {entry["address"]: entry["expires_at"] for entry in json.loads(one.run(USER, "list", "--json"))}


def entries(one: Machine, access_map: str) -> dict[str, str]:
    """Return what Postfix's own tool reads in a map."""
    rows = one.run("postmap", "-s", access_map).splitlines()
    return dict(row.split("\t") for row in rows)


def test_installed_it_runs_as_its_own_user_and_opens_the_relay_at_a_login(lab: Lab, installed: Machine) -> None:
    """Without any configuration: log, Postfix and map are found; after a real login Postfix lets the client in."""
    assert installed.run(INIT, "status").startswith("pop-before-smtp is running, process ")
    assert installed.status("pop-before-smtp", "status") == 0
    start_postfix(installed, MAP)
    assert not may_relay(lab, CLIENT)
    assert lab.clients.imap_login(CLIENT)
    wait_for("it may relay", lambda: may_relay(lab, CLIENT))
    assert not may_relay(lab, OTHER)
    assert list(entries(installed, MAP)) == list(ends(installed)) == [CLIENT]


def test_users_folders_and_files_are_as_the_design_says(installed: Machine) -> None:
    """Owners and modes; nobody but root can change the program or the pid file."""
    assert installed.place("/var/lib/pop-before-smtp") == (USER, USER, "0755")
    assert installed.place("/var/lib/pop-before-smtp/state.sqlite") == (USER, USER, "0600")
    assert installed.place("/var/lib/pop-before-smtp/clients.lmdb") == (USER, USER, "0644")
    assert installed.place("/var/spool/postfix/pop-before-smtp") == (USER, "postfix", "2750")
    assert installed.place("/var/spool/postfix/pop-before-smtp/map") == (USER, "postfix", "0660")
    assert installed.place("/run/pop-before-smtp") == (USER, USER, "0755")
    assert installed.place("/run/pop-before-smtp/control") == (USER, USER, "0660")
    assert installed.place("/run/pop-before-smtp.pid") == ("root", "root", "0644")
    assert set(installed.run("id", "-Gn", USER).split()) == {USER, "adm"}  # and systemd-journal, where there is one
    assert installed.run("getent", "passwd", USER).rpartition(":")[2].strip() == "/usr/sbin/nologin"
    for name in installed.run("dpkg", "-L", USER).splitlines():
        owner, group, mode = installed.place(name)
        assert (owner, group) == ("root", "root"), name
        assert installed.path(name).is_symlink() or not int(mode, 8) & 0o022, name
    for page in ("8/pop-before-smtp.8", "7/pop-before-smtp-classic.7", "5/pop-before-smtp.toml.5"):
        assert installed.path(f"/usr/share/man/man{page}.gz").exists()
    for lines in ("postfix", "exim", "sendmail"):  # that `init` prints
        assert list(
            installed.path("/usr/lib/pop-before-smtp").glob(f"lib/*/site-packages/popbeforesmtp/contrib/{lines}/*")
        )
    assert "check_client_access" in installed.run(USER, "init", "-")
    assert installed.run(USER, "--version") == f"version: {__version__}\n"


def test_no_library_of_the_machine_or_of_the_caller_gets_in(installed: Machine) -> None:
    """The package runs on what it brings."""
    for folder in ("/usr/lib/python3/dist-packages", "/usr/local/lib/python3.11/dist-packages", "/tmp"):
        installed.path(f"{folder}/lmdb").mkdir(parents=True)
        installed.path(f"{folder}/lmdb/__init__.py").write_text("raise SystemExit('a stranger')")
    assert installed.run("env", "PYTHONPATH=/tmp", "sh", "-c", f"cd /tmp && {USER} sweep") == ""


def test_the_init_script_says_how_the_daemon_is(installed: Machine) -> None:
    """LSB's exit statuses; what is started twice runs once; a daemon that was killed is known to be dead."""

    def pid() -> int:
        return int(installed.path("/run/pop-before-smtp.pid").read_text())

    first = pid()
    installed.run(INIT, "start")
    assert pid() == first
    installed.run(INIT, "reload")
    assert pid() == first
    installed.run(INIT, "restart")
    assert pid() != first
    installed.run("sh", "-c", f"kill -9 {pid()}")
    wait_for("it is dead", lambda: installed.status(INIT, "status") == 1)
    installed.run(INIT, "start")
    assert installed.status(INIT, "status") == 0
    installed.run(INIT, "stop")
    assert installed.status(INIT, "status") == 3
    assert installed.status(INIT, "reload") == 7
    installed.run(INIT, "stop")
    assert not installed.path("/run/pop-before-smtp.pid").exists()


def test_an_upgrade_keeps_every_window(lab: Lab, installed: Machine) -> None:
    """Over itself: another process, the same ends."""
    assert lab.clients.imap_login(CLIENT)
    wait_for("it may relay", lambda: CLIENT in ends(installed))
    before, status = ends(installed), installed.run(INIT, "status")
    installed.install("--reinstall", str(package()))
    assert installed.run(INIT, "status") != status
    assert ends(installed) == before
    assert list(entries(installed, MAP)) == [CLIENT]


def test_removed_it_lets_nobody_in_and_purged_it_leaves_nothing(lab: Lab, bare: Machine) -> None:
    """Removal empties the map; installed again, windows are as they were; purged, no file and no user is left."""
    files, accounts = bare.files(), bare.accounts()
    bare.install(str(package()))
    assert lab.clients.imap_login(CLIENT)
    wait_for("it may relay", lambda: CLIENT in ends(bare))
    bare.path("/etc/pop-before-smtp.toml").write_text("# as `init` writes one\n")
    bare.run(INIT, "restart")
    before = ends(bare)
    bare.run("apt-get", "remove", "-qq", "-y", USER)
    assert not bare.path("/run/pop-before-smtp.pid").exists()
    assert not bare.path("/run/pop-before-smtp/control").exists()
    assert entries(bare, MAP) == {}
    bare.install(str(package()))
    assert ends(bare) == before
    assert list(entries(bare, MAP)) == [CLIENT]
    bare.run("apt-get", "purge", "-qq", "-y", "--autoremove", USER)
    after = bare.files()
    changed = {name for name in {**files, **after} if files.get(name) != after.get(name) and not _KEPT.fullmatch(name)}
    assert changed == set()
    assert bare.accounts() == accounts
    assert list(bare.path("/run").rglob("*pop-before-smtp*")) == []


def classic_package(one: Machine, folder: Path) -> None:
    """Install what Debian had: its places, by reference; the program itself is never run."""
    tree = folder / "classic"
    texts = {
        "DEBIAN/control": "Package: pop-before-smtp\nVersion: 1.41-1.1ubuntu1\nArchitecture: all\n"
        "Maintainer: nobody <nobody@lab.example>\nDescription: stands for the Perl daemon\n",
        "DEBIAN/conffiles": f"{CLASSIC_CONF}\n{INIT}\n",
        CLASSIC_CONF: (Path(__file__).parents[1] / "classic/conf/debian.pl").read_text(),
        INIT: "#!/bin/sh\n",
        "usr/sbin/pop-before-smtp": "#!/bin/sh\n",
    }
    for name, text in texts.items():
        path = tree / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if "bin" in name or name == INIT else 0o644)
    for path in (tree, *(path for path in tree.rglob("*") if path.is_dir())):
        path.chmod(0o755)
    one.path("/tmp").chmod(0o1777)
    command = ["dpkg-deb", "--root-owner-group", "--build", tree, one.path("/tmp/classic.deb")]
    subprocess.run(command, check=True, capture_output=True)
    one.run("dpkg", "-i", "/tmp/classic.deb")
    one.path("/tmp/classic.deb").unlink()
    one.path("/var/lib/pop-before-smtp").mkdir()
    one.path("/var/lib/pop-before-smtp/hosts").write_text(f"{CLIENT} ok\n{UNKNOWN} ok\n")
    one.run("postmap", HOSTS)
    one.path("/var/lib/pop-before-smtp/hosts").unlink()


def test_it_takes_the_place_of_debians_own_perl_daemon(lab: Lab, bare: Machine, tmp_path: Path) -> None:
    """By an upgrade, with its configuration and map: who logged in within the grace stays in, who did not goes."""
    start_postfix(bare, HOSTS)
    files, accounts = bare.files(), bare.accounts()
    classic_package(bare, tmp_path)
    assert lab.clients.imap_login(CLIENT)
    assert may_relay(lab, CLIENT)
    assert may_relay(lab, UNKNOWN)
    conf = bare.path(CLASSIC_CONF).read_text()
    bare.install(str(package()))
    assert bare.path(CLASSIC_CONF).read_text() == conf
    assert bare.status(INIT, "status") == 0
    wait_for("Postfix sees the new map", lambda: not may_relay(lab, UNKNOWN))
    assert may_relay(lab, CLIENT)
    assert bare.run("/usr/sbin/pop-before-smtp", "--list") == f"The database holds 1 IP:\n\t{CLIENT}\n"
    assert lab.clients.pop3_login(OTHER)
    wait_for("it may relay", lambda: may_relay(lab, OTHER))
    assert f"added {OTHER} to DB" in Path("/var/log/pop-before-smtp.log").read_text()  # as $logto says
    assert entries(bare, HOSTS) == {CLIENT: "ok", OTHER: "ok"}
    bare.run("postfix", "stop")
    bare.run("apt-get", "purge", "-qq", "-y", "--autoremove", USER)
    ours = [name for name in bare.files() if not re.match(r"/var/(spool|lib)/postfix/(?!pop-before-smtp)", name)]
    left = [name for name in ours if name not in files and not _KEPT.fullmatch(name)]
    assert left == ["/var/log/pop-before-smtp.log"]  # a name that the administrator chose
    assert bare.accounts() == accounts


def test_the_units_command_reads_the_classics_configuration(lab: Lab, stopped: Machine) -> None:
    """As systemd calls it, which has no init script to choose: the classic's map is kept, and no other."""
    conf = (Path(__file__).parents[1] / "classic/conf/debian.pl").read_text()
    stopped.path(CLASSIC_CONF).parent.mkdir()
    stopped.path(CLASSIC_CONF).write_text(re.sub(r"^\$logto.*\n", "", conf, flags=re.MULTILINE))
    unit = stopped.path("/lib/systemd/system/pop-before-smtp.service").read_text()
    (command,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    stopped.run("install", "-d", "-o", USER, "/run/pop-before-smtp")  # RuntimeDirectory=
    stopped.run(*command.split(), "--user", USER, "--daemon", "/run/pop-before-smtp.pid")
    assert lab.clients.imap_login(CLIENT)
    wait_for("it may relay", lambda: entries(stopped, HOSTS) == {CLIENT: "ok"})
    assert not stopped.path("/var/lib/pop-before-smtp/clients.lmdb").exists()


def test_the_sweep_ends_windows_without_systemd(lab: Lab, stopped: Machine) -> None:
    """By cron, to the letter of its line: where the daemon was killed, a window goes on to its end, and no further."""
    stopped.path("/etc/pop-before-smtp.toml").write_text('grace = "4s"\n')
    stopped.run(INIT, "start")
    assert lab.clients.imap_login(CLIENT)
    wait_for("it may relay", lambda: list(entries(stopped, MAP)) == [CLIENT])
    stopped.run("sh", "-c", "kill -9 $(cat /run/pop-before-smtp.pid)")
    *times, user, command = stopped.path("/etc/cron.d/pop-before-smtp").read_text().splitlines()[-1].split(" ", 6)
    assert times == ["*"] * 5
    identity = [f"--reuid={user}", f"--regid={user}", "--init-groups"]

    def swept() -> bool:
        assert stopped.run("setpriv", *identity, "sh", "-c", command) == ""
        return entries(stopped, MAP) == {}

    wait_for("nobody may relay", swept)


def test_its_own_log_is_turned(stopped: Machine) -> None:
    """The daemon goes on in the new file, without systemd too."""
    log = stopped.path("/var/log/pop-before-smtp/daemon.log")
    stopped.path("/etc/pop-before-smtp.toml").write_text('log = "/var/log/pop-before-smtp/daemon.log"\n')
    stopped.run(INIT, "start")
    stopped.run("logrotate", "--force", "/etc/logrotate.d/pop-before-smtp")
    wait_for("it goes on in the new file", lambda: log.read_text() != "")
    assert "ready authorizations=" in log.with_name("daemon.log.1").read_text()
    assert stopped.place("/var/log/pop-before-smtp/daemon.log") == (USER, "adm", "0640")


def test_as_root_it_keeps_a_map_in_a_folder_of_roots(lab: Lab, stopped: Machine) -> None:
    """As README.Debian says, where the Perl daemon's configuration names one; removed, it lets nobody in."""
    conf = (Path(__file__).parents[1] / "classic/conf/debian.pl").read_text()
    path = stopped.path(CLASSIC_CONF)
    path.parent.mkdir()
    path.write_text(conf.replace("/var/lib/pop-before-smtp/hosts", "/etc/postfix/pop-before-smtp"))
    assert stopped.status(INIT, "start") == 1
    stopped.path("/etc/default/pop-before-smtp").write_text("DAEMON_USER=root\n")
    stopped.run(INIT, "start")
    assert lab.clients.imap_login(CLIENT)
    kept = "hash:/etc/postfix/pop-before-smtp"
    wait_for("it may relay", lambda: entries(stopped, kept) == {CLIENT: "ok"})
    stopped.run("apt-get", "remove", "-qq", "-y", USER)
    assert entries(stopped, kept) == {}


def test_a_daemon_that_cannot_start_is_no_package_half_installed(bare: Machine) -> None:
    """What must be changed is said, and the daemon starts once it is."""
    conf = bare.path("/etc/pop-before-smtp.toml")
    conf.write_text('grace = "for ever"\n')
    assert "/etc/pop-before-smtp.toml:1: grace" in bare.install(str(package()))
    assert bare.run("dpkg-query", "-W", "-f", "${Status}", USER) == "install ok installed"
    conf.write_text('grace = "1h"\n')
    bare.run(INIT, "start")


def test_systemd_finds_no_mistake_and_starts_it_at_boot(tmp_path: Path) -> None:
    """On a machine that has systemd: units, the drop-in for the classic's places, what is enabled, groups, folders."""
    with machine(tmp_path / "machine", TOOLS) as one:
        one.install(str(package()))
        units = [f"pop-before-smtp{name}" for name in (".service", "-sweep.service", "-sweep.timer")]
        assert one.run("systemd-analyze", "verify", "--man=no", *units) == ""
        for unit in (units[0], units[2]):
            assert one.run("systemctl", "is-enabled", unit) == "enabled\n"
        assert set(one.run("id", "-Gn", USER).split()) == {USER, "adm", "systemd-journal"}
        assert one.place("/run/pop-before-smtp") == (USER, USER, "0755")
        for unit in units[:2]:
            folder = one.path(f"/etc/systemd/system/{unit}.d")
            folder.mkdir()
            folder.joinpath("classic.conf").write_text((CONTRIB / "systemd" / "classic.conf").read_text())
        assert one.run("systemd-analyze", "verify", "--man=no", *units) == ""


def test_debians_own_critic_finds_no_error() -> None:
    """Lintian, with all that it has to say about the package."""
    *said, last = built().with_name("lintian").read_text().splitlines()
    assert last == "no errors", said
    assert [line for line in said if not re.match(r"[WIPN]: ", line)] == []


def test_the_package_has_the_programs_version() -> None:
    """Behind an epoch, for Debian's Perl daemon was 1.41."""
    changelog = (CONTRIB / "debian" / "changelog").read_text()
    assert changelog.startswith(f"pop-before-smtp (1:{__version__}) ")


def test_building_leaves_nothing_in_the_tree() -> None:
    """It is built in a copy."""
    assert not (CONTRIB.parent / "debian").exists()
