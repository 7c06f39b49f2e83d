"""Who may relay and until when: pure, no I/O, time is an argument.

The checks are asked in their order and the first that refuses decides; ``explain`` shows the same ones. Where in doubt
the answer is the shorter leave: a stale login gives none, and a stamp in the future never reaches past ``now + grace``.
"""

import ipaddress
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from popbeforesmtp.accounts import EVERYBODY, NOBODY, Accounts
from popbeforesmtp.addresses import NEVER, NO_NETWORKS, ClientAddress, NetworkSet, prefix_of
from popbeforesmtp.clock import Moment
from popbeforesmtp.model import Authorization, Decision, EventKind, Origin, Reason, SessionEvent, Tombstone, Verdict
from popbeforesmtp.revocations import Tombstones, concerning

AHEAD = timedelta(seconds=60)
"""How far a stamp may be ahead of our clock; two hosts that keep time are closer together."""

SERVICES = frozenset(("pop3", "imap"))
"""Services whose logins open relay unless the administrator says otherwise; who may send needs no POP-before-SMTP."""

_IGNORE = Decision(Verdict.IGNORE)
_NO_TIME = timedelta()


@dataclass(frozen=True, slots=True)
class Window:
    """A grace period of its own for some accounts or services; the first that fits counts."""

    grace: timedelta
    accounts: Accounts = EVERYBODY
    services: frozenset[str] = frozenset()  # empty: all


@dataclass(frozen=True, slots=True)
class Limits:
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


@dataclass(frozen=True, slots=True)
class Standing:
    """What there is at the moment of a decision, as far as limits ask for it."""

    clients: int = 0  # that may relay
    live: bool = False  # this client may
    accounts: int = 0  # other accounts that this client may relay through
    addresses: int = 0  # other clients that may relay through this account
    recent: int = 0  # clients that were let in within the last minute


ALONE = Standing()
"""Nobody else is there."""


class _Case(NamedTuple):
    """What a check looks at."""

    event: SessionEvent
    client: ClientAddress
    user: str
    now: Moment
    rules: Rules
    standing: Standing
    held: bool


def decide(
    event: SessionEvent,
    origin: Origin,
    now: Moment,
    rules: Rules,
    standing: Standing = ALONE,
    *,
    held: bool = False,
) -> Decision:
    """Say what becomes of an event: only a login can authorize, and only its own address.

    ``held`` says that the login's session is known to be open and that its end will be seen.
    """
    if event.kind is not EventKind.LOGIN or event.client is None:
        return _IGNORE
    case = _Case(event, event.client, event.user or "", now, rules, standing, held)
    for check in CHECKS:
        reason = check.refuses(case)
        if reason is not None:
            return Decision(Verdict.REFUSE, reason)
    return Decision(Verdict.GRANT, authorization=_authorize(case, origin))


def walk(
    event: SessionEvent, now: Moment, rules: Rules, standing: Standing, about: str = ""
) -> list[tuple[str, Reason | None]]:
    """Return each check in its order, and why it refuses a login, or None where it lets it pass.

    ``about`` leaves out all but those that ask about an "address" or an "account", where no more is known of the login.
    """
    case = _Case(event, event.client or ClientAddress(""), event.user or "", now, rules, standing, held=False)
    return [(check.asks, check.refuses(case)) for check in CHECKS if not about or about in check.about]


def taken_back(kept: Authorization, rules: Rules, now: Moment) -> Reason | None:
    """Say why an authorization that was given before holds no more: its network, or a revocation."""
    reason = bar(kept.client, rules)
    if reason is not None:
        return reason
    by_hand = kept.rule == "by hand"  # that holds also while logins are refused
    for tombstone in _tombstones(kept.client, kept.user, rules):
        if kept.login_at <= tombstone.at or (now.wall < tombstone.until and not by_hand):
            return Reason.REVOKED
    return None


def limited(standing: Standing, limits: Limits) -> Reason | None:
    """Say which limit has been reached."""
    found = (each(standing, limits) for each in (_accounts_limit, _addresses_limit, _rate_limit, _clients_limit))
    return next((reason for reason in found if reason is not None), None)


def proves(event: SessionEvent, now: Moment, rules: Rules) -> bool:
    """Say that an event is somebody's proof of who they are, of a time that can be; whether it opens relay or not."""
    if event.kind is not EventKind.LOGIN or event.client is None:
        return False
    case = _Case(event, event.client, event.user or "", now, rules, ALONE, held=False)
    return all(check.refuses(case) is None for check in _PROOF)


