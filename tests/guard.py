"""Blocking, with all that it asks, for tests: whoever fails, logs in, or may relay."""

from datetime import timedelta

from popbeforesmtp import rules
from popbeforesmtp.active import ActiveSet
from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.audit import Audit
from popbeforesmtp.bans import Limit
from popbeforesmtp.blocking import Blocking
from popbeforesmtp.model import EventKind, Origin, SessionEvent
from popbeforesmtp.recorder import Recorder
from popbeforesmtp.rules import Rules
from popbeforesmtp.stores.memory import MemoryStore
from popbeforesmtp.windows import Windows
from tests.clocks import FakeClock

ORIGIN = Origin("/var/log/mail.log", 4711)
RULES = Rules(timedelta(minutes=30))
LIMIT = Limit(3, timedelta(minutes=10), timedelta(hours=3))
BAD, GOOD = ClientAddress("192.0.2.66"), ClientAddress("192.0.2.10")
BAD6, NEIGHBOUR6 = ClientAddress("2001:db8:1:2::66"), ClientAddress("2001:db8:1:2:3:4:5:6")
NETWORK6 = ClientAddress("2001:db8:1:2::/64")


class Guard:
    """Blocking with all that it asks, on a clock that a test sets."""

    def __init__(self, limit: Limit | None = LIMIT, now_rules: Rules = RULES) -> None:
        self.clock = FakeClock()
        self.rules = now_rules
        self.windows = Windows(
            active=ActiveSet(),
            recorder=Recorder(MemoryStore()),
            publishers=[],
            clock=self.clock,
            audit=Audit(""),
            prefix=now_rules.ipv6_prefix,
        )
        self.blocking = Blocking(self.windows, self.clock)
        self.blocking.obey(limit)

    def hear(self, client: ClientAddress | None, kind: EventKind = EventKind.FAILURE, **changes: object) -> None:
        """Hear of one event, of now unless the changes say otherwise."""
        event = SessionEvent(kind, self.clock.now().wall, "dovecot", client, "alice", "imap")
        self.blocking.hear(event._replace(**changes), ORIGIN, self.rules)  # type: ignore[arg-type]

    def fail(self, client: ClientAddress = BAD, times: int = LIMIT.after, **changes: object) -> None:
        """Hear of failures."""
        for _ in range(times):
            self.hear(client, **changes)

    def grant(self, client: ClientAddress) -> None:
        """Let a client relay, as by hand."""
        now = self.clock.now()
        self.windows.grant(rules.by_hand(client, now.wall + timedelta(minutes=30), now, None, ""), now)

    @property
    def blocked(self) -> set[str]:
        """Who is blocked."""
        return set(self.blocking.blocked)
