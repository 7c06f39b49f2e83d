"""The classic's command line, as Getopt::Long(3perl) reads it: shortened, negated, in any case, one dash or two."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from popbeforesmtp.errors import UsageError

USAGE = (
    "pop-before-smtp [--config=FILE] [--[no]write] [--[no]debug] [--[no]flock] [--[no]reprocess] [--watchlog=FILE]"
    " [--dbfile=FILE] [--logto=FILE] [--grace=SECONDS] [--daemon=PIDFILE] [--version] [--dumpconfig] [--list]"
    " [--user=USER] [--classic-patterns] [--insecure-log]"
)

_SWITCHES = ("write", "debug", "flock", "reprocess", "mappedv6", "classic-patterns", "insecure-log")
_QUESTIONS = ("version", "dumpconfig", "list")
_VALUES = ("config", "daemon", "user", "watchlog", "logfile", "dbfile", "logto", "grace", "pattern-name")
_OPTION = re.compile(r"(?:--|-|\+)([A-Za-z][A-Za-z0-9_-]*)(?:=(.*))?", re.DOTALL)


@dataclass(slots=True)
class Options:
    """What was asked for; None where the configuration decides."""

    config: Path | None = None
    daemon: Path | None = None
    user: str | None = None  # to go on as, which the classic could not
    write: bool | None = None
    debug: bool | None = None
    flock: bool | None = None  # our maps need none
    reprocess: bool | None = None
    watchlog: str | None = None
    dbfile: str | None = None
    logto: str | None = None
    grace: int | None = None
    version: bool = False
    dumpconfig: bool = False
    list: bool = False
    classic_patterns: bool = False
    insecure_log: bool = False
    pattern_name: str | None = None  # of PLD's variant
    mappedv6: bool | None = None  # of PLD's variant


def is_classic(arguments: Sequence[str]) -> bool:
    """Say whether a command line is the classic's: without a subcommand; --help is ours."""
    return not arguments or (arguments[0][:1] in "-+" and arguments[0] not in ("-h", "--help"))


def read(arguments: Sequence[str]) -> Options:
    """Read the classic's command line. Raises UsageError."""
    options = Options()
    left = list(arguments)
    if left and left[0].startswith("--config="):  # only here, and only so
        options.config = Path(left.pop(0).removeprefix("--config="))
    while left:
        word = left.pop(0)
        if word == "--":
            break
        match = _OPTION.fullmatch(word)
        if match is None:
            continue  # stray words are of no interest
        name, value = _find(match[1]), match[2]
        if name == "config":
            raise UsageError(f"--config must be the first option, and be written --config=FILE; {_usage()}")
        if name in _VALUES:
            if value is None:
                value = left.pop(0) if left else ""
            if not value:
                raise UsageError(f"option {name} needs a value; {_usage()}")
            _set_value(options, name, value)
            continue
        if value is not None:
            raise UsageError(f"option {match[1]} takes no value; {_usage()}")
        _switch(options, name)
    return options


def _switch(options: Options, name: str) -> None:
    on = not name.startswith("no")
    name = name.removeprefix("no").removeprefix("-").replace("-", "_")
    setattr(options, name, on)
    if name == "debug" and on:
        options.logto = "-"


def _set_value(options: Options, name: str, value: str) -> None:
    match name:
        case "daemon":
            options.daemon = Path(value)
        case "grace":
            if not re.fullmatch(r"[+-]?[0-9]+", value):
                raise UsageError(f"--grace={value}: is no whole number of seconds; {_usage()}")
            options.grace = int(value)
        case "watchlog" | "logfile":
            options.watchlog = value
        case _:
            setattr(options, name.replace("-", "_"), value)


def _find(written: str) -> str:
    """Return the option that a word means: itself, or the only one that begins so. Raises UsageError."""
    wanted = written.lower()
    negated = [f"{no}{name}" for name in _SWITCHES for no in ("no", "no-")]
    every = [*_SWITCHES, *_QUESTIONS, *_VALUES, *negated]
    if wanted in every:
        return wanted
    found = {_same(name): name for name in every if name.startswith(wanted)}
    if len(found) > 1:
        raise UsageError(f"option {written} is ambiguous ({', '.join(sorted(found))}); {_usage()}")
    if not found:
        raise UsageError(f"there is no option {written}; {_usage()}")
    return next(iter(found.values()))


def _same(name: str) -> str:
    """Name what two spellings mean."""
    return "watchlog" if name == "logfile" else name.replace("no-", "no", 1) if name.startswith("no-") else name


def _usage() -> str:
    return f"usage: {USAGE}; `pop-before-smtp --help` tells of the commands"
