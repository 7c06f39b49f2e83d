"""SIGHUP: the daemon builds all that is new and swaps it in, or keeps what it has and says why. No window changes."""

import signal
import socket
import subprocess
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import pytest

from tests.reloading import KEPT, THIRD, Running, open_files
from tests.site import CLIENT, OTHER, busy_socket, in_map, map_section, permitted, state, wait_for


def seconds_between(earlier: str, later: str) -> float:
    """Return the time between two ends of windows."""
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


def test_another_grace_counts_for_later_logins_only(running: Running) -> None:
    """A window that is open keeps its end to the microsecond, whether grace grew or shrank."""
    running.granted(CLIENT)
    before = running.site.windows()[CLIENT]
    running.reload(grace='"2h"')
    assert running.site.windows() == {CLIENT: before}
    running.granted(OTHER)
    windows = running.site.windows()
    assert windows[CLIENT] == before
    assert 5400 <= seconds_between(before, windows[OTHER]) < 5460
    running.reload(grace='"1m"')
    assert running.site.windows() == windows
    running.granted(THIRD)
    assert -1740 <= seconds_between(before, running.site.windows()[THIRD]) < -1680


@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [
        ("grace", '"long"', "{config}:1: grace: 'long' is no duration"),
        ("grace", "", "{config}:1: is no TOML: "),
        ("source", '"{folder}/other.log"\nformat = "none"', "{config}:11: [source] format: file has no such setting"),
        ("never", '["192.0.2.1/24"]', "{config}:7: [rules] never: '192.0.2.1/24' is no network"),
        ("listen", '"unix:relative"', "is no socket"),
        ("log", '"{folder}/none/daemon.log"', "cannot be written: No such file or directory"),
        ("log", '"{folder}/a\\u0000b"', "control character"),
        ("listen", '"unix:{folder}/a\\u0000b"', "control character"),
        (
            "more",
            '[[mta]]\ntype = "postfix"\nmap = "lmdb:{folder}/mail.log/clients"\nreload = "never"',
            "cannot be made",
        ),
        ("more", '[[mta]]\ntype = "postfix"\nmap = "none:/x"\nreload = "never"', "maps of these types can be written"),
    ],
    ids=[
        "value",
        "toml",
        "setting",
        "network",
        "socket",
        "log",
        "NUL in log",
        "NUL in socket",
        "map in no folder",
        "map",
    ],
)
def test_a_configuration_that_cannot_be_used_changes_nothing(
    running: Running, setting: str, value: str, sentence: str
) -> None:
    """One line says why; the daemon answers as before, grants as before, and reads the next good configuration."""
    running.granted(CLIENT)
    folder, config = str(running.site.folder), str(running.site.config)
    running.kept(sentence.replace("{config}", config), **{setting: value.replace("{folder}", folder)})
    running.granted(OTHER)
    running.reload(grace='"2h"')
    assert set(running.site.windows()) == {CLIENT, OTHER}


@pytest.mark.parametrize(
    ("setting", "value"),
    [("store", '"{folder}/other.sqlite"'), ("control", '"{folder}/other"')],
    ids=["store", "control"],
)
def test_another_store_or_control_socket_needs_a_restart(running: Running, setting: str, value: str) -> None:
    """A sentence says so, and nothing else that changed beside it is taken."""
    running.granted(CLIENT)
    value = value.replace("{folder}", str(running.site.folder))
    running.kept("cannot change while the daemon runs; restart it", **{setting: value, "never": f'["{CLIENT}/32"]'})
    assert permitted(running.site.socketmap, CLIENT) is True
    assert not (running.site.folder / "other.sqlite").exists()


def test_a_configuration_that_is_gone_changes_nothing(running: Running) -> None:
    """It was named, so it must be there."""
    running.granted(CLIENT)
    running.site.config.unlink()
    running.kept("there is no such file")


