"""SIGHUP and sources: no line is lost or heard twice, whatever they are read by from now on."""

import json
import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.reloading import THIRD, Running, open_files
from tests.site import CLIENT, OTHER, Held, Site, map_section, state, wait_for

FAILURE = (
    "imap-login: Disconnected: Connection closed (auth failed, 1 attempts in 2 secs): user=<bob>, method=PLAIN,"
    " rip=192.0.2.13, lip=198.51.100.1, session=<def>"
)


def test_a_new_source_is_followed_and_a_removed_one_is_not(running: Running) -> None:
    """What is written to the old log counts no more; what stands in the new one already does."""
    site, new = running.site, running.site.folder / "new.log"
    running.granted(CLIENT)
    site.login(OTHER, new)
    running.reload(source=f'"{new}"')
    wait_for("the new log is read", lambda: OTHER in site.windows())
    site.login(THIRD)
    running.granted("192.0.2.13", new)
    status = state(site)
    assert status is not None
    assert [source["name"] for source in status["sources"]] == [str(new)]
    assert THIRD not in site.windows()
    assert str(site.log) not in open_files(running.process.pid)


def test_a_login_written_while_the_configuration_is_read_again_is_not_lost(running: Running) -> None:
    """Whatever the moment, and with the source itself set otherwise: each login is granted, and counted once."""
    clients = [f"192.0.2.{last}" for last in range(20, 60)]
    for number, client in enumerate(clients):
        running.site.login(client)
        if number % 5 == 0:
            zone = ("UTC", "Europe/Berlin")[number // 5 % 2]
            running.site.configure(source=f'"{running.site.log}"\ntimezone = "{zone}"', grace=f'"{30 + number}m"')
            running.process.send_signal(signal.SIGHUP)
    wait_for("all may relay", lambda: set(running.site.windows()) == set(clients))
    assert all(running.said().count(f"granted client={client} ") == 1 for client in clients)


def test_no_line_is_heard_twice_where_a_source_is_read_by_other_settings(running: Running) -> None:
    """What comes while the new one is prepared waits for it: failed logins are counted, and each counts once."""
    site = running.site
    held = Held(site.folder / "clients")
    more = f"[block]\nafter = 3\nlist = {json.dumps(['/bin/true'])}\n{map_section(site.folder / 'clients')}"
    site.configure(source=f'"{site.log}"\ntimezone = "Europe/Berlin"', more=more)
    running.process.send_signal(signal.SIGHUP)
    wait_for("it is under way", lambda: waits_for_lock(running.process.pid, held.path))
    with site.log.open("a") as log:
        for _ in range(2):
            log.write(f"{datetime.now(UTC).isoformat()} mx1 dovecot: {FAILURE}\n")
    with pytest.raises(AssertionError):  # until it is done
        wait_for("nobody hears them", lambda: count(site, "failure"), seconds=0.5)
    held.release()
    wait_for("it is done", lambda: "reloaded" in running.said())
    running.granted(CLIENT)
    assert count(site, "failure") == 2


def test_a_reload_that_fails_reads_on_where_it_was(running: Running) -> None:
    """The source that was to be read otherwise too."""
    running.granted(CLIENT)
    running.kept("is no socket", source=f'"{running.site.log}"\ntimezone = "Europe/Berlin"', listen='"unix:relative"')
    running.granted(OTHER)


def test_a_changed_format_file_counts_from_the_reload_on(tmp_path: Path) -> None:
    """The administrator's own in formats.d; what was read by the old one stays."""
    site, folder = Site(tmp_path), tmp_path / "formats.d"
    folder.mkdir()
    program = (
        "from pathlib import Path; from popbeforesmtp import wiring; "
        f"wiring.FORMATS = Path({str(folder)!r}); wiring.formats.__defaults__ = (wiring.FORMATS,)"
    )

    def write(word: str) -> None:
        (folder / "mine.toml").write_text(
            'title = "Mine"\nprograms = ["mine"]\n[services]\nmine = "imap"\n[[pattern]]\nevent = "login"\n'
            f"match = '{word}[ ](?P<user>[a-z]{{1,20}})[ ](?P<address>[0-9.]{{7,15}})'\n"
        )

    def log_in(word: str, client: str) -> None:
        with site.log.open("a") as log:
            log.write(f"{datetime.now(UTC).isoformat()} mx1 mine: {word} alice {client}\n")

    write("hello")
    process = site.start(program=program)
    try:
        site.ready()
        log_in("hello", CLIENT)
        wait_for("it is read", lambda: CLIENT in site.windows())
        write("welcome")
        process.send_signal(signal.SIGHUP)
        wait_for("it is done", lambda: "reloaded" in site.said())
        log_in("hello", THIRD)
        log_in("welcome", OTHER)
        wait_for("it is read by the new one", lambda: OTHER in site.windows())
        assert site.windows().keys() == {CLIENT, OTHER}
    finally:
        site.close()


def count(site: Site, name: str) -> int:
    """Return a counter of the daemon's."""
    found = state(site)
    assert found is not None
    return int(found["counts"].get(name, 0))


def waits_for_lock(pid: int, path: Path) -> bool:
    """Say whether a process has a file open: a map, whose lock it tries to take."""
    return str(path) in open_files(pid)
