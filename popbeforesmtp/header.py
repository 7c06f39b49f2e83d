"""Headers of log lines: who wrote a line and when.

Every kind of header that a syslogd, journalctl, a container's log or a server's own log file writes may stand mixed in
one file. A line is told apart by what it says, never by what came before it. Text that strangers choose stands behind
the tag, or behind the service's name in a server's own log; so a word is a host or a tag by its exact place and shape
only, and what has a host but no tag is nobody's (program ``b""``).

A log without hosts (busybox syslogd -S, journalctl --no-hostname) and a server's own look the same: ``STAMP word:
text``. The word is a tag for certain where a process id follows it, which no server writes into its own log. Else the
text is left whole, as a server's own (program None): only the formats know which words are programs, see `split_tag`.
"""

import json
import re
from datetime import datetime, tzinfo
from functools import cache

from popbeforesmtp.model import LogMessage
from popbeforesmtp.stamps import OWN_STAMPS, STAMPS, changes_clock, read_stamp

HOST = rb"[A-Za-z0-9._:@/-]{1,255}+(?<!:)"
"""A host, also as syslog-ng has it, source@host or host/relay: never ends with a colon, so no service or tag is one."""

PROGRAM = rb"[A-Za-z0-9_./@+-]{1,64}+"
"""A program as a tag names it."""

SOLARIS = b"[ID "
"""What Solaris and illumos write in front of the text begins so: "[ID 583609 mail.info] "."""

TAG_END = rb"(?:: |\[[0-9]{1,10}+\]: )(?:%b[0-9]{1,6}+ [a-z0-9]{2,8}+\.[a-z]{3,7}+\] |)" % re.escape(SOLARIS)
"""What stands between a program's name and the text."""

COMMON = b"(%b|%b)(?:%b (%b)%b|)" % (STAMPS["traditional"], STAMPS["rfc3339"], HOST, PROGRAM, TAG_END)
"""Nearly all headers. Groups: the stamp; the program, where there is a host and a tag. The text is what is left."""

CONTAINER = b'{"log":'
"""What a line of docker's json-file begins with."""

REPEATED = b"message repeated "
"""What a text begins with that rsyslog made of several; `HeaderReader.read` takes it off."""

_FACILITY = (
    rb"(?:auth|authpriv|console|cron|daemon|ftp|kern|lpr|mail|news|ntp|security|syslog|user|uucp|local[0-7])"
    rb"[.:](?:emerg|panic|alert|crit|err|error|warn|warning|notice|info|debug)"
)
_BRACKETED = rb"<(?:%b|[0-9]{1,2}\.[0-7]|[0-9]{1,3})> " % _FACILITY
_SD_NAME = rb"[!#-<>-\\^-~]{1,64}+"
_SD_VALUE = rb'"(?:[^"\\\]]|\\.){0,8192}"'

_COMMON = re.compile(COMMON)
_PROGRAM = re.compile(PROGRAM)
_TAG = re.compile(b"(%b)%b" % (PROGRAM, TAG_END))
# What may stand behind any stamp. nginx writes a host of its own, perhaps an empty one, which the syslogd does not take
# for one; busybox and AIX have a facility behind the host, FreeBSD's syslogd -v and -vv before it; then, a tag alone.
_REST = re.compile(
    rb"(%(host)b) (?:\1(?:\.[A-Za-z0-9.-]{1,200})?)? %(tag)b"
    rb"|%(host)b (?:%(bracketed)b|%(facility)b )?(?:%(tag)b)?"
    rb"|%(bracketed)b(?:%(host)b )?(?:%(tag)b)?"
    rb"|(%(program)b)\[[0-9]{1,10}\]: "
    % {
        b"host": HOST,
        b"tag": b"(%b)%b" % (PROGRAM, TAG_END),
        b"program": PROGRAM,
        b"facility": _FACILITY,
        b"bracketed": _BRACKETED,
    }
)
# RFC 5424, section 6. The text of rsyslog begins with a blank of its own.
_RFC5424 = (
    rb"(?:<[0-9]{1,3}>)?1 (%b|- )([!-~]{1,255}) ([!-~]{1,64}) ([!-~]{1,128}) [!-~]{1,32} "
    rb"(?:-|(?:\[%b(?: %b=%b){0,64}\]){1,32})(?: (?:\xef\xbb\xbf)? ?|\Z)"
    % (STAMPS["rfc3339"], _SD_NAME, _SD_NAME, _SD_VALUE)
)
_LEVEL = re.compile(rb"(?:ERROR|WARN|INFO|DEBUG|TRACE) ")
_TRACE = re.compile(rb"[0-9]{4} \[[0-9]{1,10}\] ")
_PRIORITY = re.compile(rb"<[0-9]{1,3}>(?=[0-9A-Z])")
_CONTAINER = re.compile(rb"(stdout|stderr) ([FP]) ")  # k8s-file, CRI
_RFC3339 = re.compile(STAMPS["rfc3339"])
_NGINX = re.compile(OWN_STAMPS["nginx"])
_OF_THE_LINE = re.compile(
    rb"(?<![^ ])(?:%b|%b |\[ID [0-9]{1,6}+ [a-z0-9]{2,8}+\.[a-z]{3,7}+\] )" % (_BRACKETED, _FACILITY)
)
_TIMES = re.compile(rb"message repeated [0-9]{1,10} times: \[ ")
_UNCUT = 799  # rsyslog, ratelimit.c: "[%.800s]", with the blank. What may have lost its end proves nothing.


