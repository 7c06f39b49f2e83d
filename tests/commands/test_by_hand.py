"""``grant``, ``revoke``, ``check``, ``list`` and ``explain``, asked of a daemon that runs."""

import json
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.site import CLIENT, OTHER, Site, in_map, map_section, permitted, wait_for


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Run a daemon with a map, a trail of its decisions, and nobody who may relay."""
    made = Site(tmp_path)
    made.configure(grace=f'"30m"\naudit = "{tmp_path}/audit"', more=map_section(tmp_path / "clients"))
    made.start()
    try:
        made.ready()
        yield made
    finally:
        made.close()
    assert "Traceback" not in (tmp_path / "stderr").read_text()


def order(site: Site, *arguments: str, status: int = 0) -> str:
    """Run a command, and return what it says."""
    done = site.command(arguments[0], "--config", site.config, *arguments[1:])
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_what_is_done_by_hand_is_everywhere_at_once_and_survives_a_crash(site: Site) -> None:
    """Grant, check, list, explain, revoke; killed in between, it is what it was."""
    said = order(site, "grant", CLIENT, "--for", "2h", "--reason", "caf\udce9 \x1b[31m")
    assert said.startswith(f"{CLIENT} may relay until ")
    assert permitted(site.socketmap, CLIENT) is True
    wait_for("the map has it", lambda: in_map(site.folder / "clients.lmdb") == {CLIENT})
    assert "by hand" in order(site, "list")
    explained = order(site, "explain", CLIENT)
    assert f"granted by hand by uid {os.getuid()}: caf\\\\xe9 \\x1b[31m" in explained
    before = site.windows()
    for process in site._started:
        process.send_signal(signal.SIGKILL)
        process.wait()
    site.start()
    site.ready()
    assert site.windows() == before
    assert order(site, "revoke", CLIENT, "--for", "1d", "--reason", "stolen").splitlines()[0] == (
        f"{CLIENT} may no longer relay"
    )
    for process in site._started:
        process.send_signal(signal.SIGKILL)
        process.wait()
    site.start()
    site.ready()
    assert permitted(site.socketmap, CLIENT) is False
    assert in_map(site.folder / "clients.lmdb") == set()
    site.login(CLIENT)
    site.login(OTHER)
    wait_for("another may relay", lambda: OTHER in site.windows())
    assert CLIENT not in site.windows()
    assert "FAILS   revoked by hand" in order(site, "explain", CLIENT, status=1)
    order(site, "check", CLIENT, status=1)
    assert "logins from there still open nothing" in order(site, "grant", CLIENT)
    order(site, "check", CLIENT)
    trail = [json.loads(line) for line in (site.folder / "audit").read_text().splitlines()]
    assert [each["event"] for each in trail].count("grant") == 3
    assert {each["uid"] for each in trail if "uid" in each} == {os.getuid()}


def test_a_revocation_that_a_crash_cut_short_is_carried_out_and_leaves_other_accounts_alone(site: Site) -> None:
    """The tombstone is in the store, the windows are too: by the sweep, the next start, and the one after that."""
    for client, user in ((CLIENT, "alice"), (CLIENT, "bob"), (OTHER, "alice")):
        site.login(client, user=user)
    wait_for("all are kept", lambda: len(rows(site)) == 3)
    kill(site)
    now = time.time_ns() // 1000
    with sqlite3.connect(site.store) as database:
        database.execute("INSERT INTO tombstones VALUES ('user', CAST('alice' AS BLOB), ?, ?, 0, '')", (now, now))
    database.close()
    order(site, "sweep")
    assert in_map(site.folder / "clients.lmdb") == {CLIENT}
    for _ in range(2):
        site.start()
        site.ready()
        assert [each["user"] for each in json.loads(order(site, "list", "--json"))] == ["bob"]
        assert (permitted(site.socketmap, CLIENT), permitted(site.socketmap, OTHER)) == (True, False)
        wait_for("it is written", lambda: rows(site) == {(CLIENT, b"bob")})
        kill(site)


def test_a_sweep_lets_nobody_in_who_lies_in_a_never_network(site: Site) -> None:
    """Also where the daemon was dead when it came to be one."""
    for client in (CLIENT, OTHER):
        site.login(client)
    wait_for("the map has both", lambda: in_map(site.folder / "clients.lmdb") == {CLIENT, OTHER})
    wait_for("the store has both", lambda: len(rows(site)) == 2)
    kill(site)
    site.configure(never=f'["{OTHER}"]', more=map_section(site.folder / "clients"))
    order(site, "sweep")
    assert in_map(site.folder / "clients.lmdb") == {CLIENT}


def rows(site: Site) -> set[tuple[str, bytes]]:
    """Return whose authorizations are in the store."""
    with sqlite3.connect(site.store) as database:
        found = set(database.execute("SELECT client, user FROM authorizations"))
    database.close()
    return found


def kill(site: Site) -> None:
    """End the daemon as a crash does."""
    for process in site._started:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_an_account_or_everybody_is_revoked(site: Site) -> None:
    """Each with a word on who is out."""
    site.login(CLIENT, user="alice")
    site.login(OTHER, user="bob")
    wait_for("both may relay", lambda: set(site.windows()) == {CLIENT, OTHER})
    assert order(site, "revoke", "--user", "ALICE") == f"{CLIENT} may no longer relay\n"
    assert order(site, "revoke", "--user", "carol\x1b", "--for", "1h").startswith(
        "no window was open; logins of before count no more all the same\nlogins of carol\\x1b open nothing until "
    )
    assert json.loads(order(site, "revoke", "--all", "--json")) == {"ended": [OTHER], "until": None}
    assert site.windows() == {}


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["grant", "host.example"], 64, "'host.example' is no IPv4 or IPv6 address"),
        (["grant", CLIENT, "--for", "long"], 64, "'long' is no duration; write a number and a unit, as in 2h"),
        (["grant", CLIENT, "--for", "0m"], 64, "'0m' is no duration"),
        (["grant", CLIENT, "--for", "999999999d"], 64, "'999999999d' is too long; 65535m is the longest"),
        (["grant", CLIENT, "--for", "46d"], 65, "65535 minutes (45 days) from now are the most; name an earlier time"),
        (["grant", CLIENT, "--until", "2020-01-01"], 64, "'2020-01-01' has passed; write a time to come"),
        (["grant", CLIENT, "--until", "noon\x1b"], 64, "'noon\\x1b' is no time"),
        (["grant", CLIENT, "--for", "1h", "--until", "2100-01-01"], 64, "not allowed with argument"),
        (["grant", "127.0.0.1"], 65, "127.0.0.1 cannot be authorized: never-authorized network"),
        (["revoke"], 64, "one of the arguments ADDRESS --user --all is required"),
        (["revoke", CLIENT, "--all"], 64, "not allowed with argument"),
        (["revoke", "--user", ""], 65, "that is no account's name"),
        (["explain"], 64, "the following arguments are required: ADDRESS|ACCOUNT"),
    ],
)
def test_a_mistake_is_one_sentence(site: Site, arguments: list[str], status: int, sentence: str) -> None:
    """With its status, and nothing is done."""
    said = order(site, *arguments, status=status)
    assert said.count("\n") == 1
    assert sentence in said
    assert site.windows() == {}


@pytest.mark.parametrize("arguments", [["grant", CLIENT], ["revoke", "--all"], ["explain", CLIENT]])
def test_without_a_daemon_nothing_can_be_done(tmp_path: Path, arguments: list[str]) -> None:
    """And a sentence says what to do."""
    site = Site(tmp_path)
    assert "no daemon is running; start it first" in order(site, *arguments, status=69)
