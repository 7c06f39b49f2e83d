"""How much there may be at once: at a limit what is new is refused, and nobody is evicted."""

from typing import NamedTuple

from popbeforesmtp.model import Reason
from popbeforesmtp.rules.ruleset import Limits


class Standing(NamedTuple):
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
    return Reason.ACCOUNTS if 0 < limits.accounts_per_address <= standing.accounts else None


def too_many_addresses(standing: Standing, limits: Limits) -> Reason | None:
    """Say that the account opens relay for as many other addresses as one may."""
    return Reason.ADDRESSES if 0 < limits.addresses_per_account <= standing.addresses else None


def too_many_of_late(standing: Standing, limits: Limits) -> Reason | None:
    """Say that as many clients as may were let in within the last minute; who may relay already is let be."""
    return Reason.RATE if 0 < limits.grants_per_minute <= standing.recent and not standing.live else None


def too_many_clients(standing: Standing, limits: Limits) -> Reason | None:
    """Say that as many clients as there may be may relay; who may relay already is let be."""
    return Reason.LIVE if 0 < limits.clients <= standing.clients and not standing.live else None


LIMITS = (too_many_accounts, too_many_addresses, too_many_of_late, too_many_clients)
"""All limits, in the order in which they are asked."""
