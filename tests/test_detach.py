"""``run --daemon PIDFILE`` as a process: it returns when the daemon answers, or says why not and leaves nothing."""

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.site import (
    CLIENT,
    OTHER,
    Held,
    Site,
    busy_socket,
    in_map,
    map_section,
    permitted,
    python_for_all,
    state,
    wait_for,
)
from tests.site import ROOT as ROOT  # tests/end_to_end/test_system.py takes it from here


@pytest.fixture
def open_site() -> Iterator[Site]:
    """Make a folder of root's with one folder inside that nobody may write to, and a daemon's things in that one."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    outer = Path("/tmp") / f"test-detach-{os.getpid()}"
    inner = outer / "nobody"
    inner.mkdir(parents=True)
    shutil.chown(inner, "nobody")
    made = Site(inner)
    made.pid_file = outer / "pid"
    made.python = python_for_all()
    made.config.chmod(0o644)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(outer)


def test_it_returns_0_only_when_the_sockets_answer(site: Site) -> None:
    """While a map is not yet true it waits; when it returns, the first question is answered."""
    held = Held(site.folder / "clients")
    site.configure(more=map_section(site.folder / "clients"))
    parent = subprocess.Popen(
        [sys.executable, "-m", "popbeforesmtp", "run", "--daemon", site.pid_file, "--config", site.config],
        env=site.environ(),
    )
    wait_for("the daemon waits for the map", lambda: (state(site) or {}).get("state") == "starting")
    assert parent.poll() is None
    assert permitted(site.socketmap, CLIENT) is None
    held.release()
    assert parent.wait(timeout=10) == 0
    assert permitted(site.socketmap, CLIENT) is False
    assert in_map(held.path) == set()


def test_the_pid_file_names_the_daemon(site: Site) -> None:
    """One number and a newline, for everybody to read; the process is the one that answers, in a session of its own."""
    detached = site.detach()
    assert (detached.returncode, detached.stdout, detached.stderr) == (0, "", "")
    status = state(site)
    assert status is not None
    assert site.pid_file.read_text() == f"{status['pid']}\n"
    assert stat.S_IMODE(site.pid_file.stat().st_mode) == 0o644
    assert os.getsid(site.pid()) not in (os.getsid(0), site.pid())
    assert site.processes() == {site.pid()}


@pytest.mark.parametrize(
    ("setting", "value", "status", "sentence"),
    [
        ("grace", '"long"', 78, "{config}:1: grace: 'long' is no duration"),
        (
            "store",
            '"{folder}/mail.log/state.sqlite"',
            73,
            "{config}:11: [store]: {folder}/mail.log/state.sqlite: cannot",
        ),
        ("store", '"{folder}/mail.log"', 74, "{config}:11: [store]: {folder}/mail.log: file is not a database"),
        ("listen", '"unix:{folder}/busy"', 69, "unix:{folder}/busy: is in use"),
        ("listen", '"unix:{folder}/mail.log/map"', 73, "unix:{folder}/mail.log/map: cannot listen: "),
        ("control", '"{folder}/busy"', 69, "unix:{folder}/busy: is in use"),
        ("log", '"{folder}/none/daemon.log"', 73, 'log = "{folder}/none/daemon.log": cannot be written: '),
    ],
    ids=["setting", "store in no folder", "store of others", "busy socketmap", "no socket", "busy control", "log"],
)
def test_an_error_before_readiness_reaches_the_terminal(
    site: Site, setting: str, value: str, status: int, sentence: str
) -> None:
    """One sentence and its exit status; no pid file, no socket and no process are left."""
    site.log.write_text("this is a log\n" * 100)
    site.configure(**{setting: value.replace("{folder}", str(site.folder))})
    with busy_socket(site.folder / "busy"):
        detached = site.detach()
    said = sentence.replace("{config}", str(site.config)).replace("{folder}", str(site.folder))
    assert detached.stderr.startswith(f"pop-before-smtp: {said}")
    assert detached.stderr.count("\n") == 1
    assert (detached.returncode, detached.stdout) == (status, "")
    assert not site.pid_file.exists()
    assert not site.control.exists()
    wait_for("no process is left", lambda: not site.processes(), 3)


def test_a_daemon_that_is_killed_while_it_starts_is_said(site: Site) -> None:
    """The terminal does not wait for ever, and does not call it a success."""
    held = Held(site.folder / "clients")
    site.configure(more=map_section(site.folder / "clients"))
    parent = subprocess.Popen(
        [sys.executable, "-m", "popbeforesmtp", "run", "--daemon", site.pid_file, "--config", site.config],
        env=site.environ(),
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for("the daemon waits for the map", lambda: (state(site) or {}).get("state") == "starting")
    os.kill(site.pid(), signal.SIGKILL)
    _, said = parent.communicate(timeout=10)
    held.release()
    assert parent.returncode == os.EX_SOFTWARE
    assert said == "pop-before-smtp: the daemon died while it started\n"


@pytest.mark.parametrize("left", ["{dead}\n", "{dead}", "", "0123456789" * 5 + "\n", "{alive}\n"])
def test_a_stale_pid_file_is_taken_over(site: Site, left: str) -> None:
    """Whatever it holds, and though another program has that process id by now: nobody holds its lock."""
    dead = subprocess.Popen(["true"])
    dead.wait()
    site.pid_file.write_text(left.format(dead=dead.pid, alive=os.getpid()))
    site.pid_file.chmod(0o600)
    assert site.detach().returncode == 0
    assert site.pid_file.read_text() == f"{site.pid()}\n"
    assert site.processes() == {site.pid()}
    assert stat.S_IMODE(site.pid_file.stat().st_mode) == 0o644


@pytest.mark.parametrize("same", ["pid file", "control socket", "store"])
def test_a_second_daemon_is_refused_and_harms_nothing(site: Site, same: str) -> None:
    """Whatever it has in common with the first: status 69, one sentence, and the first one goes on."""
    assert site.detach().returncode == 0
    first = site.pid()
    site.login(CLIENT)
    wait_for("the login is granted", lambda: permitted(site.socketmap, CLIENT))
    other = Site(site.folder)
    other.config = site.folder / "other.toml"
    other.pid_file = site.pid_file if same == "pid file" else site.folder / "other.pid"
    other.configure(
        control=f'"{site.folder}/{"control" if same == "control socket" else "other.control"}"',
        store=f'"{site.folder}/{"state.sqlite" if same == "store" else "other.sqlite"}"',
        listen=f'"unix:{site.folder}/other.map"',
        log=f'"{site.folder}/other.log"',
    )
    second = other.detach()
    assert second.returncode == os.EX_UNAVAILABLE
    assert second.stderr.startswith("pop-before-smtp: ")
    assert second.stderr.count("\n") == 1
    named = {"pid file": site.pid_file, "control socket": site.control, "store": site.store}[same]
    assert str(named) in second.stderr
    assert site.pid_file.read_text() == f"{first}\n"
    assert same == "pid file" or not other.pid_file.exists()
    assert not (site.folder / "other.map").exists()
    assert not (site.folder / "other.control").exists()
    assert site.processes() == {first}
    site.login(OTHER)
    wait_for("the first one goes on", lambda: permitted(site.socketmap, OTHER))
    assert set(site.windows()) == {CLIENT, OTHER}


def test_sigterm_ends_it_and_leaves_no_pid_file_and_no_sockets(site: Site) -> None:
    """Within two seconds; a client that was granted is kept for the next start."""
    assert site.detach().returncode == 0
    pid = site.pid()
    site.login(CLIENT)
    wait_for("the login is granted", lambda: permitted(site.socketmap, CLIENT))
    assert site.control.is_socket()
    os.kill(pid, signal.SIGTERM)
    wait_for("the process is gone", lambda: not site.processes(), 2)
    assert not any(path.exists() for path in (site.pid_file, site.control, site.socketmap))
    assert site.detach().returncode == 0
    assert permitted(site.socketmap, CLIENT) is True


def test_no_file_is_for_everybody_that_need_not_be(site: Site) -> None:
    """Whatever umask the terminal had: the log 0640, the store 0600, sockets 0660, the map and the pid file 0644."""
    site.configure(more=map_section(site.folder / "clients"))
    (site.folder / "stderr").unlink(missing_ok=True)
    before = set(site.folder.iterdir())
    assert site.detach(umask=0).returncode == 0
    site.login(CLIENT)
    wait_for("the store is written", lambda: CLIENT in site.windows() and (site.folder / "state.sqlite-wal").exists())
    made = {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in set(site.folder.iterdir()) - before}
    assert made == {
        "daemon.log": "0o640",
        "state.sqlite": "0o600",
        "state.sqlite-wal": "0o600",
        "state.sqlite-shm": "0o600",
        "state.sqlite.lock": "0o600",
        "control": "0o660",
        "map": "0o660",
        "pid": "0o644",
        "clients.lmdb": "0o644",
        ".clients.lmdb.nobody": "0o644",
    }


def test_a_symbolic_link_in_the_pid_files_place_is_refused(site: Site) -> None:
    """What it points to is not touched."""
    victim = site.folder / "victim"
    victim.write_text("precious\n")
    victim.chmod(0o600)
    site.pid_file.symlink_to(victim)
    detached = site.detach()
    assert detached.returncode in (os.EX_CANTCREAT, os.EX_NOPERM)
    assert detached.stderr.startswith(f"pop-before-smtp: {site.pid_file}: ")
    assert detached.stderr.count("\n") == 1
    assert victim.read_text() == "precious\n"
    assert stat.S_IMODE(victim.stat().st_mode) == 0o600
    assert site.pid_file.is_symlink()
    wait_for("no process is left", lambda: not site.processes(), 3)


def test_nothing_of_the_terminal_is_kept_open(site: Site) -> None:
    """Standard streams are /dev/null, other descriptors are closed, and it stands in the root folder."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as inherited:
        parent = subprocess.Popen(
            [sys.executable, "-m", "popbeforesmtp", "run", "--daemon", site.pid_file, "--config", site.config],
            env=site.environ(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[writer],
        )
        os.close(writer)
        assert parent.communicate(timeout=10) == (b"", b"")  # ends with the last writer of these pipes
        assert parent.returncode == 0
        os.set_blocking(reader, False)
        assert inherited.read() == b""
    process = Path("/proc") / str(site.pid())
    assert [str((process / "fd" / str(number)).readlink()) for number in range(3)] == ["/dev/null"] * 3
    assert (process / "cwd").readlink() == Path("/")


def test_a_configuration_named_from_where_one_stood_is_found_again_at_sighup(site: Site) -> None:
    """The daemon has left that folder, but it knows which file was meant."""
    assert site.command("run", "--daemon", "pid", "--config", site.config.name).returncode == 0
    os.kill(site.pid(), signal.SIGHUP)
    wait_for("the configuration is read again", lambda: "reloaded" in site.said(), 3)


def test_a_log_named_from_where_one_stood_is_written_there(site: Site) -> None:
    """Or refused in a sentence; never written to the root of the file system."""
    stray = Path("/") / f"test-detach-{os.getpid()}.log"
    detached = site.detach("--log", stray.name)
    written = stray.exists()
    stray.unlink(missing_ok=True)
    assert not written
    assert (site.folder / stray.name).exists() if detached.returncode == 0 else detached.stderr.count("\n") == 1


def test_as_another_user_an_error_is_still_its_own_sentence(open_site: Site) -> None:
    """Though the pid file lies where only root may remove it."""
    open_site.configure(listen=f'"unix:{open_site.folder}/busy"')
    open_site.config.chmod(0o644)
    with busy_socket(open_site.folder / "busy"):
        (open_site.folder / "busy").chmod(0o666)
        detached = open_site.detach("--user", "nobody")
    assert detached.stderr.startswith(f"pop-before-smtp: unix:{open_site.folder}/busy: is in use")
    assert detached.returncode == os.EX_UNAVAILABLE
    wait_for("no process is left", lambda: not open_site.processes(), 3)


def test_as_another_user_it_ends_and_its_pid_file_names_no_dead_process(open_site: Site) -> None:
    """The pid file is removed, or says nothing any more; the next start is not hindered by it."""
    detached = open_site.detach("--user", "nobody")
    assert (detached.returncode, detached.stderr) == (0, "")
    pid = open_site.pid()
    status = (Path("/proc") / str(pid) / "status").read_text()
    assert status.partition("Uid:")[2].split()[:4] == [str(pwd.getpwnam("nobody").pw_uid)] * 4
    os.kill(pid, signal.SIGTERM)
    wait_for("the process is gone", lambda: not open_site.processes(), 2)
    assert not open_site.pid_file.exists() or not open_site.pid_file.read_text().strip()
    assert open_site.detach("--user", "nobody").returncode == 0
