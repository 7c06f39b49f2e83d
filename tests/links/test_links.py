"""The contract of all links, on a machine that has nothing."""

from dataclasses import replace
from pathlib import Path

import pytest

from popbeforesmtp import links
from popbeforesmtp.config import PATHS, Section, Settings
from popbeforesmtp.errors import UnavailableError
from popbeforesmtp.links import Level, Machine, examine, units
from tests.bare import strip
from tests.clocks import FakeClock


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine without a mail server, a log, a journal or a daemon."""
    strip(monkeypatch, tmp_path)
    store = Section("sqlite", {"path": str(tmp_path / "state.sqlite")}, {}, None)
    return Machine(Settings(control=tmp_path / "control", store=store), FakeClock())


@pytest.mark.parametrize(("name", "link"), links.links(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_link_says_what_it_proves_and_every_fault_has_a_way_out(
    name: str, link: links.Link, machine: Machine
) -> None:
    """Also where there is nothing to look at, nothing breaks."""
    assert (link.__doc__ or "").strip().endswith(".")
    for finding in link.look(machine):
        assert finding.found, name
        assert finding.change or finding.level is not Level.WRONG, name


def test_the_chain_is_looked_at_from_the_log_to_the_mail_server() -> None:
    """In this order, whatever the files are called."""
    some = ["log", "formats", "store", "daemon", "mta", "postfix_relay", "live"]
    assert [name for name, _ in links.links() if name in some] == some


def test_a_machine_without_anything_lacks_a_log_a_store_a_daemon_and_a_mail_server(machine: Machine) -> None:
    """Each is said once."""
    assert [name for name, finding in examine(machine) if finding.level is Level.WRONG] == [
        "log", "store", "daemon", "units", "mta"
    ]  # fmt: skip


def test_a_link_that_cannot_be_looked_at_hides_no_other(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a finding itself."""

    def fail(_: Machine) -> None:
        raise UnavailableError("the disk is gone")

    monkeypatch.setattr("popbeforesmtp.links.store.look", fail)
    found = dict(examine(machine))
    assert found["store"].found == "this cannot be looked at: the disk is gone"
    assert "mta" in found


@pytest.mark.parametrize(
    ("path", "ending"),
    [(None, "sweep"), (PATHS[1], "sweep"), (Path("/srv/my mail.toml"), "sweep --config '/srv/my mail.toml'")],
)
def test_the_line_for_cron_names_the_configuration_that_is_looked_at(
    machine: Machine, path: Path | None, ending: str
) -> None:
    """Unless it lies where it is looked for anyway."""
    (finding,) = units.look(replace(machine, settings=replace(machine.settings, path=path)))
    assert finding.change.endswith(f" root pop-before-smtp {ending}")