def hold(authorization: Authorization, session: str, now: Moment, rules: Rules) -> Authorization:
    """Return what a login's session authorizes besides, while it is open: until ``hold`` after the login."""
    expires_at = authorization.login_at + rules.hold
    return replace(
        authorization, expires_at=expires_at, deadline=_deadline(expires_at, now), rule="hold", session=session
    )


def by_hand(client: ClientAddress, until: datetime, now: Moment, uid: int | None, why: str) -> Authorization:
    """Return what somebody grants by hand."""
    return Authorization(
        client=client,
        expires_at=until,
        deadline=_deadline(until, now),
        user="",
        service="",
        login_at=now.wall,
        format="",
        origin=hand(now),
        rule="by hand",
        session="by hand",
        uid=uid,
        why=why,
    )


def hand(now: Moment) -> Origin:
    """Return what something goes back to that is done by hand: there is no line, so its time names it."""
    return Origin("by hand", 0, now.wall.isoformat())


def bar(client: ClientAddress, rules: Rules) -> Reason | None:
    """Say why an address may never be authorized, also if it was before the rules were changed."""
    if "/" in client:
        length = int(client.partition("/")[2])
        return Reason.PREFIX if length != rules.ipv6_prefix else bar_network(client, rules)
    if client in NEVER or client in rules.never:
        return Reason.NEVER
    return Reason.OWN if client in rules.own else None


def grace_for(user: str, service: str | None, rules: Rules) -> timedelta:
    """Return the grace period of a login: that of the first window that fits, else the common one."""
    for window in rules.windows:
        if user in window.accounts and (not window.services or service in window.services):
            return window.grace
    return rules.grace


def granted_to(client: ClientAddress, rules: Rules) -> ClientAddress:
    """Return what a login from an address authorizes: the address, or its whole prefix where that harms nobody."""
    prefix = prefix_of(client, rules.ipv6_prefix)
    return client if prefix != client and bar(prefix, rules) is not None else prefix


def bar_network(client: ClientAddress, rules: Rules) -> Reason | None:
    """Say why an IPv6 network holds an address that may never be authorized."""
    network = ipaddress.IPv6Network(client)
    for known in (*NEVER.networks, *rules.never.networks):
        if isinstance(known, ipaddress.IPv6Network) and known.overlaps(network):
            return Reason.NEVER
    return Reason.OWN if any(ipaddress.ip_address(own) in network for own in rules.own) else None


def _authorize(case: _Case, origin: Origin) -> Authorization:
    event, now = case.event, case.now
    login_at = min(event.time or now.wall, now.wall)
    expires_at = login_at + grace_for(case.user, event.service, case.rules)
    return Authorization(
        client=granted_to(case.client, case.rules),
        expires_at=expires_at,
        deadline=_deadline(expires_at, now),
        user=case.user,
        service=event.service or "",
        login_at=login_at,
        format=event.format,
        origin=origin,
    )


def _deadline(expires_at: datetime, now: Moment) -> float:
    return now.boottime + (expires_at - now.wall).total_seconds()


def _forged(case: _Case) -> Reason | None:
    return None if case.event.genuine else Reason.FORGED


def _empty(case: _Case) -> Reason | None:
    return None if case.user.strip() else Reason.EMPTY


def _anonymous(case: _Case) -> Reason | None:
    """RFC 4505: nobody proved anything."""
    named = case.user.casefold() == "anonymous"
    return Reason.ANONYMOUS if named or case.event.mechanism == "ANONYMOUS" else None


def _no_time(case: _Case) -> Reason | None:
    return Reason.NO_TIME if case.event.time is None else None


def _future(case: _Case) -> Reason | None:
    return Reason.FUTURE if case.event.time is not None and case.event.time > case.now.wall + AHEAD else None


def _stale(case: _Case) -> Reason | None:
    """Say that a login is older than all it could open; an open session counts from its login too."""
    grace = grace_for(case.user, case.event.service, case.rules)
    most = max(grace, case.rules.hold) if case.held else grace
    time = case.event.time
    return Reason.STALE if time is not None and time + most <= case.now.wall else None


def _never(case: _Case) -> Reason | None:
    return bar(case.client, case.rules)


