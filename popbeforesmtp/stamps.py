"""Stamps of log lines, and the times that they mean.

Stamps without a year or a zone are read by the rules of DESIGN.md, section 4. An expression lets through more than
there are times; what is no time is found when it is read.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo

# Digits are spelled out, and what may be missing is one of two: for re, a repetition is work, where it is short too.
_TWO = rb"[0-9][0-9]"
_DAY = rb"[A-Z][a-z][a-z] [ 0-3][0-9] "
_DATE = _TWO + _TWO + rb"-" + _TWO + rb"-" + _TWO
_CLOCK = rb"[0-2][0-9]:[0-5][0-9]:[0-6][0-9]"
_FRACTION = rb"(?:\.[0-9]{1,9}+|)"
_OFFSET = rb"(?:Z|[+-]" + _TWO + rb":?[0-5][0-9])"

STAMPS: Mapping[str, bytes] = {
    "traditional": _DAY + rb"(?:" + _TWO + _TWO + rb" |)" + _CLOCK + _FRACTION + rb" ",
    "rfc3339": _DATE + rb"T" + _TWO + rb":" + _TWO + rb":" + _TWO + rb"(?:[.,][0-9]{1,9}+|)" + _OFFSET + rb" ",
    "iso": _DATE + rb"[T ]" + _CLOCK + _FRACTION + rb"(?: ?" + _OFFSET + rb")? ",
    "ctime": rb"[A-Z][a-z]{2}+ " + _DAY + _CLOCK + rb" [0-9]{4}+ ",  # OpenWrt's logread
    # journalctl -o short-full, short-unix and short-monotonic
    "full": rb"[A-Z][a-z]{2}+ "
    + _DATE
    + rb" "
    + _CLOCK
    + _FRACTION
    + rb" (?:[A-Za-z]{1,8}+|[+-][0-9]{2}+(?::?[0-9]{2}+)?) ",
    "unix": rb"[0-9]{9,10}+(?:\.[0-9]{1,9}+)? ",
    "monotonic": rb"\[ {0,11}[0-9]{1,12}+\.[0-9]{6}+\] ",
}
"""Each style of stamp that stands in front of a host and a tag, with its blank: regular expressions without groups."""

OWN_STAMPS: Mapping[str, bytes] = {
    "log4j": _DATE + rb" " + _CLOCK + rb",[0-9]{3} ",
    "nginx": rb"[0-9]{4}/[0-9]{2}/[0-9]{2} " + _CLOCK + rb" ",
    "apache": rb"\[[0-9]{2}/[A-Z][a-z]{2}/[0-9]{4}[: ]" + _CLOCK + rb"(?: [+-][0-9]{4})?\] ",
    "tai64n": rb"@[0-9a-f]{24} ",  # multilog, s6-log
    "svlogd": _DATE + rb"_" + _CLOCK + rb"\.[0-9]{5} ",
}
"""Each style that stands in front of a server's own text only: no host, no tag."""

_MONTHS = {
    name: f"{number:02}"
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), start=1
    )
}
_NO_YEAR = "----"
_LEAP_YEARS_BACK = 8  # 29 February may be that far away, as it was around 1900
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TAI64 = (1 << 62) + 10  # TAI was 10 seconds ahead in 1970; all that write these labels add no more


def read_stamp(
    style: str, stamp: bytes, now: datetime, zone: tzinfo | None, previous: datetime | None
) -> datetime | None:
    """Say which time, in UTC, a stamp of a style means; None where it can be none.

    ``zone`` is the zone of stamps that name none, None for that of this machine; ``previous`` the time of the line
    before.
    """
    try:
        text = stamp[:-1].decode("ascii")
        if style == "rfc3339":
            return _read_iso(text, now, zone, previous)
        if style in _COUNTED:
            return _COUNTED[style](text)
        if style == "full":
            return _read_full(text, now, zone, previous)
        return _read_iso(_TO_ISO.get(style, _same)(text), now, zone, previous)
    except (KeyError, ValueError, OverflowError):
        return None


def changes_clock(first: datetime, last: datetime, zone: tzinfo | None) -> bool:
    """Say whether a zone's clock may be set between the day before the first time and the day after the last."""
    try:
        ends = (first - timedelta(days=1), last + timedelta(days=1))
        return len({end.astimezone(zone).utcoffset() for end in ends}) > 1
    except (ValueError, OverflowError):
        return True


