"""How much there may be at once: at a limit what is new is refused, and nobody is evicted."""

from dataclasses import dataclass

from popbeforesmtp.model import Reason
from popbeforesmtp.rules.ruleset import Limits


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


def limited(standing: Standing, limits: Limits) -> Reason | None:
    """Say which limit has been reached."""
    reached = (each(standing, limits) for each in LIMITS)
    return next((reason for reason in reached if reason is not None), None)


def too_many_accounts(standing: Standing, limits: Limits) -> Reason | None:
    """Say that the address serves as many other accounts as one may."""
    return _at_limit(limits.accounts_per_address, standing.accounts, Reason.ACCOUNTS)


def too_many_addresses(standing: Standing, limits: Limits) -> Reason | None:
    """Say that the account opens relay for as many other addresses as one may."""
    return _at_limit(limits.addresses_per_account, standing.addresses, Reason.ADDRESSES)


def too_many_of_late(standing: Standing, limits: Limits) -> Reason | None:
    """Say that as many clients as may were let in within the last minute; who may relay already is let be."""
    return None if standing.live else _at_limit(limits.grants_per_minute, standing.recent, Reason.RATE)


def too_many_clients(standing: Standing, limits: Limits) -> Reason | None:
    """Say that as many clients as there may be may relay; who may relay already is let be."""
    return None if standing.live else _at_limit(limits.clients, standing.clients, Reason.LIVE)


def _at_limit(limit: int, count: int, reason: Reason) -> Reason | None:
    return reason if limit and count >= limit else None


LIMITS = (too_many_accounts, too_many_addresses, too_many_of_late, too_many_clients)
"""All limits, in the order in which they are asked."""
