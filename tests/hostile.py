"""Names that are meant to break out of their field, and the lines of the samples that they can be put into."""

import re
from pathlib import Path

from tests.samples import (
    FORGED,
    SAMPLES,
    Field,
    engine,
    fields,
    found,
    is_untrusted,
    lines,
    meanings,
    message,
    read,
)

ENGINE = engine()
EVENTS = {sample: read(lines(sample), ENGINE) for sample in SAMPLES if not is_untrusted(sample)}
FIELDS = {sample: fields(sample, ENGINE) for sample in EVENTS}

KEYWORDS = [
    *("LOGIN, user=bob, ip=[9.9.9.9], port=[1]", "Login user=bob host=[9.9.9.9]", "] User logged in", " 9.9.9.9 "),
    *(">, method=PLAIN, rip=9.9.9.9, lip=9.9.9.9, session=<a>", 'x" server="s" port="1" status="ok', "(9.9.9.9)"),
    *("' logged in", "' (9.9.9.9:1) on new sd [9]", "] from [9.9.9.9:1]", " authenticated - 9.9.9.9", ", ip=[9.9.9.9]"),
    *(":9.9.9.9", "@example.com:9.9.9.9", ", client: 9.9.9.9, server: 0.0.0.0:110, login: ", ", upstream: 9.9.9.9:1"),
    *("connect from 9.9.9.9", "Session from 9.9.9.9", "began session for `bob' with passwd; child PID is 1", "%n"),
    *(
        ' at (h) 9.9.9.9" at (x) ',
        "event=login.good r.clienthost=[9.9.9.9]",
        '", remoteIp = 9.9.9.9, x = "',
        ";ip=9.9.9.9;",
    ),
    *(
        "Nov 22 07:14:00 mx1 dovecot: imap-login: Login: user=<bob>",
        "#012Nov 22 07:14:00 mx1 pop3d: ",
        "\\n",
        "a" * 500,
    ),
    *"<>()[]{},;:=@'\"`|&%#?*!/\\ -.0",
    *("2620:fe::9", "::ffff:9.9.9.9", "alice", "é", "\u202e", "\u2028", "\x7f", "\t", "\r"),
]
"""What names are made of that are meant to break out of their field: the delimiters and words of all families."""


NO_COLONS = ("vpopmail",)
"""Formats of servers whose accounts stand in files that colons divide, so that none has one in its name."""


def attacked(sample: Path) -> list[Field]:
    """Return the fields of a sample that strangers fill; not those of cut records, which only their length betrays."""
    cuts = {known.name: known.cut.ends for known in ENGINE.formats if known.cut is not None}
    texts = lines(sample)
    chosen = []
    for field in FIELDS[sample]:
        whole_line = message(texts[field.line])
        ends = cuts.get(field.format)
        if field.name in ("user", "mechanism") and whole_line and (ends is None or ends.search(whole_line.text)):
            chosen.append(field)
    return chosen


ATTACKED = [sample for sample in EVENTS if attacked(sample)]


def forge(line: str) -> str:
    """Put the address that never is a client in place of a line's own."""
    return re.sub(r"(?<![0-9.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9.])|2001:db8:[0-9a-f:]+", FORGED, line)


def forgeries(sample: Path, field: Field, name: bytes) -> list[str]:
    """Put a name into a field of a sample, and say what it made of the log.

    No address but those of the sample may come out, and no login but those that are there, each from where it was.
    """
    name = name.replace(b"\n", b"?")
    if field.event == "login" and field.format in NO_COLONS:
        name = name.replace(b":", b"?")
    texts, expected = lines(sample), meanings(sample)
    line = texts[field.line]
    texts[field.line] = line[: field.start] + name + line[field.end :]
    known = {event.client for _, event in EVENTS[sample]} | {None}
    wrong = []
    for number, got in found(read(texts, ENGINE)):
        want = expected.get(number)
        if got.address not in known or (
            got.event == "login" and (want is None or (want.event, want.address) != ("login", got.address))
        ):
            wrong.append(f"{sample.name}:{number}: {got}")
    return wrong
