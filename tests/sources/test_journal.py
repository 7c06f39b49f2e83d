"""JournalSource: a journalctl that writes, dies, is silent or talks nonsense; the real one is in end_to_end/."""

import asyncio
import json
import os
import shlex
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from popbeforesmtp.errors import NotPermittedError, UnavailableError
from popbeforesmtp.lines import LONGEST_LINE
from popbeforesmtp.model import Block
from popbeforesmtp.sources import journal
from popbeforesmtp.sources._cursor import Place, read_checkpoint, write_checkpoint
from popbeforesmtp.sources.journal import JournalSource, open_source

LIMIT = 10.0  # seconds
SINCE = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def cursor(number: int) -> str:
    """Return an entry's cursor, in the form that journalctl gives it."""
    return f"s=aa;i={number:x};b=bb;m={number:x};t={number:x};x={number:x}"


def entry(number: int, text: str = "", **fields: str) -> bytes:
    """Write an entry."""
    seconds = int(SINCE.timestamp()) + number
    fields = {"MESSAGE": text or f"message {number}", "__REALTIME_TIMESTAMP": f"{seconds}000000", **fields}
    return json.dumps({**fields, "__CURSOR": cursor(number)}).encode() + b"\n"


def checkpoint(number: int) -> str:
    """Return the place behind an entry."""
    return write_checkpoint(Place(cursor(number), (int(SINCE.timestamp()) + number) * 1_000_000))


