"""As Debian runs it: a user of its own that may read the log and keep the map, and may do nothing else."""

import grp
import os
import pwd
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.lab import CONTRIB, LMDB_PORT, LOG, MAP, SOCKETMAP_PORT, Daemon, Lab, wait_for
from tests.test_detach import ROOT, python_for_all

Start = Callable[..., Daemon]

USER = "pop-before-smtp"
CLIENT = "192.0.2.10"
STORE = MAP.parent / "state.sqlite"
SPOOL = Path("/var/spool/postfix/pop-before-smtp")
CONTROL = Path("/run/pop-before-smtp/control")
UNITS = CONTRIB / "systemd"
ACCOUNTS = [Path("/etc") / name for name in ("passwd", "group", "shadow", "gshadow")]


def tool(*command: str | Path, text: str | None = None) -> str:
    """Run one of systemd's programs, and return what it says."""
    done = subprocess.run(list(map(str, command)), input=text, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def sysusers(root: Path) -> str:
    """Let systemd-sysusers do what ours say, to the copies under a folder."""
    return tool("systemd-sysusers", f"--root={root}", "-", text=(UNITS / "pop-before-smtp.sysusers").read_text())


def tmpfiles() -> str:
    """Let systemd-tmpfiles do what ours say."""
    return tool("systemd-tmpfiles", "--create", UNITS / "pop-before-smtp.tmpfiles")


def place(path: Path) -> tuple[str, str, str]:
    """Return a file's owner, group and mode."""
    status = path.lstat()
    mode = f"{stat.S_IMODE(status.st_mode):04o}"
    return pwd.getpwuid(status.st_uid).pw_name, grp.getgrgid(status.st_gid).gr_name, mode


@pytest.fixture
def installed(lab: Lab) -> Iterator[Path]:
    """Add the user and the folders as a package does, to private copies; return the folder of the copies."""
    root = Path("/run/copies")
    (root / "etc").mkdir(parents=True)
    for path in ACCOUNTS:
        shutil.copy2(path, root / "etc")
    sysusers(root)
    for path in ACCOUNTS:
        subprocess.run(["mount", "--bind", root / "etc" / path.name, path], check=True)
    tmpfiles()
    for path in MAP.parent.glob("state.sqlite*"):
        path.unlink()
    if MAP.exists():
        shutil.chown(MAP, USER, USER)  # smtpd has it open; and a package that is upgraded finds its own
    CONTROL.parent.mkdir(mode=0o755, exist_ok=True)
    shutil.chown(CONTROL.parent, USER, USER)  # RuntimeDirectory=
    try:
        yield root
    finally:
        for path in (SPOOL / "map", CONTROL):
            path.unlink(missing_ok=True)
        for path in (MAP.parent, CONTROL.parent, *MAP.parent.iterdir()):
            shutil.chown(path, "root", "root")
        shutil.chown(SPOOL, "root", "postfix")  # as a daemon of root's makes it
        for path in ACCOUNTS:
            subprocess.run(["umount", path], check=True)
        shutil.rmtree(root)


class UserDaemon(Daemon):
    """The daemon, started by root, as its user; in a Python that this user may read."""

    def __init__(self, config: Path, log: Path, *more: str) -> None:
        self.log = log
        self._config = config
        self._output = log.open("ab")
        self._began = log.stat().st_size
        self.process = subprocess.Popen(
            [*program(), "run", "--debug", "--user", USER, "--config", str(config), *more],
            env=environment(),
            stderr=self._output,
        )


def program() -> list[str]:
    """Return the command ``pop-before-smtp`` for a user that may not read root's folders."""
    return [python_for_all(), "-m", "popbeforesmtp"]


def environment() -> dict[str, str]:
    """Return the environment that goes with it."""
    packages = [path for path in sys.path if path.endswith("site-packages")]
    return {**os.environ, "PYTHONPATH": ":".join([str(ROOT), *packages]), "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture
def daemon(lab: Lab, installed: Path, tmp_path: Path) -> Iterator[UserDaemon]:
    """Start the daemon as its user, with what it finds on this machine."""
    os.truncate(LOG, 0)
    Path("/var/log/mail.log.1").unlink(missing_ok=True)
    shutil.chown(LOG, "root", "adm")
    LOG.chmod(0o640)
    running = UserDaemon(lab.config(), tmp_path / "daemon.log")
    try:
        running.ready()
        yield running
    finally:
        while lab.clients.sessions:
            lab.clients.sessions.pop().close()
        running.stop(signal.SIGKILL)
        assert "Traceback" not in running.said()


def as_user(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command as systemd runs the sweep: as the user, without any capability or way to get one."""
    drop = ["--reuid", USER, "--regid", USER, "--init-groups", "--no-new-privs", "--bounding-set=-all"]
    return subprocess.run(
        ["setpriv", *drop, *map(str, command)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_user_may_read_the_logs_and_log_in_nowhere(installed: Path) -> None:
    """systemd-sysusers makes it, in the two groups that logs are for, and does nothing when it is asked again."""
    entry = pwd.getpwnam(USER)
    assert {grp.getgrgid(gid).gr_name for gid in os.getgrouplist(USER, entry.pw_gid)} == {
        USER,
        "adm",
        "systemd-journal",
    }
    assert entry.pw_shell.endswith("nologin")
    assert (entry.pw_uid > 0, entry.pw_dir) == (True, str(MAP.parent))
    (shadow,) = [line for line in Path("/etc/shadow").read_text().splitlines() if line.startswith(f"{USER}:")]
    assert shadow.split(":")[1].startswith(("!", "*"))
    before = [(installed / "etc" / path.name).read_text() for path in ACCOUNTS]
    sysusers(installed)
    assert [(installed / "etc" / path.name).read_text() for path in ACCOUNTS] == before


def test_folders_have_the_owners_and_modes_of_the_table(installed: Path) -> None:
    """Whatever they were before: systemd-tmpfiles puts right what somebody set wrong."""
    SPOOL.chmod(0o777)
    shutil.chown(SPOOL, "root", "root")
    tmpfiles()
    assert place(MAP.parent) == (USER, USER, "0755")
    assert place(SPOOL) == (USER, "postfix", "2750")


def test_a_login_opens_relay_through_a_daemon_of_that_user(lab: Lab, daemon: UserDaemon) -> None:
    """It reads the log, which is 0640 root:adm, answers the chrooted smtpd, and keeps the map."""
    assert place(LOG) == ("root", "adm", "0640")
    assert not lab.clients.rcpt(CLIENT).accepted
    assert not lab.clients.rcpt(CLIENT, LMDB_PORT).accepted
    assert lab.clients.pop3_login(CLIENT)
    wait_for("the socketmap lets it in", lambda: lab.clients.rcpt(CLIENT, SOCKETMAP_PORT).accepted)
    wait_for("the map lets it in", lambda: lab.clients.rcpt(CLIENT, LMDB_PORT).accepted)
    assert daemon.stop() == 0
    assert not CONTROL.exists()
    assert not (SPOOL / "map").exists()


def test_its_files_have_the_owners_and_modes_of_the_table(lab: Lab, daemon: UserDaemon) -> None:
    """The store is nobody else's, the map is for every reader, the socket for smtpd."""
    assert lab.clients.pop3_login(CLIENT)
    wait_for("the map lets it in", lambda: lab.clients.rcpt(CLIENT, LMDB_PORT).accepted)
    assert place(MAP) == (USER, USER, "0644")
    assert place(SPOOL / "map") == (USER, "postfix", "0660")
    assert place(CONTROL) == (USER, USER, "0660")
    stored = {path: place(path) for path in MAP.parent.glob("state.sqlite*")}
    assert STORE in stored
    assert set(stored.values()) == {(USER, USER, "0600")}


def test_it_has_the_users_groups_and_no_capability(daemon: UserDaemon) -> None:
    """Real, effective, saved and file system ids are the user's; nothing of root is left to it, nor can come back."""
    entry = pwd.getpwnam(USER)
    lines = (Path("/proc") / str(daemon.process.pid) / "status").read_text().splitlines()
    status = {line.partition(":")[0]: line.partition(":")[2].split() for line in lines}
    assert status["Uid"] == [str(entry.pw_uid)] * 4
    assert status["Gid"] == [str(entry.pw_gid)] * 4
    assert {int(gid) for gid in status["Groups"]} == set(os.getgrouplist(USER, entry.pw_gid))
    assert [int(status[name][0], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("more", "status", "made", "said"),
    [
        (
            '[[mta]]\ntype = "postfix"\nmap = "lmdb:/etc/postfix/clients"',
            77,
            "/etc/postfix/clients.lmdb",
            "may not be written by this user",
        ),
        ('log = "/var/log/pop-before-smtp.log"', 73, "/var/log/pop-before-smtp.log", "Permission denied"),
        (
            '[store]\ntype = "sqlite"\npath = "/etc/postfix/state.sqlite"',
            77,
            "/etc/postfix/state.sqlite",
            "by this user",
        ),
        (
            '[[lookup]]\ntype = "socketmap"\nlisten = "unix:/var/spool/postfix/public/x"',
            77,
            "/var/spool/postfix/public/x",
            "is no safe place",
        ),
    ],
    ids=["map", "log", "store", "socket"],
)
def test_it_cannot_write_elsewhere(
    lab: Lab, installed: Path, tmp_path: Path, more: str, status: int, made: str, said: str
) -> None:
    """What root configured for a place that is not its user's is refused in a sentence, and nothing is made."""
    refused = UserDaemon(lab.config(more=more), tmp_path / "daemon.log")
    try:
        assert refused.process.wait(timeout=5) == status, refused.said()
    finally:
        refused.stop(signal.SIGKILL)
    last = refused.said().splitlines()[-1]
    assert last.startswith("pop-before-smtp: ")
    assert said in last
    assert not Path(made).exists()


def test_the_sweep_ends_a_window_as_that_user(lab: Lab, daemon: UserDaemon, tmp_path: Path) -> None:
    """Dead means closed needs no root: store, map and control socket are the user's."""
    assert lab.clients.pop3_login(CLIENT)
    wait_for("the map lets it in", lambda: lab.clients.rcpt(CLIENT, LMDB_PORT).accepted)
    wait_for("the store has it", lambda: f'"{CLIENT}"' in daemon.command("list", "--json").stdout)
    daemon.stop(signal.SIGKILL)
    config = Path("/run/sweep.toml")
    config.write_text("")
    sweep = [*program(), "sweep", "--config", str(config)]
    swept = as_user(*sweep)
    assert (swept.returncode, swept.stderr) == (0, "")
    assert lab.clients.rcpt(CLIENT, LMDB_PORT).accepted
    with sqlite3.connect(STORE) as store:
        store.execute("UPDATE authorizations SET expires_at = login_at")
    store.close()
    for path in MAP.parent.glob("state.sqlite*"):
        shutil.chown(path, USER, USER)
    swept = as_user(*sweep)
    assert (swept.returncode, swept.stderr) == (0, "")
    assert lab.clients.rcpt(CLIENT, LMDB_PORT).code == 554
    assert place(MAP) == (USER, USER, "0644")


def stopped_long_ago() -> None:
    """Move the time at which the daemon was stopped half a minute and a second back."""
    with sqlite3.connect(STORE) as store:
        assert store.execute("UPDATE stopped SET at = at - 31000000").rowcount == 1
    store.close()


def test_stopped_for_good_with_close_empties_the_map(lab: Lab, start: Start) -> None:
    """Not while it may be a restart, but half a minute later; and the next start lets its clients in again."""
    daemon = start(more='stop = "close"')
    assert lab.clients.pop3_login(CLIENT)
    wait_for("the map lets it in", lambda: lab.clients.rcpt(CLIENT, LMDB_PORT).accepted)
    assert daemon.stop() == 0
    assert daemon.command("sweep").returncode == 0
    assert lab.clients.rcpt(CLIENT, LMDB_PORT).accepted
    stopped_long_ago()
    assert daemon.command("sweep").returncode == 0
    assert lab.clients.rcpt(CLIENT, LMDB_PORT).code == 554
    start(more='stop = "close"')
    assert lab.clients.rcpt(CLIENT, LMDB_PORT).accepted


def test_a_restart_or_a_crash_with_close_empties_nothing(lab: Lab, start: Start) -> None:
    """The stop before a restart is forgotten; a daemon that was killed was not stopped by anybody's will."""
    daemon = start(more='stop = "close"')
    assert lab.clients.pop3_login(CLIENT)
    wait_for("the map lets it in", lambda: lab.clients.rcpt(CLIENT, LMDB_PORT).accepted)
    assert daemon.stop() == 0
    stopped_long_ago()
    again = start(more='stop = "close"')
    assert again.command("sweep").returncode == 0
    assert lab.clients.rcpt(CLIENT, LMDB_PORT).accepted
    again.stop(signal.SIGKILL)
    assert again.command("sweep").returncode == 0
    assert lab.clients.rcpt(CLIENT, LMDB_PORT).accepted


def test_stopped_for_good_with_keep_empties_nothing(lab: Lab, start: Start) -> None:
    """Windows end at their own time."""
    daemon = start()
    assert lab.clients.pop3_login(CLIENT)
    wait_for("the map lets it in", lambda: lab.clients.rcpt(CLIENT, LMDB_PORT).accepted)
    assert daemon.stop() == 0
    stopped_long_ago()
    assert daemon.command("sweep").returncode == 0
    assert lab.clients.rcpt(CLIENT, LMDB_PORT).accepted


def test_a_store_that_died_with_its_daemon_empties_the_map(lab: Lab, start: Start) -> None:
    """With type = "memory" nobody knows any more whose window is open: in doubt nobody relays."""
    daemon = start(more='[store]\ntype = "memory"')
    assert lab.clients.pop3_login(CLIENT)
    wait_for("the map lets it in", lambda: lab.clients.rcpt(CLIENT, LMDB_PORT).accepted)
    daemon.stop(signal.SIGKILL)
    daemon.command("sweep")
    assert lab.clients.rcpt(CLIENT, LMDB_PORT).code == 554


@pytest.mark.parametrize("unit", sorted(UNITS.glob("*.service")), ids=lambda path: path.name)
def test_a_service_is_exposed_by_1_5_at_most(unit: Path) -> None:
    """systemd-analyze's own figure, from 0 to 10."""
    said = tool("systemd-analyze", "security", "--offline=true", "--no-pager", unit)
    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert exposure is not None, said
    assert 0 < float(exposure[1]) <= 1.5


@pytest.mark.parametrize("unit", sorted([*UNITS.glob("*.service"), *UNITS.glob("*.timer")]), ids=lambda path: path.name)
def test_systemd_finds_no_mistake_in_a_unit(unit: Path) -> None:
    """But that the program is not installed here."""
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=30, check=False
    )
    complaints = [line for line in done.stderr.splitlines() if not re.search(r"is not executable|not-found", line)]
    complaints = [line for line in complaints if "pop-before-smtp" in line]
    assert complaints == []
    assert unit.suffix == ".timer" or "/usr/bin/pop-before-smtp is not executable" in done.stderr  # it was looked at


def test_the_service_may_write_the_log_that_logrotate_turns() -> None:
    """Under ProtectSystem=strict only what the unit names can be written."""
    (log,) = re.findall(r"^(/\S+) \{", (CONTRIB / "logrotate" / "pop-before-smtp").read_text(), re.MULTILINE)
    unit = (UNITS / "pop-before-smtp.service").read_text()
    allowed = [
        path.lstrip("-+") for line in re.findall(r"^ReadWritePaths=(.*)$", unit, re.MULTILINE) for path in line.split()
    ]
    allowed += [
        f"/var/log/{name}" for line in re.findall(r"^LogsDirectory=(.*)$", unit, re.MULTILINE) for name in line.split()
    ]
    assert any(Path(log).is_relative_to(path) for path in allowed)