@cache
def _rfc5424() -> re.Pattern[bytes]:
    return re.compile(_RFC5424, re.DOTALL)


@cache
def _rare() -> list[tuple[str, re.Pattern[bytes]]]:
    """Compile the styles of stamps that most logs have none of, once one is met."""
    rare = {style: text for style, text in STAMPS.items() if style not in ("traditional", "rfc3339")}
    return [(style, re.compile(text)) for style, text in {**rare, **OWN_STAMPS}.items()]


class HeaderReader:
    """Reads the headers of one log, line by line in their order.

    ``zone`` is the time zone of stamps that name none; None is the zone of this machine. ``previous`` is the time of
    the line before, where reading goes on in the middle of a log. It also remembers which streams of a container
    have written a line of which a piece is still to come.
    """

    def __init__(self, zone: tzinfo | None = None, previous: datetime | None = None) -> None:
        self.zone = zone
        self.previous = previous
        self.cursor = ""  # a log has none
        self._unfinished: set[str] = set()
        self._stamp = b""
        self._time: datetime | None = None

    @property
    def unfinished(self) -> bool:
        """Whether a container's line was written in pieces, and some are still to come."""
        return bool(self._unfinished)

    def read(self, line: bytes, now: datetime, *, inside: bool = False) -> LogMessage | None:
        """Take the header off a line without its LF; None where there is none that we know.

        ``inside``: the line stands in a container's log, behind a header that has been taken off.
        """
        match = _COMMON.match(line)
        if match is None:
            return self._read_rare(line, now, inside)
        stamp, program = match.groups()
        if stamp != self._stamp:  # asked here too, for speed
            self._see("rfc3339" if stamp[:1].isdigit() else "traditional", stamp, now)
        rest = line[match.end() :]
        if program is not None:
            text = _once(rest) if rest[:17] == REPEATED else rest
            return LogMessage(self._time, program, text, None, match[0][len(stamp) :])
        if rest[:3] == b"std" and not inside and stamp[:1].isdigit():
            piece = _CONTAINER.match(rest)
            if piece is not None:
                return self._unwrap(piece[1].decode(), rest[piece.end() :], now, whole=piece[2] == b"F")
        return self._finish(*_split(rest))

    def glance(self, data: bytes, now: datetime) -> tuple[datetime | None, bool]:
        """Return the time of a block's last line, and whether a stamp in it may mean either of two times.

        Nothing is remembered. A block is in doubt within a day of any change of the clock, or where its first or last
        line has no time: then only reading every line tells which hour it is.
        """
        scout = HeaderReader(self.zone, self.previous)
        first = scout.read(data[: data.find(b"\n")], now)
        last = scout.read(data[data.rfind(b"\n", 0, -1) + 1 : -1], now)
        if first is None or last is None or first.time is None or last.time is None:
            return (None if last is None else last.time), True
        return last.time, changes_clock(min(first.time, last.time), max(first.time, last.time), self.zone)

    def _see(self, style: str, stamp: bytes, now: datetime) -> None:
        """Remember a stamp and its time; the lines of one second share both."""
        if stamp != self._stamp:
            self._stamp, self._time = stamp, read_stamp(style, stamp, now, self.zone, self.previous)
        self.previous = self._time or self.previous

    def _finish(self, program: bytes | None, text: bytes, writer: bytes) -> LogMessage:
        return LogMessage(self._time, program, _once(text) if program else text, None, writer)

    def _read_rare(self, line: bytes, now: datetime, inside: bool) -> LogMessage | None:
        if line[:1] == b"{":
            message = None if inside else self._read_json(line, now)
            if message is None and line.startswith(CONTAINER):  # too long, or broken: what follows may be its rest
                self._unfinished |= {"stdout", "stderr"}
            return message
        match = _rfc5424().match(line)
        if match is not None:
            self._see("rfc3339", match[1], now)
            _, host, program, process = match.groups()
            program, text = program if program != b"-" and _PROGRAM.fullmatch(program) else b"", line[match.end() :]
            if program == host:  # nginx writes its host where the tag should be, and its tag into the text
                tagged = split_tag(text)  # others write services there, and may run on a host of their own name
                program, text = tagged if tagged and _NGINX.match(tagged[1]) else (program, text)
            return self._finish(program, text, b"%b %b[%b]: " % (host, program, process))
        match = _PRIORITY.match(line)
        if match is not None:
            return self.read(line[match.end() :], now, inside=inside)
        for style, pattern in _rare():
            match = pattern.match(line)
            if match is not None:
                self._see(style, match.group(), now)
                rest = line[match.end() :]
                return self._finish(*((None, rest, b"") if style in OWN_STAMPS else _split(rest)))
        return None

    def _read_json(self, line: bytes, now: datetime) -> LogMessage | None:
        """Read a line of docker's json-file, which is one object and nothing else."""
        try:
            entry = json.loads(line.decode(), object_pairs_hook=_no_key_twice) if line[-1:] == b"}" else {}
            attributes = entry.pop("attrs", {})
            log, stream, stamp = (entry.pop(key) for key in ("log", "stream", "time"))
            text, stamp = log.encode(), stamp.encode() + b" "
            if entry or stream not in ("stdout", "stderr") or not all(isinstance(v, str) for v in attributes.values()):
                return None
        except (AttributeError, KeyError, ValueError, RecursionError):
            return None
        if _RFC3339.fullmatch(stamp) is None or b"\n" in text[:-1]:
            return None
        self._see("rfc3339", stamp, now)
        return self._unwrap(stream, text.removesuffix(b"\n"), now, whole=text[-1:] == b"\n")

    def _unwrap(self, stream: str, line: bytes, now: datetime, *, whole: bool) -> LogMessage:
        """Read what a container wrote, of which a header was taken off; of a line in pieces nothing is believed.

        Who makes a line so long that it is cut chooses with what its second piece begins.
        """
        outer, line = self._time, line.removesuffix(b"\r")  # a terminal's: `tty: true`, as mailcow's Dovecot has it
        if not whole or stream in self._unfinished:
            (self._unfinished.discard if whole else self._unfinished.add)(stream)
            return LogMessage(outer, b"", line)
        message = self.read(line, now, inside=True)
        if message is None:
            return LogMessage(outer, None, line)
        time = None if outer is None or message.time is None else min(outer, message.time)
        self.previous = time or self.previous
        return LogMessage(time, message.program, message.text, None, message.writer)


