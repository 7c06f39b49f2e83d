"""What a running daemon tells of the blocked, and who lets them out when it does not run."""

import json
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.site import CLIENT, OTHER, ROOT, Site, permitted, wait_for

WRITE_LIST = ROOT / "contrib" / "command" / "write-list"
BAD6 = "2001:db8:1:2::66"
BLOCK = '[block]\nafter = 3\nwithin = "1m"\nfor = "1h"\nlist = ["{program}", "{folder}/{name}"]'


class Guarded(Site):
    """A daemon that blocks after three failures, and a program that writes a file of who is blocked."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.configure(more=self.block())
        self.process = self.start()
        self.ready()

    def block(self, name: str = "blocked", program: Path = WRITE_LIST) -> str:
        """Write the table, with the file that the program writes."""
        return BLOCK.format(program=program, folder=self.folder, name=name)

    def fail(self, client: str = OTHER, times: int = 3, *, ago: float = 0.0) -> None:
        """Write failed logins, so many seconds old, into the log, as Dovecot does."""
        stamp = (datetime.now(UTC) - timedelta(seconds=ago)).isoformat()
        with self.log.open("a") as log:
            for _ in range(times):
                log.write(
                    f"{stamp} mx1 dovecot: imap-login: Disconnected (auth failed, 1 attempts in"
                    f" 2 secs): user=<bob>, method=PLAIN, rip={client}, lip=198.51.100.1, session=<abc>\n"
                )

    def blocked(self, name: str = "blocked") -> list[str]:
        """Return who is in the program's file."""
        return (self.folder / name).read_text().split()

    def waits_for(self, *clients: str, name: str = "blocked") -> None:
        """Wait until these and no others are in the program's file."""
        wait_for(f"{clients} in {name}", lambda: self.blocked(name) == list(clients))

    def reload(self, more: str, expected: str = "reloaded", **changes: str) -> None:
        """Write another configuration and have it read."""
        self.configure(more=more, **changes)
        before = len(self.said_to.read_text())
        self.process.send_signal(signal.SIGHUP)
        wait_for(expected, lambda: expected in self.said_to.read_text()[before:])

    def end(self, number: signal.Signals) -> None:
        """End the daemon."""
        self.process.send_signal(number)
        self.process.wait(timeout=15)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Guarded]:
    """Start a daemon."""
    site = Guarded(tmp_path)
    try:
        yield site
    finally:
        site.close()
    assert "Traceback" not in (tmp_path / "stderr").read_text()


def test_the_blocked_are_told_and_said(site: Guarded) -> None:
    """To the program, in the log, by ``status`` and ``explain``; none of them may relay, and none is kept."""
    assert site.blocked() == []
    site.login(CLIENT)
    site.fail(times=2)
    site.fail(BAD6)
    site.waits_for("2001:db8:1:2::/64")
    site.fail(times=1)
    site.waits_for(OTHER, "2001:db8:1:2::/64")
    assert f"blocked client={OTHER} failures=3 until=" in site.said_to.read_text()
    assert set(site.windows()) == {CLIENT}
    assert permitted(site.socketmap, OTHER) is False
    status = json.loads(site.command("status", "--config", site.config, "--json").stdout)
    assert status["block"] == {"blocked": 2, "name": f"{WRITE_LIST} {site.folder}/blocked", "trouble": None}
    assert status["counts"]["blocked"] == 2
    assert f"2 addresses; {WRITE_LIST}" in site.command("status", "--config", site.config).stdout
    assert "blocked until 20" in site.command("explain", "--config", site.config, OTHER).stdout
    assert "not blocked" in site.command("explain", "--config", site.config, CLIENT).stdout


def test_a_block_ends_by_itself(site: Guarded) -> None:
    """With or without traffic, an hour after the last failure."""
    site.login(CLIENT)  # of a log that begins with old lines these are passed by
    wait_for("it may relay", lambda: CLIENT in site.windows())
    site.fail(ago=3600 - 5)
    site.waits_for(OTHER)
    site.waits_for()
    assert f"unblocked client={OTHER} reason=expired" in site.said_to.read_text()


def test_who_logs_in_or_is_granted_by_hand_is_let_out(site: Guarded) -> None:
    """Each by itself."""
    site.fail()
    site.fail(BAD6)
    site.waits_for(OTHER, "2001:db8:1:2::/64")
    site.login(OTHER)
    site.waits_for("2001:db8:1:2::/64")
    assert site.command("grant", "--config", site.config, BAD6).returncode == 0
    site.waits_for()
    assert f'unblocked client={OTHER} reason="logged in"' in site.said_to.read_text()


def test_who_logged_in_before_is_not_blocked(site: Guarded) -> None:
    """Somebody else there has a wrong password."""
    site.login(OTHER)
    site.fail(times=10)
    site.fail(CLIENT)
    site.waits_for(CLIENT)
    assert set(site.windows()) == {OTHER}


def test_a_stopped_daemon_blocks_nobody(site: Guarded) -> None:
    """A restart forgets, so nobody would ever let them out."""
    site.fail()
    site.waits_for(OTHER)
    site.end(signal.SIGTERM)
    assert site.blocked() == []