class Fake:
    """A journalctl that does, at each start, what the next script says; the last one goes on being used."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls = folder / "calls"
        self.calls.touch()

    def does(self, *scripts: str) -> None:
        """Say what the first, the second… start does."""
        for number, script in enumerate(scripts):
            (self.folder / f"script{number}").write_text(script)
        program = self.folder / "journalctl"
        program.write_text(
            f"#!/bin/sh\ncd {self.folder}\nn=$(wc -l <calls)\n"
            'printf "%s\\036" "$$" "$@" >>calls\necho >>calls\n'
            f"[ -e script$n ] || n={len(scripts) - 1}\n. ./script$n\n"
        )
        program.chmod(0o755)

    def writes(self, data: bytes) -> str:
        """Return the script that writes this."""
        path = self.folder / f"output{len(list(self.folder.glob('output*')))}"
        path.write_bytes(data)
        return f"cat {shlex.quote(path.name)}\n"

    def started(self) -> list[list[str]]:
        """Return the process id and the arguments of each start."""
        return [call.split("\x1e")[:-1] for call in self.calls.read_text().split("\n")[:-1]]


STAYS = "exec sleep 60\n"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Put our own journalctl before the system's, and let it start again at once."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(journal, "FOLDERS", (tmp_path / "log",))
    monkeypatch.setattr(journal, "_DELAYS", (0.0, 0.0))
    return Fake(tmp_path)


@pytest.fixture
def sources() -> Iterator[list[JournalSource]]:
    """Close what a test opens."""
    opened: list[JournalSource] = []
    yield opened
    for source in opened:
        source.close()


def read_until(source: JournalSource, count: int, said: str = "") -> list[Block]:
    """Read until so many lines have come, and a notice with these words."""
    blocks: list[Block] = []
    notices: list[str] = []
    until = time.monotonic() + LIMIT
    while sum(block.data.count(b"\n") for block in blocks) < count or not any(said in text for text in [*notices, ""]):
        assert time.monotonic() < until, (blocks, notices)
        block = source.read()
        blocks += [] if block is None else [block]
        notices += source.notices()
    return blocks


def text(blocks: list[Block]) -> bytes:
    """Put blocks together."""
    return b"".join(block.data for block in blocks)


def test_entries_are_handed_over_with_the_place_behind_the_last(fake: Fake, sources: list[JournalSource]) -> None:
    """The command asks for the tags and units in use only, and names the time to begin at."""
    fake.does(fake.writes(entry(1) + entry(2)) + STAYS)
    source = open_source(units=("dovecot.service",), programs=("dovecot", "imapd"), since=SINCE)
    sources.append(source)
    blocks = read_until(source, 2)
    assert text(blocks) == entry(1) + entry(2)
    assert blocks[0].offset == 0
    assert blocks[-1].checkpoint == checkpoint(2)
    ((_, *arguments),) = fake.started()
    assert arguments[:4] == ["--no-pager", "--follow", "--no-tail", "--output=json"]
    assert arguments[4].startswith("--output-fields=MESSAGE,SYSLOG_IDENTIFIER,")
    assert arguments[5:] == [
        f"--since=@{int(SINCE.timestamp())}",
        "SYSLOG_IDENTIFIER=dovecot",
        "SYSLOG_IDENTIFIER=imapd",
        "_SYSTEMD_UNIT=dovecot.service",
        "+",  # and what journald says of messages that it dropped
        "SYSLOG_IDENTIFIER=systemd-journald",
        "_TRANSPORT=driver",
    ]


def test_reading_goes_on_behind_the_place(fake: Fake, sources: list[JournalSource]) -> None:
    """It begins with the entry of the place itself, which was read already."""
    fake.does(fake.writes(entry(2) + entry(3)) + STAYS)
    source = open_source(checkpoint=checkpoint(2), since=SINCE)
    sources.append(source)
    (block,) = read_until(source, 1)
    assert (block.data, block.offset) == (entry(3), len(entry(2)))
    assert fake.started()[0][6:] == [f"--cursor={cursor(2)}"]
    assert source.notices() == []


def test_the_place_is_known_again_in_a_journal_that_was_copied(fake: Fake, sources: list[JournalSource]) -> None:
    """Journald numbers entries anew when it moves them from memory to the disk."""
    fake.does(fake.writes(entry(2).replace(b"s=aa;i=2;", b"s=cc;i=9;") + entry(3)) + STAYS)
    source = open_source(checkpoint=checkpoint(2))
    sources.append(source)
    assert text(read_until(source, 1)) == entry(3)


def test_the_first_piece_of_a_line_is_read_again(fake: Fake, sources: list[JournalSource]) -> None:
    """Else nobody would know that what follows is its rest."""
    cut = entry(2, _LINE_BREAK="line-max")
    fake.does(fake.writes(cut + entry(3)) + STAYS)
    source = open_source(checkpoint=checkpoint(2))
    sources.append(source)
    assert text(read_until(source, 2)) == cut + entry(3)


@pytest.mark.parametrize("since", [SINCE, None, datetime(2026, 11, 22, 11, 0, tzinfo=UTC)])
def test_a_place_that_is_gone_is_said_and_all_around_it_is_read(
    fake: Fake, sources: list[JournalSource], since: datetime | None
) -> None:
    """From the earlier of a minute before it and where a first start would begin."""
    fake.does(fake.writes(entry(7)) + STAYS, fake.writes(entry(6) + entry(7)) + STAYS)
    source = open_source(checkpoint=checkpoint(2), since=since)
    sources.append(source)
    assert text(read_until(source, 2, "the place in the journal was lost")) == entry(6) + entry(7)
    begin = int(SINCE.timestamp()) + 2 - 60
    assert fake.started()[1][6:] == [f"--since=@{begin if since in (SINCE, None) else begin - 3600 + 58}"]


def test_a_place_that_nothing_is_found_at_counts_as_gone(
    fake: Fake, sources: list[JournalSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journalctl that seeks beyond the end would be silent for ever."""
    monkeypatch.setattr(journal, "_FIND", 0.05)
    fake.does(STAYS, fake.writes(entry(1)) + STAYS)
    source = open_source(checkpoint=checkpoint(2))
    sources.append(source)
    assert text(read_until(source, 1, "the place in the journal was lost")) == entry(1)


def test_a_place_that_journalctl_dies_of_counts_as_gone(fake: Fake, sources: list[JournalSource]) -> None:
    """Its words are said."""
    fake.does("echo Failed to seek to cursor >&2; exit 1\n", fake.writes(entry(1)) + STAYS)
    source = open_source(checkpoint=checkpoint(2))
    sources.append(source)
    assert text(read_until(source, 1, "journalctl ended with status 1: Failed to seek to cursor")) == entry(1)


