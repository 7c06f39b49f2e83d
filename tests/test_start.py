"""A start that fails leaves everything as it was."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.site import CLIENT, Site, in_map, wait_for


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A folder for daemons that keep an lmdb map."""
    site = Site(tmp_path)
    yield site
    site.close()


def mapped(site: Site, name: str) -> str:
    """Return a section for a map of this name."""
    return f'[[mta]]\ntype = "postfix"\nmap = "{name}"\nreload = "never"'


def test_a_mistyped_map_ends_the_start_and_nobody_s_window(site: Site) -> None:
    """Nor is it remembered: sweep would trip over it each minute, for good."""
    right = f"lmdb:{site.folder}/clients"
    site.configure(more=mapped(site, right))
    first = site.start()
    site.ready()
    site.login(CLIENT)
    wait_for("the client is in the map", lambda: in_map(site.folder / "clients.lmdb") == {CLIENT})
    first.terminate()
    assert first.wait(20) == 0
    for wrong in (f"lmbd:{site.folder}/clients", "lmdb:clients"):
        site.configure(more=mapped(site, wrong))
        assert site.start().wait(20) == 78
        assert in_map(site.folder / "clients.lmdb") == {CLIENT}
        with sqlite3.connect(site.store) as database:
            assert [name for (name,) in database.execute("SELECT name FROM maps")] == [f"postfix {right}"]
    site.configure(more=mapped(site, right))
    swept = site.command("sweep", "--config", site.config)
    assert (swept.returncode, swept.stderr) == (0, "")


def test_a_name_that_no_map_can_have_is_forgotten(site: Site) -> None:
    """An earlier version may have kept one."""
    site.configure()
    first = site.start()
    site.ready()
    first.terminate()
    assert first.wait(20) == 0
    with sqlite3.connect(site.store) as database:
        database.execute("INSERT INTO maps VALUES ('postfix lmbd:/x')")
    site.start()
    site.ready()
    with sqlite3.connect(site.store) as database:
        assert database.execute("SELECT count(*) FROM maps").fetchone() == (0,)


def test_who_is_blocked_is_told_whatever_the_rules_restrict(site: Site) -> None:
    """The program is told of the blocked only, so it need not be able to refuse anybody's network."""
    block = '[block]\nafter = 5\nlist = ["/bin/cat"]'
    site.configure(never='[]\nrestrict = ["198.51.100.0/24"]', more=block)
    site.start()
    site.ready()
