"""Settings into objects: a file's name is its configuration name."""

import os
from pathlib import Path

import pytest

from popbeforesmtp import lookups, mtas, sources, stores, wiring
from popbeforesmtp.config import Section
from popbeforesmtp.entry import EntryReader
from popbeforesmtp.errors import ConfigError
from popbeforesmtp.following import Followed
from popbeforesmtp.formats import _format
from popbeforesmtp.header import HeaderReader
from popbeforesmtp.sieve import EntrySieve
from popbeforesmtp.stores import Progress
from tests.clocks import START, FakeClock
from tests.entries import entry
from tests.site import wait_for


def test_a_room_holds_what_has_a_file_there() -> None:
    """Names with an underscore in front are the room's own business."""
    assert {"file", "journal", "stdin"} <= set(wiring.names(sources))
    assert not [name for name in wiring.names(sources) if name.startswith("_")]
    assert wiring.names(stores) == ["memory", "sqlite"]
    assert {"command", "exim", "postfix", "sendmail"} <= set(wiring.names(mtas))
    assert {"policy", "readsocket", "socketmap"} <= set(wiring.names(lookups))


def test_a_source_goes_on_where_it_was_left(tmp_path: Path) -> None:
    """Its checkpoint and the time of its last line are found by its path."""
    log = tmp_path / "mail.log"
    log.write_bytes(b"one\n")
    section = Section("file", {"path": str(log), "timezone": "Europe/Berlin"}, {}, None)
    first = wiring.open_source(section, {}, START)
    block = first.source.read()
    assert block is not None
    first.source.close()
    with log.open("ab") as more:
        more.write(b"two\n")
    second = wiring.open_source(section, {str(log): Progress(block.checkpoint, START)}, START)
    again = second.source.read()
    assert again is not None
    header = second.reading(again).header
    assert isinstance(header, HeaderReader)
    assert (again.data, header.previous, str(header.zone)) == (b"two\n", START, "Europe/Berlin")
    second.source.close()


def test_a_store_is_made_only_when_it_may_be(tmp_path: Path) -> None:
    """Commands that only ask leave no file behind."""
    section = Section("sqlite", {"path": str(tmp_path / "state.sqlite")}, {}, None)
    clock = FakeClock()
    with pytest.raises(stores.StoreError, match="there is no store"):
        wiring.open_store(section, clock, make=False)
    assert list(tmp_path.iterdir()) == []
    wiring.open_store(section, clock, make=True).close()
    wiring.open_store(section, clock, make=False).close()


def test_all_packaged_formats_are_in_the_engine() -> None:
    """None is left out."""
    names = [known.name for known in wiring.engine().formats]
    assert names == _format.packaged()
    assert "dovecot" in names


@pytest.fixture
def journalctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A journalctl that keeps what it was asked, and a journal that may be read."""
    program = tmp_path / "journalctl"
    program.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/asked.new; mv {tmp_path}/asked.new {tmp_path}/asked\n'
    )
    program.chmod(0o755)
    monkeypatch.setattr("popbeforesmtp.sources.journal._unreadable", lambda: None)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path / "asked"


def journal(**values: object) -> Followed:
    """Open the journal as a source."""
    return wiring.open_source(Section("journal", values, {}, None), {}, START)


def test_of_the_journal_only_what_formats_and_syslog_daemons_are_called_is_read(journalctl: Path) -> None:
    """Of these, entries that cannot mean anything are passed by unread."""
    followed = journal()
    reading = followed.open_reading()
    assert isinstance(reading.header, EntryReader)
    assert isinstance(reading.sieve, EntrySieve)
    followed.source.read()
    wait_for("journalctl was asked", journalctl.exists)
    asked = journalctl.read_text().split()
    followed.source.close()
    assert {"SYSLOG_IDENTIFIER=dovecot", "SYSLOG_IDENTIFIER=systemd-journald", "--output=json", "--follow"} <= set(
        asked
    )
    assert not [word for word in asked if word.startswith("_SYSTEMD_UNIT=")]


@pytest.mark.parametrize(
    ("units", "unit", "genuine"),
    [
        (None, "dovecot.service", True),
        (None, "dovecot@a.service", False),
        (["dovecot@a.service"], "dovecot@a.service", True),
        (["dovecot@a.service"], "dovecot.service", False),
        (["a.service", "b.service"], "b.service", True),
        ([], "dovecot.service", True),
    ],
)
def test_units_of_the_configuration_take_the_place_of_the_formats_own(
    journalctl: Path, units: list[str] | None, unit: str, *, genuine: bool
) -> None:
    """Whoever names units means these and no others; the rest of what a sender must be stays."""
    followed = journal() if units is None else journal(units=units)
    for changes in ({}, {"_UID": "8"}, {"_EXE": "/usr/bin/logger"}):
        message = followed.open_reading().header.read(entry(changes={"_SYSTEMD_UNIT": unit, **changes}), START)
        assert message is not None
        event = followed.formats.read(message)
        assert event is not None
        assert event.genuine == (genuine and not changes)


@pytest.mark.parametrize("units", ["dovecot.service", [1], {"a": 1}, True])
def test_units_are_a_list_of_names(units: object) -> None:
    """Anything else is a mistake."""
    with pytest.raises(ConfigError, match="list"):
        journal(units=units)


@pytest.mark.parametrize("kind", ["exim", "postfix"])
def test_a_map_that_is_configured_no_longer_can_still_be_emptied(kind: str, tmp_path: Path) -> None:
    """Nothing but its name is known, and none of its other settings may be missed."""
    name = f"{tmp_path}/clients.exim" if kind == "exim" else f"lmdb:{tmp_path}/clients"
    (section,) = wiring.forgotten_maps([f"{kind} {name}"], ())
    access_map = wiring.open_map(section)
    access_map.replace({})
    access_map.close()
    assert access_map.name == name


def test_what_nobody_sets_is_known_too() -> None:
    """Where a setting has a default, without opening anything."""
    assert str(wiring.default(stores, "sqlite", "path")) == "/var/lib/pop-before-smtp/state.sqlite"
    assert wiring.default(stores, "memory", "path") is None
    assert wiring.default(sources, "file", "path") is None
