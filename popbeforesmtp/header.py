"""Headers of log lines: who wrote a line and when.

Three kinds may stand mixed in one file: traditional syslog (RFC 3164), the same with an RFC 3339 stamp (rsyslog's
RSYSLOG_FileFormat, Debian's default since 12), and the log file that Dovecot writes by itself, which has neither host
nor tag. A line is told apart by what it says, never by what came before it.
"""

import re
from datetime import UTC, datetime, timedelta, tzinfo

from popbeforesmtp.model import LogMessage

_MONTHS = {
    name: number
    for number, name in enumerate(
        (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"), start=1
    )
}
_TRADITIONAL = re.compile(rb"([A-Z][a-z]{2}) ([ 0-3][0-9]) ([0-2][0-9]):([0-5][0-9]):([0-6][0-9]) ")
_RFC3339 = re.compile(
    rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:?[0-5][0-9]) "
)
_HOST_AND_TAG = re.compile(
    rb"[A-Za-z0-9._:-]{0,254}[A-Za-z0-9._-] (?:([A-Za-z0-9_./@+-]{1,64})(?:\[[0-9]{1,10}\])?: )?"
)
_LEAP_YEARS_BACK = 8  # 29 February may be that far away, as it was around 1900


class HeaderReader:
    """Reads the headers of one log, line by line in their order.

    ``zone`` is the time zone of stamps that name none; None is the zone of this machine. ``previous`` is the time of
    the line before, where reading goes on in the middle of a log.
    """

    def __init__(self, zone: tzinfo | None = None, previous: datetime | None = None) -> None:
        self.zone = zone
        self.previous = previous
        self._stamp = b""
        self._time: datetime | None = None

    def read(self, line: bytes, now: datetime) -> LogMessage | None:
        """Take the header off a line without its LF; None where there is none that we know."""
        match = _TRADITIONAL.match(line) or _RFC3339.match(line)
        if match is None:
            return None
        stamp = match.group()
        if stamp != self._stamp:
            self._stamp, self._time = stamp, self._read_time(match, now)
        if self._time is not None:
            self.previous = self._time
        rest = line[match.end() :]
        named = _HOST_AND_TAG.match(rest)
        if named is None:  # no host can end with a colon or hold a parenthesis: the server's own log file
            return LogMessage(self._time, None, rest)
        return LogMessage(self._time, named.group(1) or b"", rest[named.end() :])

    def _read_time(self, match: re.Match[bytes], now: datetime) -> datetime | None:
        try:
            if match.re is _RFC3339:
                return _with_zone(match.group()[:-1].decode())
            month, day, *clock = match.groups()
            hour, minute, second = (int(part) for part in clock)
            if second == 60:  # a leap second counts as the second after it
                time = self._nearest_year(_MONTHS[month], int(day), [hour, minute, 59], now)
                return None if time is None else time + timedelta(seconds=1)
            return self._nearest_year(_MONTHS[month], int(day), [hour, minute, second], now)
        except (KeyError, ValueError, OverflowError):
            return None

    def _nearest_year(self, month: int, day: int, clock: list[int], now: datetime) -> datetime | None:
        """Give a stamp without a year the year that puts it nearest to now, at most one day ahead."""
        hour, minute, second = clock
        for year in range(now.year + 1, now.year - 1 - _LEAP_YEARS_BACK, -1):
            try:
                naive = datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 - the zone comes next
            except ValueError:  # 29 February
                continue
            readings = self._in_zone(naive)
            if min(readings) <= now + timedelta(days=1):
                return self._choose(naive, readings)
        return None

    def _in_zone(self, naive: datetime) -> set[datetime]:
        """Read a wall clock's time in the zone: two readings where the clock was set back or forward, else one."""
        folds = (naive.replace(fold=fold) for fold in (0, 1))
        return {(local if self.zone is None else local.replace(tzinfo=self.zone)).astimezone(UTC) for local in folds}

    def _choose(self, naive: datetime, readings: set[datetime]) -> datetime | None:
        """Choose the reading nearest to the line before, else the earlier; None where the clock never showed it."""
        shown = [time for time in readings if time.astimezone(self.zone).replace(tzinfo=None, fold=0) == naive]
        previous = self.previous
        if previous is None:
            return min(shown, default=None)
        return min(shown, key=lambda time: (abs(time - previous), time), default=None)


def _with_zone(stamp: str) -> datetime:
    """Read an RFC 3339 stamp; a leap second counts as the second after it. Raises ValueError where it is no time."""
    if stamp[11:13] == "24":  # RFC 3339 has no such hour, ISO 8601 and some Pythons do
        raise ValueError("hour is 24")
    if stamp[17:19] == "60":
        return _with_zone(f"{stamp[:17]}59{stamp[19:]}") + timedelta(seconds=1)
    return datetime.fromisoformat(stamp).astimezone(UTC)