def test_a_daemon_that_tells_nobody_is_not_well(running: Running) -> None:
    """Its logins open nothing; `status` says so, and only then."""
    site = running.site
    assert (state(site) or {})["warnings"] == []
    site.configure()
    text = site.config.read_text()
    site.config.write_text(text.partition("[[lookup]]")[0].replace("mta = []", "mta = []\nlookup = []"))
    running.reload()
    (warning,) = (state(site) or {})["warnings"]
    assert warning.startswith("no mail server is told who may relay; `pop-before-smtp init` writes")


def test_a_new_lookup_answers_and_the_old_one_is_gone(running: Running) -> None:
    """With its socket file, and with the connections that were open to it."""
    running.granted(CLIENT)
    new = running.site.folder / "new"
    with socket.socket(socket.AF_UNIX) as old:
        old.settimeout(10)
        old.connect(str(running.site.socketmap))
        old.sendall(b"18:clients 192.0.2.10,")
        assert old.recv(100) == b"5:OK OK,"
        running.reload(listen=f'"unix:{new}"')
        with suppress(ConnectionResetError):
            assert old.recv(100) == b""
    assert permitted(new, CLIENT) is True
    assert not running.site.socketmap.exists()


def test_a_lookup_with_another_result_takes_the_place_of_the_old_one(running: Running) -> None:
    """At the same socket."""
    running.granted(CLIENT)
    running.reload(listen=f'"unix:{running.site.socketmap}"\nresult = "permit"')
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(running.site.socketmap))
        connection.sendall(b"18:clients 192.0.2.10,")
        assert connection.recv(100) == b"9:OK permit,"


def test_a_lookup_that_cannot_listen_leaves_the_old_one_answering(running: Running) -> None:
    """At its own socket, and the map that came with the new configuration is not begun either."""
    running.granted(CLIENT)
    clients = running.site.folder / "clients"
    with busy_socket(running.site.folder / "busy"):
        running.kept("is in use", listen=f'"unix:{running.site.folder}/busy"', more=map_section(clients))
    running.granted(OTHER)
    assert permitted(running.site.socketmap, OTHER) is True
    assert in_map(clients.with_suffix(".lmdb")) == set()
    status = state(running.site)
    assert status is not None
    assert (status["maps"], len(status["lookups"])) == ([], 1)


def test_a_new_never_network_revokes_a_client_inside_it(running: Running) -> None:
    """At once, in the map and for good; a client outside it keeps its window."""
    clients = running.site.folder / "clients"
    running.reload(more=map_section(clients))
    running.granted(CLIENT)
    running.granted("203.0.113.7")
    kept = running.site.windows()["203.0.113.7"]
    wait_for("the map has both", lambda: in_map(clients.with_suffix(".lmdb")) == {CLIENT, "203.0.113.7"})
    said = running.reload(more=map_section(clients), never='["192.0.2.0/24"]')
    assert f"revoked client={CLIENT} " in said
    assert permitted(running.site.socketmap, CLIENT) is False
    assert running.site.windows() == {"203.0.113.7": kept}
    wait_for("the map has one", lambda: in_map(clients.with_suffix(".lmdb")) == {"203.0.113.7"})
    running.reload(more=map_section(clients), never="[]")
    assert permitted(running.site.socketmap, CLIENT) is False


def test_a_new_map_is_true_at_once_and_hears_of_later_logins(running: Running) -> None:
    """It holds who may relay already."""
    clients = running.site.folder / "clients"
    running.granted(CLIENT)
    running.reload(more=map_section(clients))
    assert in_map(clients.with_suffix(".lmdb")) == {CLIENT}
    running.granted(OTHER)
    wait_for("the map has both", lambda: in_map(clients.with_suffix(".lmdb")) == {CLIENT, OTHER})


def test_a_removed_map_is_emptied(running: Running) -> None:
    """Nobody would take anybody out of it any more; and nobody is put into it again."""
    site, clients = running.site, running.site.folder / "clients"
    running.reload(more=map_section(clients))
    running.granted(CLIENT)
    wait_for("the map has it", lambda: in_map(clients.with_suffix(".lmdb")) == {CLIENT})
    running.reload(more="")
    wait_for("the map is empty", lambda: in_map(clients.with_suffix(".lmdb")) == set())
    assert permitted(site.socketmap, CLIENT) is True
    running.granted(OTHER)
    assert in_map(clients.with_suffix(".lmdb")) == set()
    assert str(clients.with_suffix(".lmdb")) not in open_files(running.process.pid)


