"""The values that travel through the pipeline, in the order in which they come to be.

They are made for each line, so they are named tuples: a third of what a frozen dataclass costs.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.clock import Moment

_SAME = timedelta(milliseconds=1)
"""How far two ends may be apart that are one: the clocks are not read in the same instant, and drift."""


class Block(NamedTuple):
    """Some whole lines of one log, as bytes, and where they stand in it."""

    data: bytes  # ends with LF, unless empty
    offset: int  # bytes of the log before it
    checkpoint: str  # from where to go on after it, in the source's own words
    log: str = ""  # the file that it stands in, where the source's name does not say
    gap: bool = False  # lines before it were passed by, for they are too old to matter by themselves


class Sender(NamedTuple):
    """What the journal knows by itself of the process that wrote an entry: nothing that the process could choose.

    systemd.journal-fields(7), "Trusted Journal Fields"; empty, or None, where the journal did not say.
    """

    unit: str = ""  # _SYSTEMD_UNIT
    uid: int | None = None  # _UID
    exe: str = ""  # _EXE
    host: str = ""  # _HOSTNAME
    transport: str = ""  # _TRANSPORT
    whole: bool = False  # one line as it was written: not cut (_LINE_BREAK), and not the rest of one that was


class LogMessage(NamedTuple):
    """One line of a log with its header read."""

    time: datetime | None  # aware, UTC; None where the stamp cannot be a time
    program: bytes | None  # exact syslog tag; None in a server's own log file, which has none
    text: bytes  # all that stands behind the header
    sender: Sender | None = None  # None in a file, which cannot tell
    writer: bytes = b""  # host, tag and process id as the header has them; see header.py, `process_of`


class EventKind(StrEnum):
    """What a server reports of a session."""

    CONNECT = "connect"  # the address of a session whose login line has none
    LOGIN = "login"
    LOGOUT = "logout"
    FAILURE = "failure"
    OTHER = "other"  # nothing by itself, but it ends what waited for another line


class SessionEvent(NamedTuple):
    """A POP or IMAP server says that somebody logged in, logged out or was turned away."""

    kind: EventKind
    time: datetime | None  # aware, UTC
    format: str
    client: ClientAddress | None = None
    user: str | None = None  # as the server wrote it; bytes that are no UTF-8 are surrogates (PEP 383)
    service: str | None = None  # "imap" or "pop3"
    mechanism: str | None = None  # SASL mechanism, upper case
    tls: bool | None = None  # whether the session was encrypted; None where the format's lines do not say
    session: str | None = None  # ties the lines of one session together
    mail_pid: str | None = None  # process of the session, where the server has one for each
    genuine: bool = True  # false where the journal says that somebody else than the server wrote it
    key: str | None = None  # names the session among those of this format
    joined: bool = False  # a logout that counts only if the login of its session was seen
    known: bool = False  # a logout, and the login of its session was seen
    ended: bool = False  # a login whose logout stands before it in the log
    writer: bytes = b""  # who wrote the line, in formats of which lines are read together
    cut: bool = False  # the end of the line is missing, and may be taken for a line of its own
    ends: bool = False  # the line ends as a whole one does
    size: int = 0  # bytes of the message, where there is a writer


class Verdict(StrEnum):
    """What the rules say of an event."""

    GRANT = "grant"
    REFUSE = "refuse"
    IGNORE = "ignore"


class Reason(StrEnum):
    """Why a login authorizes nobody, or a window ended before its time."""

    FORGED = "not written by the server itself"
    EMPTY = "empty account name"
    ANONYMOUS = "anonymous login"
    NO_TIME = "no usable time stamp"
    FUTURE = "time stamp in the future"
    STALE = "older than the grace period"
    NEVER = "never-authorized network"
    OWN = "address of this host"
    PREFIX = "network of another length than is granted"
    TRUSTED = "trusted network"
    REVOKED = "revoked by hand"
    SERVICE = "service that opens no relay"
    TLS = "not known to be encrypted"
    MECHANISM = "mechanism that opens no relay"
    DENIED = "account that is denied"
    ACCOUNT = "account that opens no relay"
    FAILURES = "too many failed logins"
    ACCOUNTS = "limit: accounts on one address"
    ADDRESSES = "limit: addresses of one account"
    RATE = "limit: new grants in a minute"
    LIVE = "limit: clients that may relay at once"


class Origin(NamedTuple):
    """The log line that something goes back to."""

    source: str  # the log's path, or its name; "by hand"
    offset: int  # bytes of the log before the line
    cursor: str = ""  # of the journal's entry, where it is one; of what is done by hand, its time


class Authorization(NamedTuple):
    """One reason why a client may relay until a moment; it may while any of its authorizations lasts.

    The account and the session tell those of one client apart: the session is empty for a grace period, which each
    login of the account renews, and names the open session for a hold, or the grant by hand.
    """

    client: ClientAddress
    expires_at: datetime  # aware, UTC: the end on the wall clock
    deadline: float  # seconds of CLOCK_BOOTTIME: the end whatever becomes of the wall clock
    user: str
    service: str
    login_at: datetime  # aware, UTC
    format: str
    origin: Origin
    rule: str = "grace"  # "grace", "hold", "by hand"
    session: str = ""
    uid: int | None = None  # who granted it by hand
    why: str = ""  # what they gave as the reason

    @property
    def key(self) -> "Key":
        """Tells it from the other authorizations of its client."""
        return self.user, self.session

    def remaining(self, now: Moment) -> float:
        """Say for how many seconds it still holds; zero or less when it has ended."""
        return min((self.expires_at - now.wall).total_seconds(), self.deadline - now.boottime)

    def ends_at(self, now: Moment) -> datetime:
        """Say when it ends, on the wall clock as it goes now."""
        by_boottime = now.wall + timedelta(seconds=self.deadline - now.boottime)
        return self.expires_at if by_boottime > self.expires_at - _SAME else by_boottime


Key = tuple[str, str]
"""Account and session of an authorization: what tells it from the others of its client."""


class Tombstone(NamedTuple):
    """Somebody revoked: no login that was stamped before it opens anything, and until its end none at all."""

    kind: str  # "address", "user" or "all"
    name: str  # the address or the account; empty for all
    at: datetime  # aware, UTC
    until: datetime  # aware, UTC; the same moment where new logins count again at once
    uid: int | None = None  # who did it
    why: str = ""  # what they gave as the reason


class Decision(NamedTuple):
    """What becomes of an event."""

    verdict: Verdict
    reason: Reason | None = None
    authorization: Authorization | None = None