@pytest.mark.parametrize(
    "words",
    [
        "",
        "{",
        "[]",
        "7",
        '{"version":2,"cursor":"a","time":1}',
        '{"version":1,"cursor":"a b","time":1}',
        '{"version":1,"cursor":"","time":1}',
        '{"version":1,"cursor":"a\\u0000","time":1}',
        '{"version":1,"cursor":"a","time":"1"}',
        '{"version":1,"cursor":"a","time":-1}',
        '{"version":1,"cursor":1,"time":1}',
        "[" * 100000,
    ],
)
def test_a_checkpoint_that_is_none_of_ours_is_a_first_start(words: str) -> None:
    """Nothing of it comes into a command."""
    assert read_checkpoint(words) is None


def test_a_journalctl_that_dies_is_started_again_behind_what_it_gave(fake: Fake, sources: list[JournalSource]) -> None:
    """Half a line of the old one is nothing; of one death after the other is said once."""
    dies = "exit 3\n"
    fake.does(
        fake.writes(entry(1) + entry(2)[:20]) + dies,
        fake.writes(entry(1) + entry(2)) + dies,
        fake.writes(entry(2) + entry(3)) + STAYS,
    )
    source = open_source()
    sources.append(source)
    blocks = read_until(source, 3)
    assert text(blocks) == entry(1) + entry(2) + entry(3)
    assert blocks[-1].checkpoint == checkpoint(3)
    assert [call[6:] for call in fake.started()] == [[], [f"--cursor={cursor(1)}"], [f"--cursor={cursor(2)}"]]


