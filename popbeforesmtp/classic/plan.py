"""What a classic configuration comes to here, and what of it does not: the values that travel."""

import json
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from popbeforesmtp.classic.conf import default
from popbeforesmtp.model import EventKind

DEBIAN = Path("/etc/pop-before-smtp/pop-before-smtp.conf")

PATHS = (Path("/etc/pop-before-smtp-conf.pl"), DEBIAN)
"""Where the classic's configuration is looked for: its own place, and Debian's."""

LOGS = ("/var/log/mail/info", "/var/log/mail.log", "/var/log/messages", "/var/adm/messages")
"""Where the shipped configuration looks for a log, where there is no /var/log/maillog."""


class Weight(Enum):
    """How much it matters that something is not as it was."""

    NOTE = "note"  # it is otherwise here, and nothing needs to be done
    LOST = "not carried over"  # the daemon runs without it
    STOP = "cannot be run"  # who is let in, or how that is told, would be guessed


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is otherwise here."""

    weight: Weight
    line: int | None
    what: str

    def sentence(self, path: Path | None) -> str:
        """Say it, with its place in the file, on one line."""
        place = "the classic's defaults" if path is None else str(path)
        line = "" if self.line is None else f":{self.line}"
        kind = "" if self.weight is Weight.NOTE else f"{self.weight.value}: "
        return plain(f"{place}{line}: {kind}{self.what}")


@dataclass(frozen=True, slots=True)
class ClassicPattern:
    """One pattern as it was configured."""

    event: EventKind
    name: str  # of its variable
    text: str
    line: int | None


@dataclass(slots=True)
class Plan:
    """What is to be done."""

    path: Path | None
    grace: int = int(default("$grace"))  # seconds
    hold: str | None = None
    source: str | None = None  # a log's path, "-" for standard input, None to find it out
    watchlog: str = default("$file_tail{name}")  # as the classic would name it
    dbfile: str = default("$dbfile")
    dbvalue: str = default("$dbvalue")
    output: str = "postfix"
    trusted: list[str] | None = None
    logto: str | None = None  # a path, "-" for standard output
    syslog: bool = False
    debug: bool = False
    write: bool = True
    reprocess: bool = False
    formats: list[str] | None = None  # None: all
    own: dict[str, str] = field(default_factory=dict)  # texts of format files, by their names
    patterns: list[ClassicPattern] = field(default_factory=list)  # those of the classic, in the order of their trial
    shown: dict[str, str] = field(default_factory=dict)  # $pat and $out_pat, for --dumpconfig
    logtime: str = default("$logtime_pat")
    custom: bool = False  # the classic would say that custom_match() is used
    findings: list[Finding] = field(default_factory=list)

    def note(self, line: int | None, what: str) -> None:
        """Keep something that is otherwise here."""
        self.findings.append(Finding(Weight.NOTE, line, what))

    def lost(self, line: int | None, what: str) -> None:
        """Keep something that is not carried over."""
        self.findings.append(Finding(Weight.LOST, line, what))

    def stop(self, line: int | None, what: str) -> None:
        """Keep something without which the daemon must not run."""
        self.findings.append(Finding(Weight.STOP, line, what))

    def of(self, weight: Weight) -> list[Finding]:
        """Return the findings of one weight, in the order of the file."""
        return sorted((each for each in self.findings if each.weight is weight), key=lambda each: each.line or 0)


def own_rules(plan: Plan) -> str:
    """Name the file of rules that the administrator keeps."""
    own = plan.dbfile.removesuffix(".cdb")
    return own if own != plan.dbfile else f"{own}.rules"


def plain(text: str) -> str:
    """Keep a text on one line, and free of control bytes: a terminal may show it."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def quoted(value: object) -> str:
    """Write a text, or a list of texts, as TOML."""
    return json.dumps(value).replace("\x7f", "\\u007f")
