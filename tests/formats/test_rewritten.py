"""The samples again with everything in them replaced that differs from site to site: they mean the same.

Addresses, names, processes, sessions and dates are random, and each line stands under every header there is. They are
read by ``scan``, and by the daemon, which gets them in pieces while it follows the file.
"""

import asyncio
import json
import random
import re
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path

import pytest

from popbeforesmtp.active import ActiveSet
from popbeforesmtp.audit import Audit
from popbeforesmtp.cli import main
from popbeforesmtp.following import Followed, Reading
from popbeforesmtp.formats import NO_MAILBOX
from popbeforesmtp.header import HeaderReader
from popbeforesmtp.model import LogMessage, SessionEvent
from popbeforesmtp.pipeline import Pipeline
from popbeforesmtp.recorder import Recorder
from popbeforesmtp.rules import Rules
from popbeforesmtp.sessions import Sessions
from popbeforesmtp.sources.file import FileSource
from popbeforesmtp.stores.memory import MemoryStore
from popbeforesmtp.windows import Windows
from tests.clocks import FakeClock
from tests.headers import NAMES, STRUCTURED, ZONED, ZONELESS
from tests.samples import (
    FORGED,
    NOW,
    SAMPLES,
    Meaning,
    engine,
    fields,
    found,
    is_untrusted,
    lines,
    meanings,
    message,
    mistakes,
    read,
)

ENGINE = engine()
READ = [sample for sample in SAMPLES if not is_untrusted(sample)]
STAMPS = {**ZONELESS, **ZONED}
HEADERS = [
    *((stamp, "mx1 {}[812]: ") for stamp in STAMPS),
    *(("rfc3339", names) for names in NAMES.values()),
    *(("rfc3339", structured) for structured in STRUCTURED.values()),
]
"""Every stamp, and everything that may stand behind one."""

LOG4J = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8},[0-9]{3} ")
TRACE = re.compile(rb"[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8}\.[0-9]{3} [0-9]{4} \[")


@lru_cache(10_000)
def expression(keys: tuple[bytes, ...]) -> re.Pattern[bytes]:
    """Find these words where they are whole."""
    return re.compile(b"|".join(rb"(?<![A-Za-z0-9.])%b(?![A-Za-z0-9]|\.[0-9])" % re.escape(key) for key in keys))


