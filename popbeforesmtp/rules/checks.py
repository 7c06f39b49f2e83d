"""The checks that a login must pass, in the order in which they are asked; the first that refuses decides."""

from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.clock import Moment
from popbeforesmtp.model import Reason, SessionEvent
from popbeforesmtp.rules.bars import bar, tombstones_of
from popbeforesmtp.rules.limits import (
    Standing,
    too_many_accounts,
    too_many_addresses,
    too_many_clients,
    too_many_of_late,
)
from popbeforesmtp.rules.ruleset import Limits, Rules, grace_for

AHEAD = timedelta(seconds=60)
"""How far a stamp may be ahead of our clock; two hosts that keep time are closer together."""


class Case(NamedTuple):
    """What a check looks at."""

    event: SessionEvent
    client: ClientAddress
    user: str
    now: Moment
    rules: Rules
    standing: Standing
    held: bool


def _forged(case: Case) -> Reason | None:
    return None if case.event.genuine else Reason.FORGED


def _empty(case: Case) -> Reason | None:
    return None if case.user.strip() else Reason.EMPTY


def _anonymous(case: Case) -> Reason | None:
    """RFC 4505: nobody proved anything."""
    named = case.user.casefold() == "anonymous"
    return Reason.ANONYMOUS if named or case.event.mechanism == "ANONYMOUS" else None


def _no_time(case: Case) -> Reason | None:
    return Reason.NO_TIME if case.event.time is None else None


def _future(case: Case) -> Reason | None:
    return Reason.FUTURE if case.event.time is not None and case.event.time > case.now.wall + AHEAD else None


def _stale(case: Case) -> Reason | None:
    """Say that a login is older than all it could open; an open session counts from its login too."""
    grace = grace_for(case.user, case.event.service, case.rules)
    most = max(grace, case.rules.hold) if case.held else grace
    time = case.event.time
    return Reason.STALE if time is not None and time + most <= case.now.wall else None


def _never(case: Case) -> Reason | None:
    return bar(case.client, case.rules)


def _trusted(case: Case) -> Reason | None:
    return Reason.TRUSTED if case.client in case.rules.trusted else None


def _revoked(case: Case) -> Reason | None:
    """Say that somebody revoked, and that this login does not come after it.

    Stamps have whole seconds: of the second of the revocation none counts.
    """
    for tombstone in tombstones_of(case.client, case.user, case.rules):
        old = case.event.time is None or case.event.time <= tombstone.at
        if old or case.now.wall < tombstone.until:
            return Reason.REVOKED
    return None


def _service(case: Case) -> Reason | None:
    service = case.event.service
    return None if service is None or service in case.rules.services else Reason.SERVICE


def _tls(case: Case) -> Reason | None:
    return Reason.TLS if case.rules.tls and case.event.tls is not True else None


def _mechanism(case: Case) -> Reason | None:
    mechanism = case.event.mechanism
    return None if mechanism is None or mechanism in case.rules.mechanisms else Reason.MECHANISM


def _denied(case: Case) -> Reason | None:
    return Reason.DENIED if case.user in case.rules.deny_accounts else None


def _account(case: Case) -> Reason | None:
    return None if case.user in case.rules.accounts else Reason.ACCOUNT


def _within(limit: Callable[[Standing, Limits], Reason | None]) -> Callable[[Case], Reason | None]:
    """Make a check of a limit."""
    return lambda case: limit(case.standing, case.rules.limits)


class Check(NamedTuple):
    """One rule: what it asks, what says why it refuses, and what alone has to be known for that."""

    asks: str
    refuses: Callable[[Case], Reason | None]
    about: tuple[str, ...] = ()  # "address", "account"; empty where the login itself must be known


PROOF: tuple[Check, ...] = (
    Check("written by the server itself", _forged),
    Check("names an account", _empty),
    Check("somebody proved who they are", _anonymous),
    Check("has a time", _no_time),
    Check("the time is not in the future", _future),
)
"""What makes a login somebody's proof of who they are, whether it opens relay or not."""

WITHOUT_LIMITS: tuple[Check, ...] = (
    *PROOF,
    Check("younger than its grace period", _stale),
    Check("the address may be authorized at all", _never, ("address",)),
    Check("the address needs an authorization", _trusted, ("address",)),
    Check("later than every revocation", _revoked, ("address", "account")),
    Check("the service opens relay", _service),
    Check("encrypted, where that is asked for", _tls),
    Check("the mechanism opens relay", _mechanism),
    Check("the account is not denied", _denied, ("account",)),
    Check("the account opens relay", _account, ("account",)),
)
"""All that is asked where there are no limits."""

CHECKS: tuple[Check, ...] = (
    *WITHOUT_LIMITS,
    Check("few enough accounts on the address", _within(too_many_accounts), ("address",)),
    Check("few enough addresses of the account", _within(too_many_addresses), ("account",)),
    Check("few enough clients let in within the last minute", _within(too_many_of_late), ("address",)),
    Check("few enough clients that may relay", _within(too_many_clients), ("address",)),
)
"""All rules in the order in which they are asked; the cheap and the general come first."""
