"""What is written into the log: logins under all headers that the program knows, and lines that only look like one."""

import json
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from itertools import count

from popbeforesmtp.header import HeaderReader

Header = Callable[[datetime, str, str], str]
"""Makes a whole line, without its LF, of a time, a program and its message."""


def _traditional(at: datetime) -> str:
    return f"{at:%b} {at.day:2} {at:%H:%M:%S}"


def _docker(at: datetime, program: str, text: str) -> str:
    inner = f"{_traditional(at)} mail {program}: {text}\n"
    return json.dumps({"log": inner, "stream": "stdout", "time": f"{at:%Y-%m-%dT%H:%M:%S.%f}Z"}, separators=(",", ":"))


_EAST = timezone(timedelta(hours=5, minutes=30))
_STYLES: dict[str, tuple[bool, Header]] = {  # whether the stamp has microseconds, and how a line is made
    "traditional": (False, lambda at, program, text: f"{_traditional(at)} mail {program}: {text}"),
    "RFC 3339": (True, lambda at, program, text: f"{at.isoformat(timespec='microseconds')} mail {program}[71]: {text}"),
    "RFC 3339, another zone": (
        True,
        lambda at, program, text: f"{at.astimezone(_EAST).isoformat(timespec='microseconds')} mail {program}: {text}",
    ),
    "RFC 5424": (True, lambda at, program, text: f"<22>1 {at:%Y-%m-%dT%H:%M:%S.%fZ} mail {program} 71 - -  {text}"),
    "busybox": (False, lambda at, program, text: f"{_traditional(at)} mail mail.info {program}: {text}"),
    "FreeBSD": (False, lambda at, program, text: f"{_traditional(at)} <mail.info> mail {program}[71]: {text}"),
    "ISO": (False, lambda at, program, text: f"{at:%Y-%m-%d %H:%M:%S} mail {program}: {text}"),
    "docker": (False, _docker),
    "Dovecot's own log": (False, lambda at, _, text: f"{_traditional(at)} {text.replace(': ', ': Info: ', 1)}"),
    "Dovecot's own log, ISO": (
        False,
        lambda at, _, text: f"{at:%Y-%m-%d %H:%M:%S} {text.replace(': ', ': Info: ', 1)}",
    ),
}


def known_styles() -> list[str]:
    """Return the styles that the program reads at present."""
    at = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
    text = "imap-login: Login: user=<a>, method=PLAIN, rip=10.0.0.1, lip=10.0.0.2, mpid=1, session=<a>"
    found = []
    for name, (_, make) in _STYLES.items():
        try:
            message = HeaderReader(UTC).read(make(at, "dovecot", text).encode(), at)
        except Exception:  # noqa: BLE001, S112 - it is being worked on
            continue
        if message is not None and message.time == at and message.program in (b"dovecot", None):
            found += [name] if message.text.replace(b"Info: ", b"").strip() == text.encode() else []
    return found


@dataclass(eq=False, slots=True)
class Login:
    """One login that was written, or is to be."""

    client: str
    user: str
    stamp: float  # as its line says
    in_map: bool  # an indexed map can hold the address
    written_at: float = 0.0  # monotonic; when its LF was in the file
    seen: bool = False
    sure: bool = True  # it must be acted on: its line is not in what copytruncate's gap takes away
    destroyed: bool = False  # its line lies in no file any more


