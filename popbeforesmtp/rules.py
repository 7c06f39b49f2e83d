"""Who may relay and until when: pure, no I/O, time is an argument.

Where in doubt the answer is the shorter leave: a stale login gives none, and a stamp in the future never reaches past
``now + grace``.
"""

from dataclasses import dataclass
from datetime import timedelta

from popbeforesmtp.addresses import NEVER, NO_NETWORKS, ClientAddress, NetworkSet
from popbeforesmtp.clock import Moment
from popbeforesmtp.model import Authorization, Decision, EventKind, Origin, Reason, SessionEvent, Verdict

AHEAD = timedelta(seconds=60)
"""How far a stamp may be ahead of our clock; two hosts that keep time are closer together."""

_IGNORE = Decision(Verdict.IGNORE)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the administrator decided."""

    grace: timedelta
    trusted: NetworkSet = NO_NETWORKS  # may relay anyway, and need no authorization
    never: NetworkSet = NO_NETWORKS  # besides the built-in ones
    own: frozenset[ClientAddress] = frozenset()  # this host's addresses: a webmail or a proxy, never a client


def decide(event: SessionEvent, origin: Origin, now: Moment, rules: Rules) -> Decision:
    """Say what becomes of an event: only a login can authorize, and only its own address."""
    client = event.client
    if event.kind is not EventKind.LOGIN or client is None or not event.user:
        return _IGNORE
    reason = _refuse_login(event, now, rules) or _refuse_client(client, rules)
    if reason is not None or event.time is None:
        return Decision(Verdict.REFUSE, reason or Reason.NO_TIME)
    login_at = min(event.time, now.wall)
    expires_at = login_at + rules.grace
    return Decision(
        Verdict.GRANT,
        authorization=Authorization(
            client=client,
            expires_at=expires_at,
            deadline=now.boottime + (expires_at - now.wall).total_seconds(),
            user=event.user,
            service=event.service or "",
            login_at=login_at,
            format=event.format,
            origin=origin,
        ),
    )


def bar(client: ClientAddress, rules: Rules) -> Reason | None:
    """Say why an address may never be authorized, also if it was before the rules were changed."""
    if client in NEVER or client in rules.never:
        return Reason.NEVER
    return Reason.OWN if client in rules.own else None


def _refuse_client(client: ClientAddress, rules: Rules) -> Reason | None:
    """Say why an address gets no authorization."""
    return bar(client, rules) or (Reason.TRUSTED if client in rules.trusted else None)


def _refuse_login(event: SessionEvent, now: Moment, rules: Rules) -> Reason | None:
    """Say why this login opens nothing."""
    if not event.genuine:
        return Reason.FORGED
    if event.mechanism == "ANONYMOUS":  # RFC 4505: nobody proved anything
        return Reason.ANONYMOUS
    if event.time is None:
        return Reason.NO_TIME
    if event.time > now.wall + AHEAD:
        return Reason.FUTURE
    if event.time + rules.grace <= now.wall:
        return Reason.STALE
    return None
