"""Who is shut out for failed logins: counted here, told to a program of the administrator's, and to nothing else.

What is blocked is an IPv4 address or an IPv6 /64, for whoever has one IPv6 address has 2^64 of them. It is a ``Ban``,
which is no ``Authorization``: no store, map or lookup takes it, so nothing in it ever relays. Nothing of it is kept; a
restart forgets. In doubt nobody is blocked.
"""

import ipaddress
import socket
from collections import OrderedDict, deque
from datetime import datetime

from popbeforesmtp import maillog, rules
from popbeforesmtp.active import ActiveSet, Change
from popbeforesmtp.addresses import ClientAddress, NetworkSet, prefix_of
from popbeforesmtp.bans import Ban, Limit
from popbeforesmtp.clock import Clock, Moment
from popbeforesmtp.model import EventKind, Origin, SessionEvent
from popbeforesmtp.publisher import Publisher
from popbeforesmtp.windows import OWN_WILL, Windows

MOST = 10_000
"""Addresses whose failures are counted, and addresses that are blocked, at the same time."""

_NETWORK = 64  # bits of an IPv6 address that count


class Failures:
    """Counts failed logins of those that failed last; memory is bounded, and who failed longest ago is forgotten."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self._within = limit.within.total_seconds()
        self._times: OrderedDict[ClientAddress, deque[float]] = OrderedDict()  # the last to fail is the last

    def __len__(self) -> int:
        return len(self._times)

    def failed(self, client: ClientAddress, at: float) -> bool:
        """Take in a failure, at seconds since 1970; say whether they are too many now, and begin anew if so."""
        times = self._times.pop(client, None) or deque(maxlen=self.limit.after)
        times.append(at)
        if len(times) == self.limit.after and max(times) - min(times) <= self._within:  # logs may be out of order
            return True
        self._times[client] = times
        while len(self._times) > MOST or self._of_the_oldest() + self._within < at:
            self._times.popitem(last=False)
        return False

    def forget(self, client: ClientAddress) -> None:
        """Begin anew with a client."""
        self._times.pop(client, None)

    def _of_the_oldest(self) -> float:
        """Return the last failure of the client that nothing was heard of for the longest time."""
        return next(iter(self._times.values()))[-1]


class Blocking:
    """Shuts out who fails too often, where ``obey`` was given a limit."""

    def __init__(self, windows: Windows, clock: Clock) -> None:
        self.blocked = ActiveSet()
        self.told: Publisher | None = None  # who hears of it
        self._windows = windows
        self._clock = clock
        self._failures: Failures | None = None  # nobody is ever blocked

    def hear(self, event: SessionEvent, origin: Origin, now_rules: rules.Rules) -> None:
        """Take in an event: a failure counts against its address, a login speaks for it."""
        failures = self._failures
        if failures is None or event.client is None or event.time is None or not event.genuine:
            return
        now = self._clock.now()
        if event.time > now.wall + rules.AHEAD or event.time + failures.limit.duration <= now.wall:
            return
        if rules.proves(event, now, now_rules):
            self.forgive(event.client, "logged in")
        elif event.kind is EventKind.FAILURE:
            self._failed(event.client, min(event.time, now.wall), origin, now_rules, failures)

    def forgive(self, client: ClientAddress, why: str) -> None:
        """Begin anew with an address, or with the /64 that it is in."""
        name = prefix_of(client, _NETWORK)
        if self._failures is not None:
            self._failures.forget(name)
        if name in self.blocked:
            self._unblock(name, why)

    def expire(self) -> None:
        """End every block that is over."""
        for client in self.blocked.expire(self._clock.now()):
            self._ended(client, "expired")

    def look(self) -> None:
        """Have it looked at whether all blocked are told; called now and then."""
        if self.told is not None:
            self.told.check()

    def obey(self, limit: Limit | None) -> None:
        """Count by another limit from now on; a block keeps its end, but without any limit all blocks end."""
        if limit is None:
            self._failures = None
            for client in list(self.blocked):
                self._unblock(client, "[block] is configured no longer")
        elif self._failures is None or self._failures.limit != limit:
            self._failures = Failures(limit)

    def spare(self, new_rules: rules.Rules) -> None:
        """Let out whom other rules do not let us block."""
        for client in list(self.blocked):
            if _is_spared(client, new_rules):
                self._unblock(client, "trusted, never authorized, or this host's")

    def warnings(self) -> list[str]:
        """Say what the administrator should look at."""
        found = [] if self.told is None or self.told.trouble is None else [f"{self.told.name}: {self.told.trouble}"]
        if len(self.blocked) >= MOST:
            found.append(f"{MOST} addresses are blocked; no more can be, until some of these end")
        return found

    def says(self, client: ClientAddress, now: Moment) -> str:
        """Say whether an address is blocked, for ``explain``."""
        end = self.blocked.expires_at(prefix_of(client, _NETWORK), now)
        return "not blocked" if end is None else f"blocked until {end.isoformat(timespec='seconds')}"

    def _failed(
        self, client: ClientAddress, at: datetime, origin: Origin, now_rules: rules.Rules, failures: Failures
    ) -> None:
        name = prefix_of(client, _NETWORK)
        if _is_spared(name, now_rules) or not failures.failed(name, at.timestamp()):
            return
        if self._may_relay(client, name):
            self._windows.counts["not blocked: may relay"] += 1
        elif len(self.blocked) >= MOST and name not in self.blocked:
            self._windows.counts["not blocked: too many are"] += 1
        else:
            self._block(name, at + failures.limit.duration, origin, failures.limit.after)

    def _block(self, name: ClientAddress, until: datetime, origin: Origin, failures: int) -> None:
        now = self._clock.now()
        deadline = now.boottime + (until - now.wall).total_seconds()
        change = self.blocked.grant(Ban(name, until, deadline), now)
        if change is Change.NONE:
            return
        self._windows.counts["blocked"] += 1
        maillog.blocked(name, failures, until)
        self._windows.audit("block", origin, name, "", now.wall, until=until.isoformat(timespec="milliseconds"))
        if self.told is not None:
            tell = self.told.renew if change is Change.RENEWED else self.told.come
            tell(name, until)

    def _unblock(self, client: ClientAddress, why: str) -> None:
        self.blocked.revoke(client)
        self._ended(client, why)

    def _ended(self, client: ClientAddress, why: str) -> None:
        """Say and tell that a client is blocked no longer."""
        self._windows.counts["unblocked"] += 1
        maillog.unblocked(client, why)
        self._windows.audit("unblock", OWN_WILL, client, "", self._clock.now().wall, reason=why)
        if self.told is not None:
            self.told.go(client)

    def _may_relay(self, client: ClientAddress, name: ClientAddress) -> bool:
        """Say whether a client may relay now, or anybody else in its /64."""
        if self._windows.permits(client):
            return True
        if "/" not in name:
            return False
        network = _packed(name)
        return any(":" in each and _packed(each) == network for each in self._windows.active)


def _packed(client: ClientAddress) -> bytes:
    """Return the first half of an IPv6 address, or of a network's; inet_pton(3), for there may be 100 000 of them."""
    return socket.inet_pton(socket.AF_INET6, client.partition("/")[0])[: _NETWORK // 8]


def _is_spared(name: ClientAddress, now_rules: rules.Rules) -> bool:
    """Say whether an address, or a part of a network, is of those that an attacker must not get blocked."""
    barred = rules.bar_network(name, now_rules) if "/" in name else rules.bar(name, now_rules)
    if barred is not None:
        return True
    return _overlaps(name, now_rules.trusted) if "/" in name else name in now_rules.trusted


def _overlaps(name: ClientAddress, networks: NetworkSet) -> bool:
    network = ipaddress.IPv6Network(name)
    return any(isinstance(each, ipaddress.IPv6Network) and each.overlaps(network) for each in networks.networks)