class Author:
    """Invents addresses, logins and decoys; the same ones for the same seed."""

    def __init__(self, rng: random.Random, styles: list[str]) -> None:
        self.styles = styles
        self.decoys: list[str] = []
        self.claims: dict[str, bytes] = {}  # the lines that want to let these in
        self._rng = rng
        self._numbers = count(1)
        self._addresses = count(rng.randrange(1 << 16))

    def login(self, wall: float, client: str | None = None) -> tuple[bytes, Login]:
        """Write a login's line with its LF, of a new address unless one is given."""
        address = client or self._address()
        user = f"u{next(self._numbers)}"
        name = user if self._rng.random() < 0.9 else f"{user}>, method=PLAIN, rip={self.decoy()}, lip=1.1.1.1, x=<"
        text = (
            f"{self._rng.choice(('imap', 'pop3'))}-login: {self._rng.choice(('Login', 'Logged in'))}: user=<{name}>,"
            f" method=PLAIN, rip={address}, lip=198.51.100.1, mpid={self._rng.randrange(1, 9999)}, TLS,"
            f" session=<{self._rng.randbytes(6).hex()}>"
        )
        line, stamp = self._line(wall, "dovecot", text)
        if name != user:
            self.claims[self.decoys[-1]] = line
        return line, Login(address, user, stamp, in_map="::" not in address)

    def noise(self, wall: float) -> bytes:
        """Write lines that authorize nobody, some of them made by somebody who wants them to."""
        address = self.decoy()
        claim = f"imap-login: Login: user=<evil>, method=PLAIN, rip={address}, lip=198.51.100.1, mpid=1, session=<a>"
        failed = (
            f"imap-login: Disconnected: Connection closed (auth failed, 1 attempts in 2 secs): user=<{claim}>,"
            f" method=PLAIN, rip={address}, lip=198.51.100.1, session=<a>"
        )
        whole = self._line(wall, "dovecot", claim)[0][:-1]
        # Behind a container's line that is broken, the next is not believed, and its logger never writes one: what a
        # stranger sends stands inside its JSON, escaped.
        returned = self._line(wall, "dovecot", claim.replace("evil", "e\rvil"))[0]
        longer = self._line(wall, "dovecot", f"{claim}, rip=1.2.3.4")[0]
        late = self._line(wall - 90, "dovecot", claim)[0]
        early = self._line(wall + 3600, "dovecot", claim)[0]
        choices: list[Callable[[], bytes]] = [
            lambda: self._line(wall, "dovecot", failed)[0],
            lambda: self._line(wall, "postfix/smtpd", f"warning: non-SMTP command: {claim}", tagged=True)[0],
            lambda: self._line(wall, "postfix/smtpd", f"NOQUEUE: helo=<dovecot: {claim}>", tagged=True)[0],
            lambda: self._line(wall, "dovecots", claim, tagged=True)[0],
            lambda: self._rng.randbytes(self._rng.randrange(1, 300)).replace(b"\n", b"") + b"\n",
            lambda: b"x" + b"\0" * self._rng.randrange(1, 5000) + whole + b"\n",
            lambda: b"x" * 70_000 + whole + b"\n",
            lambda: returned,
            lambda: b"garbage\r" + whole + b"\n",
            lambda: b" " + whole + b"\n",
            lambda: longer,
            lambda: late,
            lambda: early,
            lambda: b"\n",
            lambda: self._line(wall, "kernel", "nothing of interest", tagged=True)[0],
        ]
        line = self._rng.choice(choices)()
        self.claims[address] = line[-400:]
        return line

    def decoy(self) -> str:
        """Return an address that must never be let in."""
        self.decoys.append(f"11.{self._rng.randrange(256)}.{self._rng.randrange(256)}.{self._rng.randrange(1, 255)}")
        return self.decoys[-1]

    def _line(self, wall: float, program: str, text: str, *, tagged: bool = False) -> tuple[bytes, float]:
        """Write a line in some style, and say what its stamp means; ``tagged`` leaves out styles without a tag."""
        name = self._rng.choice([style for style in self.styles if not (tagged and style.startswith("Dovecot"))])
        fine, make = _STYLES[name]
        stamp = math.floor(wall * 1e6) / 1e6 if fine else float(math.floor(wall))
        at = datetime.fromtimestamp(0, UTC) + timedelta(seconds=stamp)
        return make(at, program, text).encode() + b"\n", stamp

    def _address(self) -> str:
        """Return a new address, in its canonical form; one with "::" is none that an indexed map can hold."""
        number = next(self._addresses)
        kind = self._rng.random()
        if kind < 0.85:
            return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        if kind < 0.97:
            return f"2001:db8:1:2:3:4:{number >> 16 or 1:x}:{number & 65535 or 1:x}"
        return f"2001:db8:ff::{number & 65535 or 1:x}"