def test_a_removed_map_that_cannot_be_emptied_is_not_forgotten(running: Running) -> None:
    """Its clients would relay for ever, for no sweep knows it any more: it is emptied later, or all stays as it was."""
    path = running.site.folder / "maps" / "clients.lmdb"
    path.parent.mkdir()
    running.reload(more=map_section(path.with_suffix("")))
    running.granted(CLIENT)
    wait_for("the map has it", lambda: in_map(path) == {CLIENT})
    aside = path.rename(running.site.folder / "aside")
    path.mkdir()
    before = len(running.said())
    running.site.configure()
    running.process.send_signal(signal.SIGHUP)
    wait_for("the signal is obeyed", lambda: KEPT in running.said()[before:] or "reloaded" in running.said()[before:])
    path.rmdir()
    aside.rename(path)
    wait_for("the map is empty", lambda: KEPT in running.said()[before:] or in_map(path) == set())


def test_a_map_with_another_result_keeps_its_clients(running: Running) -> None:
    """The map is the same, only set otherwise: it is not emptied, not made anew, and goes on to be kept true."""
    path = (running.site.folder / "clients").with_suffix(".lmdb")
    running.reload(more=map_section(path.with_suffix("")))
    running.granted(CLIENT)
    wait_for("the map has it", lambda: in_map(path) == {CLIENT})
    inode = path.stat().st_ino
    running.reload(more=map_section(path.with_suffix(""), result="permit"))
    assert in_map(path) == {CLIENT}
    running.granted(OTHER)
    wait_for("the map has both", lambda: in_map(path) == {CLIENT, OTHER})
    read = "import lmdb, sys; print({bytes(value) for _, value in lmdb.open(sys.argv[1], subdir=False, lock=False, "
    read += "readonly=True).begin().cursor()})"
    values = subprocess.run([sys.executable, "-c", read, str(path)], capture_output=True, text=True, check=True).stdout
    assert values == "{b'permit\\x00'}\n"
    assert path.stat().st_ino == inode


def test_the_log_file_is_opened_anew(running: Running) -> None:
    """Moved away, as logrotate does it: what is said after SIGHUP stands in the new file, with the same mode."""
    log = running.site.said_to
    rotated = log.with_name("daemon.log.1")
    log.rename(rotated)
    running.reload()
    running.granted(CLIENT)
    assert f"granted client={CLIENT} " in log.read_text()
    assert f"granted client={CLIENT} " not in rotated.read_text()
    assert log.stat().st_mode & 0o777 == 0o640
    assert str(rotated) not in open_files(running.process.pid)


def test_a_log_on_a_full_disk_does_not_end_the_daemon(running: Running) -> None:
    """Neither what cannot be said, nor the signal that comes with the new log file."""
    running.site.configure(log='"/dev/full"')
    running.process.send_signal(signal.SIGHUP)
    wait_for("the full disk is used", lambda: "/dev/full" in open_files(running.process.pid))
    running.granted(CLIENT)
    before = running.site.windows()
    running.reload(log=f'"{running.site.said_to}"')
    assert running.site.windows() == before


def test_many_signals_at_once_are_one(running: Running) -> None:
    """Twenty SIGHUPs in a row leave one daemon with what the last configuration says, and nothing open twice."""
    running.granted(CLIENT)
    before = running.site.windows()
    running.reload()
    files = len(list((Path("/proc") / str(running.process.pid) / "fd").iterdir()))
    running.site.configure(grace='"1h"')
    for _ in range(20):
        running.process.send_signal(signal.SIGHUP)
    running.reload()
    assert running.site.windows() == before
    # A thread may hold one for a moment.
    folder = Path("/proc") / str(running.process.pid) / "fd"
    wait_for("nothing is open twice", lambda: len(list(folder.iterdir())) == files)
    running.granted(OTHER)
    assert 1790 < seconds_between(before[CLIENT], running.site.windows()[OTHER]) < 1860
