"""Whether a log still shows what happens: the signs that we have become blind, counted as lines come by.

A daemon that understands nothing looks just like one to whom nobody logs in; the difference must be said.
"""

import re
from collections import deque
from datetime import datetime

from popbeforesmtp.clock import Moment
from popbeforesmtp.model import LogMessage
from popbeforesmtp.text import duration, escape

SYSLOGDS = (b"rsyslogd", b"systemd-journald", b"journal", b"syslog-ng", b"syslogd")
"""Programs that say when messages were dropped."""

# rsyslog 5: "imuxsock lost 12 messages from pid 34 due to rate-limiting"; rsyslog 8: "imuxsock[pid: 34, name: x]: 12
# messages lost due to rate-limiting", "imjournal: 12 messages lost"; journald: "Suppressed 12 messages from x.service"
_DROPPED = re.compile(
    rb"imuxsock lost ([0-9]{1,9}) messages from"
    rb"|(?:im[a-z]{1,20}(?:\[[^\]]{0,200}\])?: )?([0-9]{1,9}) messages lost due to rate-limiting"
    rb"|Suppressed ([0-9]{1,9}) messages from [!-~]{1,255}"
)
_SILENT = 3600.0  # seconds without a line before that can be a sign
_GAPS = 100  # … and that many times as long as it usually takes
_LINES = 200  # lines, at least, of which a share is taken
_REMEMBERED = 3600.0  # seconds for which dropped messages are worth a warning
_SAMPLES = 12  # looks at the clock that must agree
_AHEAD, _APART = 60.0, 30.0  # seconds that stamps may differ from our clock, and differences from each other


# What servers write when somebody has logged in, and not when somebody has not.
_LIKE_A_LOGIN = re.compile(
    rb"Log(?:in: |in user=)|[Ll]ogged in|LOGIN, |[Aa]uthenticat(?:ed|ion passed)|[Ll]ogin (?:success|accepted|by|for )"
    rb"|A(?:uth|POP) user=|login\.good|\.success\b|status=\"ok\"|cmd=Auth;|on (?:new|existing) sd |began session"
    rb"|[Ss]tarted proxying|\Alogin: "
)
_UNLIKE_A_LOGIN = (b"fail", b"invalid", b"denied", b"reject", b"disconnect", b"abort", b"refused", b"error", b"not ")
_UNREAD = 3  # lines that look like logins before it is said that they do
_SHOWN = 200  # bytes of an example


def looks_like_a_login(text: bytes) -> bool:
    """Say whether a server may have meant that somebody logged in."""
    lower = text.lower()
    return not any(word in lower for word in _UNLIKE_A_LOGIN) and _LIKE_A_LOGIN.search(text) is not None


class _Rhythm:
    """How often something comes."""

    def __init__(self) -> None:
        self._since: float | None = None  # when it came first, seconds of CLOCK_BOOTTIME, as all of these
        self._last = 0.0
        self._turns = 0

    def beat(self, now: Moment) -> None:
        """Take in that it came."""
        self._since = now.boottime if self._since is None else self._since
        self._last = now.boottime
        self._turns += 1

    def pause(self, now: Moment) -> tuple[float, float] | None:
        """Return for how long it has not come, and how often it came before, in seconds, where that is a sign."""
        if self._since is None or self._turns < _LINES:
            return None
        usual = (self._last - self._since) / self._turns
        silent = now.boottime - self._last
        return None if silent < max(_SILENT, _GAPS * usual) else (silent, usual)


