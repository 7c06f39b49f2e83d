"""Settings into objects: a file's name is its configuration name."""

from pathlib import Path

import pytest

from popbeforesmtp import lookups, mtas, sources, stores, wiring
from popbeforesmtp.config import Section
from popbeforesmtp.stores import Progress
from tests.clocks import START, FakeClock


def test_a_room_holds_what_has_a_file_there() -> None:
    """Names with an underscore in front are the room's own business."""
    assert wiring.names(sources) == ["file", "stdin"]
    assert wiring.names(stores) == ["memory", "sqlite"]
    assert wiring.names(mtas) == ["postfix"]
    assert wiring.names(lookups) == ["policy", "socketmap"]


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
    assert (again.data, second.header.previous, str(second.header.zone)) == (b"two\n", START, "Europe/Berlin")
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
    assert [known.name for known in wiring.engine().formats] == ["dovecot"]
