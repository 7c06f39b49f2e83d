"""What it is to be shut out: after how many failed logins, and until when."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from popbeforesmtp.addresses import ClientAddress


@dataclass(frozen=True, slots=True)
class Limit:
    """How many failed logins within which time block an address, and for how long."""

    after: int
    within: timedelta
    duration: timedelta


@dataclass(frozen=True, slots=True)
class Ban:
    """A client, or an IPv6 network, is shut out until a moment."""

    client: ClientAddress
    expires_at: datetime  # aware, UTC: the end on the wall clock
    deadline: float  # seconds of CLOCK_BOOTTIME: the end whatever becomes of the wall clock
    user: str = ""  # nobody's