class Sight:
    """What is remembered of one source."""

    def __init__(self) -> None:
        self.dropped = 0  # messages that the syslog daemon says it dropped
        self._lines = 0
        self._unknown = 0
        self._written = _Rhythm()
        self._logins = _Rhythm()
        self._read = 0  # logins that were understood, and lines like logins that were not; both are halved by and by
        self._unread = 0
        self._example = b""
        self._said = 0  # how many of them were known when the last block had been read
        self._dropped_at: float | None = None
        self._offsets: deque[float] = deque(maxlen=_SAMPLES)

    def saw(self, lines: int, unknown: int, stamp: datetime | None, now: Moment, *, live: bool) -> None:
        """Take in that some lines came, how many had no header that we know, and the stamp of the last.

        ``live`` says that it was written just now, so that its stamp can be held against our clock.
        """
        if self.dropped > self._said:
            self._said, self._dropped_at = self.dropped, now.boottime
        self._lines, self._unknown = self._lines + lines, self._unknown + unknown
        if self._lines >= 2 * _LINES:  # what was long ago counts less and less
            self._lines, self._unknown = self._lines // 2, self._unknown // 2
        if not live:  # what was written long ago tells neither of our clock nor of how often somebody writes
            return
        self._written.beat(now)
        if stamp is not None:
            self._offsets.append((stamp - now.wall).total_seconds())

    def heard(self, message: LogMessage) -> bool:
        """Take in what a syslog daemon says; tell whether it has dropped messages."""
        match = _DROPPED.match(message.text) if message.program in SYSLOGDS else None
        if match is None or (message.sender is not None and message.sender.transport != "driver"):
            return False
        self.dropped += int(next(group for group in match.groups() if group))
        return True

    def logged_in(self, now: Moment, *, live: bool) -> None:
        """Take in that a login was understood."""
        self._read += 1
        if self._read >= 2 * _LINES:
            self._read, self._unread = self._read // 2, self._unread // 2
        if live:
            self._logins.beat(now)

    def not_understood(self, message: LogMessage) -> None:
        """Take in a line of a server's that no pattern matches."""
        if looks_like_a_login(message.text):
            self._unread += 1
            self._example = message.text

    def warnings(self, now: Moment) -> dict[str, str]:
        """Say what looks as if we were blind, by a word for each sign."""
        signs = {
            "headers": self._headers(),
            "clock": self._clock(),
            "silence": self._silence(now),
            "rare": self._rare(now),
            "unread": self._unread_logins(),
            "dropped": self._dropped(now),
        }
        return {sign: text for sign, text in signs.items() if text}

    def _headers(self) -> str:
        if self._lines < _LINES or self._unknown * 2 < self._lines:
            return ""
        share = 100 * self._unknown // self._lines
        return f"{share} % of the last lines have no header that we know; look at them with `pop-before-smtp scan`"

    def _clock(self) -> str:
        if len(self._offsets) < _SAMPLES or max(self._offsets) - min(self._offsets) > _APART:
            return ""
        offset = sorted(self._offsets)[_SAMPLES // 2]
        if abs(offset) <= _AHEAD:
            return ""
        where = "ahead of" if offset > 0 else "behind"
        way_out = "set timezone for this source, or the clock of the host that writes it"
        return f"stamps lie a steady {duration(abs(offset))} {where} this machine's clock; {way_out}"

    def _silence(self, now: Moment) -> str:
        pause = self._written.pause(now)
        if pause is None:
            return ""
        silent, usual = map(duration, pause)
        return f"nothing was written for {silent}, and before that every {usual}; is it still the log?"

    def _rare(self, now: Moment) -> str:
        pause = self._logins.pause(now)
        if pause is None or self._written.pause(now) is not None:
            return ""
        silent, usual = map(duration, pause)
        return f"nobody has logged in for {silent}, and before that somebody did every {usual}; does the server log it?"

    def _unread_logins(self) -> str:
        if self._unread < max(_UNREAD, self._read // 10):
            return ""
        example = escape(self._example[:_SHOWN].decode("utf-8", "surrogateescape"))
        return (
            f"{self._unread} of the last lines look like logins and fit no format, such as '{example}';"
            " `pop-before-smtp scan --explain` tells why"
        )

    def _dropped(self, now: Moment) -> str:
        if self._dropped_at is None or now.boottime - self._dropped_at > _REMEMBERED:
            return ""
        return f"the syslog daemon dropped {self.dropped} messages (rate limit): logins may be among them"