class Rewriter:
    """Replaces what differs from site to site, the same everywhere in a sample."""

    def __init__(self, sample: Path, seed: int) -> None:
        self.random = random.Random(f"{sample.name} {seed}")
        self.lines = lines(sample)
        self.meanings = meanings(sample)
        self.shift = timedelta(days=self.random.randrange(-300, 0), seconds=self.random.randrange(86_400))
        self.pids: dict[bytes, bytes] = {}
        self.changes: dict[bytes, bytes] = {}
        whole = b"\n".join(self.lines)
        for meaning in self.meanings.values():
            address = (meaning.address or "").encode()
            if address and address in whole and address != FORGED.encode() and address not in self.changes:
                self.changes[address] = self.address(address)
            name = (meaning.user or "").encode("utf-8", "surrogateescape")
            plain = re.fullmatch(rb"[a-z]{3,20}(@example\.(?:com|org|net))?", name)
            if meaning.event == "login" and plain and name not in self.changes:
                account = self.word(b"abcdefghijklmnopqrstuvwxyz0123456789._-+", self.random.randrange(6, 16))
                self.changes[name] = account + (b"@" + self.word(b"abcdefgh-.", 9) + b".test" if plain[1] else b"")
        for field in fields(sample, ENGINE):
            value = self.lines[field.line][field.start : field.end]
            plain = re.fullmatch(rb"[A-Za-z0-9+/=-]{4,}", value)
            if field.name in ("session", "mail_pid") and plain and value not in self.changes:
                self.changes[value] = self.shuffled(value)
        self.ordered = sorted(self.changes, key=len, reverse=True)

    def word(self, letters: bytes, length: int) -> bytes:
        """Make a name that nothing else is called by."""
        return b"q" + bytes(self.random.choices(letters, k=length)) + b"z"

    def shuffled(self, value: bytes) -> bytes:
        """Make another session or process with letters of the same kinds."""
        digits, upper, lower = b"123456789", b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", b"abcdef"
        kinds = [next((kind for kind in (digits, upper, lower) if byte in kind), bytes([byte])) for byte in value]
        return bytes(self.random.choice(kind) for kind in kinds)

    def address(self, address: bytes) -> bytes:
        """Make another client."""
        if b":" in address:
            return b"2001:db8:%x:%x::%x" % tuple(self.random.randrange(0x1000, 0xFFFF) for _ in range(3))
        return b"198.18.%d.%d" % (self.random.randrange(256), self.random.randrange(1, 255))

    def text(self, text: bytes) -> bytes:
        """Replace all that is to be replaced in a text."""
        present = tuple(key for key in self.ordered if key in text)
        return expression(present).sub(lambda match: self.changes[match[0]], text) if present else text

    def pid(self, writer: bytes) -> bytes:
        """Return another process for the one that a header names."""
        match = re.search(rb"\[([0-9]+)\]", writer)
        old = match[1] if match else b""
        return self.changes.get(old) or self.pids.setdefault(old, b"%d" % (100_000 + len(self.pids)))

    def expected(self) -> dict[int, Meaning]:
        """Return what the lines mean now."""
        return {
            line: Meaning(event, self.name(address), self.name(user))
            for line, (event, address, user) in self.meanings.items()
        }

    def name(self, text: str | None) -> str | None:
        """Replace an address or a name in a verdict."""
        if text is None:
            return None
        return self.text(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")

    def rewrite(self, stamp: str, names: str) -> list[bytes]:
        """Write the sample anew, under a header."""
        return [self.line(line, stamp, names) for line in self.lines]

    def line(self, line: bytes, stamp: str, names: str) -> bytes:
        """Write a line anew. What is no log line, or another server's own, keeps its header."""
        read_as = message(line)
        if read_as is None or read_as.time is None or read_as.program == b"":
            return self.text(line)
        when = (read_as.time + self.shift).astimezone()
        if read_as.program is None:
            return self.own(line, read_as, when)
        if read_as.text[:1] in (b" ", b"\xef") or re.search(rb"\[[0-9]+\]", read_as.writer) is None:
            names = "mx1 {}: " if "[812]" in names or names[:1] in "<1" else names
        program, pid = read_as.program.decode(), self.pid(read_as.writer).decode()
        if "{stamp}" in names:
            header = names.format(stamp=STAMPS["rfc3339"](when), program=program).replace(" 812 ", f" {pid} ", 1)
        else:
            header = STAMPS[stamp](when) + names.format(program).replace("[812]", f"[{pid}]", 1)
        return header.encode() + self.text(read_as.text)

    def own(self, line: bytes, read_as: LogMessage, when: datetime) -> bytes:
        """Write a line of a server's own log anew, with the stamp of its kind."""
        text = self.text(read_as.text)
        if LOG4J.match(line):
            return f"{when:%Y-%m-%d %H:%M:%S},123 ".encode() + text
        if TRACE.match(line):
            return (
                f"{when:%b} {when.day:2} {when:%H:%M:%S}.123 {when:%Y} [{self.pid(read_as.writer).decode()}] ".encode()
                + text
            )
        if re.match(rb"[A-Z][a-z]{2} [0-9]", line):
            return ZONELESS["zero padded"](when).encode() + text
        return self.text(line)


def needs_processes(sample: Path) -> bool:
    """Say whether a sample's lines are joined by the process that wrote them, which some headers do not name."""
    names = {field.format for field in fields(sample, ENGINE)}
    used = [known for known in ENGINE.formats if known.name in names]
    return any("pid" in pattern.join for known in used for pattern in known.patterns)


def headers(sample: Path) -> list[tuple[str, str]]:
    """Return the headers under which a sample can be read."""
    joined = needs_processes(sample)
    return [each for each in HEADERS if not joined or "[812]" in each[1] or " 812 " in each[1]]


@pytest.mark.parametrize("sample", READ, ids=lambda path: path.stem)
def test_a_rewritten_sample_means_the_same_under_every_header(sample: Path) -> None:
    """Nothing in the formats is true of the sample's site only."""
    rewriters = [Rewriter(sample, seed) for seed in range(3)]
    for number, (stamp, names) in enumerate(headers(sample)):
        rewriter = rewriters[number % len(rewriters)]
        texts = rewriter.rewrite(stamp, names)
        assert mistakes(rewriter.expected(), found(read(texts, ENGINE, zone=None))) == [], (stamp, names)


def mixed(sample: Path, rewriter: Rewriter) -> list[bytes]:
    """Write a sample anew under many headers, one for each process: of what several write each line stands alone."""
    chosen, texts = headers(sample), []
    style: dict[bytes, tuple[str, str]] = {}
    for line in rewriter.lines:
        read_as = message(line)
        writer = b"" if read_as is None else read_as.writer
        stamp, names = style.setdefault(writer, rewriter.random.choice(chosen))
        texts.append(rewriter.line(line, stamp, names))
    return texts


@pytest.mark.parametrize("sample", READ, ids=lambda path: path.stem)
def test_scan_reads_a_rewritten_sample(sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Under headers that are mixed, as after an update of the syslog daemon."""
    rewriter, path = Rewriter(sample, 99), tmp_path / "mail.log"
    path.write_bytes(b"\n".join(mixed(sample, rewriter)) + b"\n")
    main(["scan", "--json", str(path)])
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    got = [(event["line"], Meaning(event["event"], event["address"], event["user"])) for event in events]
    assert mistakes(rewriter.expected(), got) == []


class Hearing(Sessions):
    """Sessions that remember what they said."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[SessionEvent] = []

    def join(self, event: SessionEvent) -> SessionEvent | None:
        """Say what a line means, and remember it."""
        joined = super().join(event)
        self.events += [] if joined is None else [joined]
        return joined


@pytest.mark.parametrize("seed", [7, 8])
@pytest.mark.parametrize("sample", READ, ids=lambda path: path.stem)
def test_the_daemon_reads_a_rewritten_sample_in_pieces(sample: Path, seed: int, tmp_path: Path) -> None:
    """While it follows the file: cut anywhere, with blocks, and with what it passes by in them."""
    rewriter = Rewriter(sample, seed)
    texts = mixed(sample, rewriter) if seed == 7 else rewriter.rewrite(*rewriter.random.choice(headers(sample)))
    expected = [got for _, got in found(read(texts, ENGINE, zone=None))]
    path, hearing = tmp_path / "mail.log", Hearing()
    asyncio.run(follow(path, b"\n".join(texts) + b"\n", hearing, rewriter.random))
    heard = [event for event in hearing.events if event.service not in NO_MAILBOX]
    assert [Meaning(event.kind.value, event.client, event.user) for event in heard] == expected
    assert [got for got in expected if got.event == "login"] == [
        want for want in rewriter.expected().values() if want.event == "login"
    ]


async def follow(path: Path, data: bytes, hearing: Hearing, chance: random.Random) -> None:
    """Write a log piece by piece while the daemon follows it."""
    path.touch()
    store = MemoryStore()
    recorder, source = Recorder(store), FileSource(path)
    followed = Followed(source, ENGINE, lambda: Reading(HeaderReader(), ENGINE.sieve(), hearing))
    pipeline = Pipeline(
        followed=[followed],
        rules=Rules(timedelta(minutes=30), hold=timedelta(hours=1)),  # so that it matters when a session ends
        windows=Windows(active=ActiveSet(), recorder=recorder, publishers=[], clock=FakeClock(NOW), audit=Audit("")),
        clock=FakeClock(NOW),
    )
    running = asyncio.create_task(pipeline.run())
    at = 0
    while at < len(data):
        size = chance.choice((1, 7, 100, 1000, 4096, 20_000))
        with path.open("ab") as stream:
            stream.write(data[at : at + size])
        at += size
        await asyncio.sleep(0.002)
    async with asyncio.timeout(20):
        while followed.counts["lines"] < data.count(b"\n"):
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert pipeline.windows.counts["errors"] == 0
    source.close()
    await recorder.close()