@pytest.mark.parametrize("store", ["sound", "unreadable"])
def test_a_dead_daemon_blocks_nobody(site: Guarded, store: str) -> None:
    """The sweep lets everybody out, and who may relay is not told to the program as blocked."""
    site.login(CLIENT)
    wait_for("it may relay", lambda: CLIENT in site.windows())
    site.fail()
    site.waits_for(OTHER)
    wait_for("that is kept", lambda: _has_read_all(site))
    site.end(signal.SIGKILL)
    assert site.blocked() == [OTHER]
    if store == "unreadable":
        site.store.write_bytes(b"no database")
    assert site.command("sweep", "--config", site.config).returncode == 0
    assert site.blocked() == []


def test_a_killed_daemon_that_is_started_again_begins_with_nobody(site: Guarded) -> None:
    """The failures of before were read, and are not read again."""
    site.fail()
    site.waits_for(OTHER)
    wait_for("it is kept how far was read", lambda: _has_read_all(site))
    site.end(signal.SIGKILL)
    site.process = site.start()
    site.ready()
    assert site.blocked() == []
    site.fail(times=2)
    site.fail(CLIENT)
    site.waits_for(CLIENT)


def test_the_first_start_blocks_whom_the_log_tells_of(site: Guarded) -> None:
    """What the log holds of the time that matters is read before anything else."""
    site.fail()
    site.waits_for(OTHER)
    site.end(signal.SIGTERM)
    for path in site.folder.glob(f"{site.store.name}*"):
        path.unlink()
    site.process = site.start()
    site.ready()
    assert site.blocked() == [OTHER]


def test_blocking_comes_and_goes_with_the_configuration(site: Guarded) -> None:
    """Another program is told of all who are blocked, and the old one of nobody."""
    site.fail()
    site.waits_for(OTHER)
    site.reload(site.block("others"))
    assert (site.blocked(), site.blocked("others")) == ([], [OTHER])
    site.reload("")
    assert site.blocked("others") == []
    site.fail(CLIENT)
    site.reload(site.block())
    assert site.blocked() == []
    site.fail()
    site.waits_for(OTHER)


def test_a_program_that_cannot_let_out_is_not_forgotten(site: Guarded) -> None:
    """It would block for ever: the configuration stays as it was."""
    program = site.folder / "fails"
    program.write_text('#!/bin/sh\nread -r client && echo "$client" >"$1" || [ ! -s "$1" ]\n')
    program.chmod(0o755)
    (site.folder / "others").touch()
    site.reload(site.block("others", program))
    site.fail()
    site.waits_for(OTHER, name="others")
    site.reload("", "everything stays as it was: ")
    status = json.loads(site.command("status", "--config", site.config, "--json").stdout)
    assert status["block"]["blocked"] == 1


def test_a_reload_that_fails_leaves_the_blocked_blocked(site: Guarded) -> None:
    """Also where the program was told of nobody any more already."""
    site.fail()
    site.waits_for(OTHER)
    site.reload("", "everything stays as it was: ", log=f'"{site.folder}/none/daemon.log"')
    site.waits_for(OTHER)


def test_a_program_that_keeps_ends_hears_of_a_later_one(site: Guarded) -> None:
    """More failures move the end; nobody comes or goes."""
    program = site.folder / "tell"
    program.write_text('#!/bin/sh\necho "$*" >>"${0%/*}/told"\n')
    program.chmod(0o755)
    words = {"grant": ["in", "{address}", "{family}", "{until}"], "expire": ["out", "{address}"], "clear": ["none"]}
    more = "".join(f"{key} = {json.dumps([str(program), *arguments])}\n" for key, arguments in words.items())
    site.reload(f'[block]\nafter = 3\nfor = "1h"\n{more}')
    site.login(CLIENT)  # of a log that begins with old lines these are passed by
    wait_for("it may relay", lambda: CLIENT in site.windows())
    site.fail(BAD6, ago=1800)
    wait_for("it is told", lambda: len(_lines(site)) == 2)
    site.fail(BAD6)
    wait_for("it is told again", lambda: len(_lines(site)) == 3)
    none, first, second = _lines(site)
    assert none == ["none"]
    assert first[:3] == second[:3] == ["in", "2001:db8:1:2::/64", "6"]
    assert 1795 < int(second[3]) - int(first[3]) < 1830


def test_an_address_that_is_never_authorized_any_more_is_let_out(site: Guarded) -> None:
    """It is a proxy of ours, as the administrator has found out."""
    site.fail()
    site.waits_for(OTHER)
    site.configure(never=f'["{OTHER}"]', more=site.block())
    site.process.send_signal(signal.SIGHUP)
    site.waits_for()


def _has_read_all(site: Guarded) -> bool:
    """Say whether the store knows how far the log was read."""
    with closing(sqlite3.connect(f"file:{site.store}?mode=ro", uri=True)) as store:
        (checkpoint,) = store.execute("SELECT checkpoint FROM progress").fetchone() or ("",)
    return str(site.log.stat().st_size) in checkpoint


def _lines(site: Guarded) -> list[list[str]]:
    """Return the words of each run of a program."""
    return [line.split() for line in (site.folder / "told").read_text().splitlines()]
