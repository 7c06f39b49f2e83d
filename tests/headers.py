"""Log lines read, and written in every style, as the tests of their headers need it."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from hypothesis import settings

from popbeforesmtp.header import HeaderReader
from popbeforesmtp.model import LogMessage

unhurried = settings(deadline=None)
NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
FORGED = b"imap-login: Info: Login: user=<x>, method=PLAIN, rip=9.9.9.9, lip=9.9.9.9"


def at(text: str) -> datetime:
    """Read a time that a test expects."""
    time = datetime.fromisoformat(text)
    assert time.tzinfo is not None
    return time.astimezone(UTC)


def read(line: bytes, now: datetime = NOW) -> LogMessage:
    """Read one line that has a header, in UTC."""
    message = HeaderReader(UTC).read(line, now)
    assert message is not None
    return message


def plain(message: LogMessage | None) -> LogMessage | None:
    """Leave out who wrote a line, where a test asks only what it says."""
    return message and message._replace(writer=b"")


def time_of(stamp: str, now: datetime = NOW, zone: ZoneInfo | None = None) -> datetime | None:
    """Read one stamp."""
    message = HeaderReader(zone or UTC).read(f"{stamp} mail dovecot: hello".encode(), now)
    assert message is not None
    return message.time


def docker(text: bytes, time: datetime, stream: str = "stdout") -> bytes:
    """Write a line of docker's json-file, as Go does it."""
    log = json.dumps(text.decode(), ensure_ascii=False)
    for character in "<>&":
        log = log.replace(character, f"\\u{ord(character):04x}")
    return f'{{"log":{log},"stream":"{stream}","time":"{time:%Y-%m-%dT%H:%M:%S.123456789Z}"}}'.encode()


Stamp = Callable[[datetime], str]
"""Writes a time that is aware: of the zone in which the log is written."""

ZONELESS: Mapping[str, Stamp] = {
    "traditional": lambda t: f"{t:%b} {t.day:2} {t:%H:%M:%S} ",
    "zero padded": lambda t: f"{t:%b %d %H:%M:%S} ",
    "with year": lambda t: f"{t:%b} {t.day:2} {t:%Y %H:%M:%S} ",
    "short-precise": lambda t: f"{t:%b %d %H:%M:%S}.000000 ",
    "iso": lambda t: f"{t:%Y-%m-%d %H:%M:%S} ",
    "iso with fraction": lambda t: f"{t:%Y-%m-%d %H:%M:%S}.000 ",
    "iso with T": lambda t: f"{t:%Y-%m-%dT%H:%M:%S} ",
    "ctime": lambda t: f"{t:%a %b} {t.day:2} {t:%H:%M:%S %Y} ",
}
"""Stamps that name no zone."""

ZONED: Mapping[str, Stamp] = {
    "rfc3339": lambda t: f"{t.isoformat()} ",
    "short-iso": lambda t: f"{t:%Y-%m-%dT%H:%M:%S%z} ",
    "short-iso-precise": lambda t: f"{t:%Y-%m-%dT%H:%M:%S}.000000{t:%z} ",
    "rfc3339 in UTC": lambda t: f"{t.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.000Z ",
    "rfc3339 with a comma": lambda t: f"{t:%Y-%m-%dT%H:%M:%S},000{t:%z} ",
    "iso with zone": lambda t: f"{t:%Y-%m-%d %H:%M:%S%z} ",
    "iso with zone behind a blank": lambda t: f"{t:%Y-%m-%d %H:%M:%S.000 %z} ",
    "short-full": lambda t: f"{t:%a %Y-%m-%d %H:%M:%S %Z} ",
    "short-full in UTC": lambda t: f"{t.astimezone(UTC):%a %Y-%m-%d %H:%M:%S} UTC ",
    "short-full with a number": lambda t: f"{t:%a %Y-%m-%d %H:%M:%S} {f'{t:%z}'[:3]} ",
    "short-unix": lambda t: f"{int(t.timestamp())}.000000 ",
    "seconds": lambda t: f"{int(t.timestamp())} ",
}
"""Stamps that say which moment they are."""

NAMES: Mapping[str, str] = {
    "host and tag": "mx1 {}: ",
    "host, tag and process": "mx1 {}[812]: ",
    "syslog-ng's host": "s_src@mx1/relay {}[812]: ",
    "IPv6 host": "2001:db8::1 {}: ",
    "busybox": "mx1 mail.info {}: ",
    "busybox, odd facility": "mx1 <191> {}: ",
    "AIX": "mx1 mail:info {}[812]: ",
    "Solaris": "mx1 {}[812]: [ID 583609 mail.info] ",
    "FreeBSD": "<mail.info> mx1 {}[812]: ",
    "FreeBSD's numbers": "<2.6> mx1 {}: ",
    "facility in brackets behind the host": "mx1 <mail.info> {}: ",
    "facility and no host": "<mail.info> {}: ",
    "OpenWrt": "mail.info {}[812]: ",
    "no host": "{}[812]: ",
    "nginx": "mx1 mx1 {}: ",
    "nginx, host with domain": "mx1 mx1.example.com {}: ",
    "nginx, host empty": "mx1  {}: ",
}
"""What stands between stamp and text."""

STRUCTURED: Mapping[str, str] = {
    "rfc5424": "<22>1 {stamp}mx1 {program} 812 - - ",
    "rsyslog": "<22>1 {stamp}mx1 {program} - - -  ",
    "no priority": "1 {stamp}mx1 {program} 812 ID47 - ",
    "no host": "<22>1 {stamp}- {program} - - - ",
    "byte order mark": "<191>1 {stamp}mx1 {program} - - - \ufeff",
    "data": '<22>1 {stamp}mx1 {program} - - [x@1 k="v" l="a b"][timeQuality tzKnown="1"] ',
    "escaped data": '<22>1 {stamp}mx1 {program} - - [x@1 k="\\"\\] dovecot: \\] \\\\"][y] ',
}
"""RFC 5424."""