def _trusted(case: _Case) -> Reason | None:
    return Reason.TRUSTED if case.client in case.rules.trusted else None


def _revoked(case: _Case) -> Reason | None:
    """Say that somebody revoked, and that this login does not come after it.

    Stamps have whole seconds: of the second of the revocation none counts.
    """
    for tombstone in _tombstones(case.client, case.user, case.rules):
        old = case.event.time is None or case.event.time <= tombstone.at
        if old or case.now.wall < tombstone.until:
            return Reason.REVOKED
    return None


def _tombstones(client: ClientAddress, user: str, rules: Rules) -> Iterator[Tombstone]:
    """Give the revocations that concern an account on a client."""
    if not rules.tombstones:
        return iter(())
    whole = "/" in client
    network = client if whole else prefix_of(client, rules.ipv6_prefix)
    return concerning(rules.tombstones, client, network, client if whole else granted_to(client, rules), user)


def _service(case: _Case) -> Reason | None:
    service = case.event.service
    return None if service is None or service in case.rules.services else Reason.SERVICE


def _tls(case: _Case) -> Reason | None:
    return Reason.TLS if case.rules.tls and case.event.tls is not True else None


def _mechanism(case: _Case) -> Reason | None:
    mechanism = case.event.mechanism
    return None if mechanism is None or mechanism in case.rules.mechanisms else Reason.MECHANISM


def _denied(case: _Case) -> Reason | None:
    return Reason.DENIED if case.user in case.rules.deny_accounts else None


def _account(case: _Case) -> Reason | None:
    return None if case.user in case.rules.accounts else Reason.ACCOUNT


def _accounts(case: _Case) -> Reason | None:
    return _accounts_limit(case.standing, case.rules.limits)


def _addresses(case: _Case) -> Reason | None:
    return _addresses_limit(case.standing, case.rules.limits)


def _rate(case: _Case) -> Reason | None:
    return _rate_limit(case.standing, case.rules.limits)


def _clients(case: _Case) -> Reason | None:
    return _clients_limit(case.standing, case.rules.limits)


def _accounts_limit(standing: Standing, limits: Limits) -> Reason | None:
    return _at_limit(limits.accounts_per_address, standing.accounts, Reason.ACCOUNTS)


def _addresses_limit(standing: Standing, limits: Limits) -> Reason | None:
    return _at_limit(limits.addresses_per_account, standing.addresses, Reason.ADDRESSES)


def _rate_limit(standing: Standing, limits: Limits) -> Reason | None:
    return None if standing.live else _at_limit(limits.grants_per_minute, standing.recent, Reason.RATE)


def _clients_limit(standing: Standing, limits: Limits) -> Reason | None:
    return None if standing.live else _at_limit(limits.clients, standing.clients, Reason.LIVE)


def _at_limit(limit: int, count: int, reason: Reason) -> Reason | None:
    return reason if limit and count >= limit else None


class Check(NamedTuple):
    """One rule: what it asks, what says why it refuses, and what alone has to be known for that."""

    asks: str
    refuses: Callable[[_Case], Reason | None]
    about: tuple[str, ...] = ()  # "address", "account"; empty where the login itself must be known


_PROOF: tuple[Check, ...] = (
    Check("written by the server itself", _forged),
    Check("names an account", _empty),
    Check("somebody proved who they are", _anonymous),
    Check("has a time", _no_time),
    Check("the time is not in the future", _future),
)

CHECKS: tuple[Check, ...] = (
    *_PROOF,
    Check("younger than its grace period", _stale),
    Check("the address may be authorized at all", _never, ("address",)),
    Check("the address needs an authorization", _trusted, ("address",)),
    Check("later than every revocation", _revoked, ("address", "account")),
    Check("the service opens relay", _service),
    Check("encrypted, where that is asked for", _tls),
    Check("the mechanism opens relay", _mechanism),
    Check("the account is not denied", _denied, ("account",)),
    Check("the account opens relay", _account, ("account",)),
    Check("few enough accounts on the address", _accounts, ("address",)),
    Check("few enough addresses of the account", _addresses, ("account",)),
    Check("few enough clients let in within the last minute", _rate, ("address",)),
    Check("few enough clients that may relay", _clients, ("address",)),
)
"""All rules in the order in which they are asked; the cheap and the general come first."""