def process_of(writer: bytes) -> bytes:
    """Return the host, tag and process id of a `LogMessage.writer` that are the same for all lines of one process.

    The severity differs from line to line, and strangers may choose it; Solaris numbers messages.
    """
    return _OF_THE_LINE.sub(b"", writer)


def split_tag(text: bytes) -> tuple[bytes, bytes] | None:
    """Read the text of a line of program None as that of a log without hosts: tag and text; None without a tag."""
    match = _TAG.match(text)
    return None if match is None else (match[1], text[match.end() :])


def _split(rest: bytes) -> tuple[bytes | None, bytes, bytes]:
    """Take host, facility and tag off what stands behind a stamp: program, text and writer, as LogMessage has them."""
    if _LEVEL.match(rest) is not None:  # Stalwart's own log: a level, where elsewhere a host stands
        return None, rest, b""
    trace = _TRACE.match(rest)
    if trace is not None:  # Qpopper's own: the year behind the clock, and its process
        return None, rest[trace.end() :], trace[0][5:-1] + b": "
    blank = rest.find(b" ")
    if rest[blank - 1 : blank] == b":" and rest[blank - 2 : blank - 1] != b"]":  # a service: `_REST` would say the same
        return None, rest, b""
    match = _REST.match(rest)
    if match is None:
        return None, rest, b""
    return match[2] or match[3] or match[4] or match[5] or b"", rest[match.end() :], match[0]


def _once(text: bytes) -> bytes:
    """Give the message of which rsyslog says that it was repeated, else the text as it is."""
    match = _TIMES.match(text)
    if match is None or text[-1:] != b"]" or len(text) - match.end() > _UNCUT:
        return text
    return text[match.end() : -1]


def _no_key_twice(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key stands there twice")
    return dict(pairs)