def test_deaths_are_said_once_and_waited_after(
    fake: Fake, sources: list[JournalSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not started again at once, nor twice at a time; status shows it."""
    monkeypatch.setattr(journal, "_DELAYS", (60.0, 60.0))
    fake.does("exit 3\n")
    source = open_source()
    sources.append(source)
    read_until(source, 0, "journalctl ended with status 3; it is started again")
    assert [source.read() for _ in range(10)] == [None] * 10
    assert source.notices() == []
    assert len(fake.started()) == 1
    assert source.report().waiting
    assert source.report().state == "waiting to start journalctl again"


def test_the_delay_grows_to_its_limit(
    fake: Fake, sources: list[JournalSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One second, two, four; never more than thirty."""
    now = 1000.0
    monkeypatch.setattr(journal, "_DELAYS", (1.0, 30.0))
    monkeypatch.setattr(journal.time, "monotonic", lambda: now)
    fake.does("exit 3\n")
    source = open_source()
    sources.append(source)
    said: list[str] = []
    waits = []
    for start in range(1, 9):
        began = now
        while len(fake.started()) < start:
            source.read()
            now += 0.25 if source._child is None else 0.0
        while source._child is not None:
            source.read()
        waits.append(now - began)
        said += source.notices()
    assert [round(wait) for wait in waits] == [0, 1, 2, 4, 8, 16, 30, 30]
    assert len(said) == 1


def test_a_journalctl_that_closes_its_output_and_stays_is_killed(fake: Fake, sources: list[JournalSource]) -> None:
    """Nobody waits for it."""
    fake.does("exec >&-; exec sleep 60\n", fake.writes(entry(1)) + STAYS)
    source = open_source()
    sources.append(source)
    read_until(source, 1, "journalctl ended with signal 9")
    assert not Path(f"/proc/{fake.started()[0][0]}").exists()


def test_closing_ends_journalctl_and_leaves_no_zombie(fake: Fake) -> None:
    """Whatever it is doing."""
    fake.does("trap '' TERM\n" + fake.writes(entry(1)) + STAYS)
    source = open_source()
    read_until(source, 1)
    source.close()
    source.close()
    assert not Path(f"/proc/{fake.started()[0][0]}").exists()


def test_a_silent_journalctl_keeps_nobody_waiting(fake: Fake, sources: list[JournalSource]) -> None:
    """Reading comes back at once."""
    fake.does(STAYS)
    source = open_source()
    sources.append(source)
    assert [source.read() for _ in range(3)] == [None] * 3
    assert not source.ended()


def test_complaints_without_end_do_not_stop_it(fake: Fake, sources: list[JournalSource]) -> None:
    """They are read away, and only the last are kept."""
    noise = "head -c 300000 /dev/zero | tr '\\0' x >&2; echo at last >&2\n"
    fake.does(noise + fake.writes(entry(1)) + "exit 1\n", STAYS)
    source = open_source()
    sources.append(source)
    assert text(read_until(source, 1)) == entry(1)
    notices: list[str] = []
    until = time.monotonic() + LIMIT
    while not notices:
        assert time.monotonic() < until
        source.read()
        notices = source.notices()
    assert notices[0].endswith("at last; it is started again")
    assert len(notices[0]) < 3000


def test_a_line_that_is_too_long_is_passed_by_and_nonsense_handed_on(fake: Fake, sources: list[JournalSource]) -> None:
    """The place stays where it was, and the entries behind are read."""
    long = b'{"MESSAGE": "' + b"x" * LONGEST_LINE + b'"}\n'
    fake.does(fake.writes(entry(1) + long + b"-- nonsense --\n" + entry(2) + b"\xff\n") + STAYS)
    source = open_source()
    sources.append(source)
    blocks = read_until(source, 4)
    assert text(blocks) == entry(1) + b"-- nonsense --\n" + entry(2) + b"\xff\n"
    assert source.report().too_long == 1


def test_a_folder_of_journals_that_comes_later_is_looked_into(fake: Fake, sources: list[JournalSource]) -> None:
    """A journalctl that runs does not see it."""
    fake.does(fake.writes(entry(1)) + STAYS, fake.writes(entry(1) + entry(2)) + STAYS)
    source = open_source()
    sources.append(source)
    read_until(source, 1)
    assert source.report().state == "waiting for the journal"
    (fake.folder / "log" / "machine").mkdir(parents=True)
    assert text(read_until(source, 1)) == entry(2)
    assert source.report().state == "following"
    assert source.notices() == []


def test_the_bell_rings_for_each_journalctl(fake: Fake, sources: list[JournalSource]) -> None:
    """Also for one that was started later."""
    fake.does(fake.writes(entry(1)) + "exit 1\n", "sleep 0.1\n" + fake.writes(entry(1) + entry(2)) + STAYS)

    async def scene() -> bytes:
        source = open_source()
        sources.append(source)
        rung = asyncio.Event()
        source.watch(rung.set)
        seen = b""
        until = time.monotonic() + LIMIT
        while entry(2) not in seen and time.monotonic() < until:
            rung.clear()
            block = source.read()
            seen += b"" if block is None else block.data
            if block is None and source._child is not None:
                await asyncio.wait_for(rung.wait(), LIMIT)
        source.close()
        return seen

    assert asyncio.run(scene()) == entry(1) + entry(2)


def test_without_journalctl_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Not every host has one."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnavailableError, match="name a log file"):
        open_source()


def test_a_journal_that_may_not_be_read_names_the_group(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Journalctl itself would show nothing, or our own entries only."""
    fake.does(STAYS)
    file = fake.folder / "log" / "machine" / "system.journal"
    file.parent.mkdir(parents=True)
    file.touch()
    monkeypatch.setattr(journal.os, "access", lambda path, mode: Path(path).suffix != ".journal")
    with pytest.raises(NotPermittedError, match="usermod -aG systemd-journal"):
        open_source()


def test_a_journal_that_may_not_be_read_any_more_is_trouble(
    fake: Fake, sources: list[JournalSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pipeline says it, and asks again."""
    fake.does(fake.writes(entry(1)) + STAYS)
    source = open_source()
    sources.append(source)
    monkeypatch.setattr(journal, "_unreadable", lambda: "/x/system.journal")
    with pytest.raises(PermissionError):
        source.read()
    monkeypatch.setattr(journal, "_unreadable", lambda: None)
    assert text(read_until(source, 1)) == entry(1)
