"""``sweep``, where no daemon runs: maps that somebody else has written to, and sessions that nobody looks after."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.clock import SystemClock
from popbeforesmtp.stores import Progress
from popbeforesmtp.stores.sqlite import open_store
from tests.commands.test_by_hand import rows
from tests.site import CLIENT, Site, in_map, map_section, wait_for
from tests.stores.contract import grant, granted

_PUT = (
    "import lmdb, sys\n"
    "with lmdb.open(sys.argv[1], subdir=False, lock=False).begin(write=True) as transaction:\n"
    "    transaction.put(b'example.org\\0', b'OK\\0')\n"
)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Make a folder whose daemon has a map."""
    made = Site(tmp_path)
    made.configure(more=map_section(tmp_path / "clients"))
    try:
        yield made
    finally:
        made.close()


def put(site: Site) -> Path:
    """Put somebody else's entry into the map, as ``postmap -i`` does."""
    path = site.folder / "clients.lmdb"
    subprocess.run([sys.executable, "-c", _PUT, str(path)], check=True)
    return path


def test_a_map_of_ours_with_an_entry_of_somebody_elses_holds_nobody_any_more(site: Site) -> None:
    """Nobody would end the windows of our clients in it; it is said."""
    process = site.start()
    site.ready()
    site.login(CLIENT)
    wait_for("the map has it", lambda: in_map(site.folder / "clients.lmdb") == {CLIENT})
    wait_for("the store has it", lambda: rows(site) == {(CLIENT, b"alice")})
    process.send_signal(signal.SIGKILL)
    process.wait()
    path = put(site)
    assert in_map(path) == {CLIENT, "example.org"}
    swept = site.command("sweep", "--config", site.config)
    assert swept.returncode == 73
    assert "holds an entry that is not ours ('example.org')" in swept.stderr
    assert "now it holds nobody" in swept.stderr
    assert in_map(path) == set()
    assert site.command("sweep", "--config", site.config).returncode == 0
    assert in_map(path) == {CLIENT}


def test_a_map_that_never_was_ours_is_left_alone(site: Site) -> None:
    """Though the configuration names it."""
    path = put(site)
    site.start().wait()
    swept = site.command("sweep", "--config", site.config)
    assert swept.returncode == 65
    assert "give pop-before-smtp a map of its own" in swept.stderr
    assert in_map(path) == {"example.org"}


@pytest.mark.parametrize(("rule", "ago", "stays"), [("hold", 29, True), ("hold", 31, False), ("grace", 31, True)])
def test_an_open_session_holds_nobody_when_no_daemon_has_looked_for_a_grace_period(
    site: Site, rule: str, ago: float, *, stays: bool
) -> None:
    """It may have ended long ago; with the next start its client is held again, if it has not."""
    clock = SystemClock()
    now = clock.now()
    batch = granted(grant(ClientAddress(CLIENT), now, 36000)._replace(rule=rule, session="dovecot A"))
    batch.progress[str(site.log)] = Progress("0", now.wall - timedelta(minutes=ago))
    batch.progress["/another"] = Progress("0", None)
    store = open_store(clock=clock, path=site.store)
    store.write(batch)
    store.close()
    for _ in range(2):
        assert site.command("sweep", "--config", site.config).returncode == 0
        assert in_map(site.folder / "clients.lmdb") == ({CLIENT} if stays else set())
    assert rows(site) == {(CLIENT, b"alice")}
