"""What the administrator decided, as values; ``rulesettings.py`` reads them from the configuration."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

from popbeforesmtp.accounts import EVERYBODY, NOBODY, Accounts
from popbeforesmtp.addresses import NO_NETWORKS, ClientAddress, NetworkSet
from popbeforesmtp.revocations import Tombstones

SERVICES = frozenset(("pop3", "imap"))
"""Services whose logins open relay unless the administrator says otherwise; who may send needs no POP-before-SMTP."""


_NO_TIME = timedelta()


class Window(NamedTuple):
    """A grace period of its own for some accounts or services; the first that fits counts."""

    grace: timedelta
    accounts: Accounts = EVERYBODY
    services: frozenset[str] = frozenset()  # empty: all


class Limits(NamedTuple):
    """How much there may be at once, zero for any number; at a limit what is new is refused, and nobody is evicted."""

    accounts_per_address: int = 0
    addresses_per_account: int = 0
    grants_per_minute: int = 0  # to clients that could not relay before
    clients: int = 0


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Rules:
    """What the administrator decided."""

    grace: timedelta
    windows: tuple[Window, ...] = ()
    hold: timedelta = _NO_TIME  # how long a session that stays open keeps its client authorized, at most
    trusted: NetworkSet = NO_NETWORKS  # may relay anyway, and need no authorization
    never: NetworkSet = NO_NETWORKS  # besides the built-in ones
    restricted: NetworkSet = NO_NETWORKS  # refused by the mail server, but for clients that may relay; for `explain`
    own: frozenset[ClientAddress] = frozenset()  # this host's addresses: a webmail or a proxy, never a client
    accounts: Accounts = EVERYBODY
    deny_accounts: Accounts = NOBODY  # wins over accounts
    services: frozenset[str] = SERVICES
    mechanisms: Accounts = EVERYBODY
    tls: bool = False  # only logins of which the log says that they were encrypted
    limits: Limits = NO_LIMITS
    revoke_after_failures: int = 0  # failed logins from an address since its last login; zero for never
    ipv6_prefix: int = 128  # bits: a login from an IPv6 address authorizes this network
    tombstones: Tombstones = field(default_factory=dict)

    @property
    def longest(self) -> timedelta:
        """The longest time for which a login can open anything."""
        return max(self.grace, self.hold, *(window.grace for window in self.windows), _NO_TIME)


def grace_for(user: str, service: str | None, rules: Rules) -> timedelta:
    """Return the grace period of a login: that of the first window that fits, else the common one."""
    for window in rules.windows:
        if user in window.accounts and (not window.services or service in window.services):
            return window.grace
    return rules.grace