def _read_iso(
    text: str, now: datetime, zone: tzinfo | None, previous: datetime | None, name: str | None = None
) -> datetime | None:
    """Read a date and time in the form of ISO 8601, the year perhaps left out. Raises ValueError where it is none."""
    if text[11:13] == "24":  # RFC 3339 has no such hour, ISO 8601 and some Pythons do
        raise ValueError("hour is 24")
    if text[17:19] == "60":  # a leap second counts as the second after it
        time = _read_iso(f"{text[:17]}59{text[19:]}", now, zone, previous, name)
        return None if time is None else time + timedelta(seconds=1)
    if text[:4] != _NO_YEAR:
        time = datetime.fromisoformat(text)
        if time.tzinfo is UTC:
            return time
        if time.tzinfo is not None:
            return time.astimezone(UTC)
        return _choose(time, _in_zone(time, zone), zone, previous, name)
    latest = now + timedelta(days=1)
    newest = (now + timedelta(days=3)).year  # a day ahead, whatever the zone
    for year in range(newest, now.year - 1 - _LEAP_YEARS_BACK, -1):
        try:
            naive = datetime.fromisoformat(f"{year:04}{text[4:]}")
        except ValueError:  # 29 February
            continue
        readings = _in_zone(naive, zone)
        if min(readings) <= latest:
            return _choose(naive, readings, zone, previous, name)
    return None


def _in_zone(naive: datetime, zone: tzinfo | None) -> list[datetime]:
    """Read a wall clock's time in a zone: two readings where the clock was set back or forward, else one."""
    first = (naive if zone is None else naive.replace(tzinfo=zone)).astimezone(UTC)
    second = naive.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return [first] if first == second else [first, second]


def _choose(
    naive: datetime, readings: list[datetime], zone: tzinfo | None, previous: datetime | None, name: str | None
) -> datetime | None:
    """Choose the reading nearest to the line before, else the earlier; None where the clock never showed it.

    Where the stamp has a name for its zone, only those readings count at which the zone was called so.
    """
    if len(readings) == 1 and name is None:
        return readings[0]
    local = {time: time.astimezone(zone) for time in readings}
    shown = [time for time in readings if local[time].replace(tzinfo=None, fold=0) == naive]
    if name is not None:
        shown = [time for time in shown if local[time].tzname() == name]
    if previous is None:
        return min(shown, default=None)
    return min(shown, key=lambda time: (abs(time - previous), time), default=None)


def _read_full(text: str, now: datetime, zone: tzinfo | None, previous: datetime | None) -> datetime | None:
    """Read journalctl's short-full. A zone's letters mean something only where they are our own zone's, or UTC."""
    _, date, clock, name = text.split()
    if name in ("UTC", "GMT"):
        return _read_iso(f"{date}T{clock}Z", now, zone, previous)
    if name[0] in "+-":
        return _read_iso(f"{date}T{clock}{name}", now, zone, previous)
    return _read_iso(f"{date}T{clock}", now, zone, previous, name)


def _read_unix(text: str) -> datetime:
    seconds, _, fraction = text.partition(".")
    return _EPOCH + timedelta(seconds=int(seconds), microseconds=int(f"{fraction:0<6}"[:6]))


def _read_tai64n(text: str) -> datetime:
    """Read a label of cr.yp.to/libtai/tai64.html. Raises ValueError where its fraction is none."""
    seconds, nanoseconds = int(text[1:17], 16) - _TAI64, int(text[17:], 16)
    if nanoseconds > 999_999_999:
        raise ValueError("more nanoseconds than a second has")
    return _EPOCH + timedelta(seconds=seconds, microseconds=nanoseconds // 1000)


def _traditional(text: str) -> str:
    month, day, *year, clock = text.split()
    return f"{year[0] if year else _NO_YEAR}-{_MONTHS[month]}-{day:0>2}T{clock}"


def _ctime(text: str) -> str:
    _, month, day, clock, year = text.split()
    return f"{year}-{_MONTHS[month]}-{day:0>2}T{clock}"


def _apache(text: str) -> str:
    day, month, year, clock, offset = text[1:3], text[4:7], text[8:12], text[13:21], text[21:-1].strip()
    return f"{year}-{_MONTHS[month]}-{day}T{clock}{offset}"


def _same(text: str) -> str:
    return text


_COUNTED: Mapping[str, Callable[[str], datetime | None]] = {
    "unix": _read_unix,
    "tai64n": _read_tai64n,
    "monotonic": lambda _: None,  # since a start of the machine, nobody knows which
}
_TO_ISO: Mapping[str, Callable[[str], str]] = {
    "traditional": _traditional,
    "iso": lambda text: text[:19] + text[19:].replace(" ", ""),  # a blank before the zone
    "ctime": _ctime,
    "apache": _apache,
    "nginx": lambda text: text.replace("/", "-"),
    "svlogd": lambda text: text.replace("_", "T") + "Z",  # svlogd(8), -tt: UTC
}
