"""What all packaged formats promise, whoever wrote them, and which samples show it."""

import re
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from popbeforesmtp.formats import _engine
from popbeforesmtp.formats._format import load, packaged, parse, text
from popbeforesmtp.model import EventKind, LogMessage
from tests.formats.anatomy import FORMATS
from tests.hostile import EVENTS
from tests.samples import FORGED, lines, message


def source(name: str) -> dict[str, Any]:
    """Read a format file as TOML."""
    return tomllib.loads(files("popbeforesmtp.formats").joinpath(f"{name}.toml").read_text(encoding="utf-8"))


def samples_of(name: str) -> list[Path]:
    """Return the samples in which a format has read something."""
    return [sample for sample, events in EVENTS.items() if any(event.format == name for _, event in events)]


@pytest.mark.parametrize("name", packaged())
@pytest.mark.parametrize("key", ["title", "log", "address", "attacker", "checked"])
def test_every_format_says_what_it_promises(name: str, key: str) -> None:
    """Where the log lies, where the address stands, what strangers control, and who has checked it."""
    assert source(name)[key]


@pytest.mark.parametrize("name", packaged())
def test_a_server_that_writes_line_feeds_of_strangers_is_warned_of(name: str) -> None:
    """Where rsyslog writes "#012" another may leave them, and then no reader can tell whose line it is."""
    known = load(name)
    lines_of = (line for sample in samples_of(name) for line in lines(sample))
    read_as = [message(line) for line in lines_of if b"#012" in line]
    if any(each is not None and each.program in known.programs for each in read_as):
        assert "line feeds" in known.warning


@pytest.mark.parametrize("name", packaged())
def test_every_format_is_as_those_of_administrators_must_be(name: str) -> None:
    """Patterns that come with the program are compiled when they are needed, so nothing else looks at all of them."""
    assert parse(name, text(name)).patterns


@pytest.mark.parametrize("name", packaged())
def test_every_format_can_read_something(name: str) -> None:
    """It has programs, or reads a server's own log, and knows a login."""
    known = load(name)
    assert known.programs or known.own_log
    assert EventKind.LOGIN in [pattern.event for pattern in known.patterns]


@pytest.mark.parametrize("name", packaged())
def test_every_format_has_a_sample_with_a_login_a_failure_an_attack_and_ipv6(name: str) -> None:
    """Unless its server logs no failures, or speaks only IPv4, which the format then says."""
    samples, known = samples_of(name), load(name)
    events = [event for sample in samples for _, event in EVENTS[sample] if event.format == name]
    kinds = {event.kind for event in events}
    assert EventKind.LOGIN in kinds
    assert EventKind.FAILURE in kinds or EventKind.FAILURE not in [pattern.event for pattern in known.patterns]
    assert any(FORGED.encode() in line for sample in samples for line in lines(sample))
    assert any(":" in (event.client or "") for event in events) or "IPv4 only" in source(name)["address"]


def test_no_two_formats_read_the_same_line_in_different_ways() -> None:
    """Where programs share a tag the first format that matches would win, and the other would not be missed."""
    for sample in EVENTS:
        for line in lines(sample):
            read_as = message(line)
            if read_as is not None:
                names = {known.name for known in FORMATS if _engine.Engine([known]).find(*whole(read_as)) is not None}
                assert len(names) <= 1, line


def whole(of: LogMessage) -> tuple[bytes | None, bytes, int, int]:
    """Return a message as ``Engine.find`` takes it."""
    return of.program, of.text, 0, len(of.text)


MANUAL = Path(__file__).parents[2] / "contrib" / "man" / "pop-before-smtp.8"


def test_the_manual_says_of_every_format_which_versions_were_run_for_real() -> None:
    """And of no other: who reads it decides by it."""
    rows = dict(re.findall(r'^\.\\" ([a-z0-9-]+)\n\.It (.*)$', MANUAL.read_text(encoding="utf-8"), re.MULTILINE))
    assert sorted(rows) == packaged()
    for name, row in rows.items():
        _, _, run, address, strangers = (cell.strip() for cell in row.split(" Ta "))
        said = re.match(r"run for real: ([0-9a-z., ]+)", source(name)["checked"])
        assert run == "-" if said is None else set(run.split(", ")) == set(re.findall(r"[0-9][0-9a-z.]*", said[1]))
        assert address
        assert strangers
