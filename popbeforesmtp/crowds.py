"""How many accounts stand behind one address, and how many addresses behind one account.

An address that many share (a proxy, a container gateway, a webmail, a large NAT) lets all of them relay with the login
of one. Of an address with a single account nothing is kept here: the active set remembers it by a mark of its name.
"""

from typing import TypeVar

from popbeforesmtp.active import Before, mark
from popbeforesmtp.addresses import ClientAddress

CROWD = 20
"""Accounts on one address within their windows from which on somebody should look at it."""

Name = TypeVar("Name")
Owner = TypeVar("Owner")
_NOBODY = mark("")  # of what was granted by hand


class Crowds:
    """Counts accounts and addresses; ends are seconds since 1970."""

    def __init__(self, *, of_accounts: bool = False) -> None:
        self._of_accounts = of_accounts  # whether each account's addresses are counted too; that costs memory
        # The ends of each account's windows, only where there was more than one, or addresses are counted.
        self._accounts: dict[ClientAddress, dict[int, float]] = {}
        self._addresses: dict[int, dict[ClientAddress, float]] = {}

    def granted(self, client: ClientAddress, user: str, end: float, before: Before | None) -> None:
        """Take in a login, or a grant by hand, where the account is empty.

        ``before`` tells of the login that gave the client its window, where one goes on.
        """
        account = mark(user)
        known = self._accounts.get(client)
        if known is None and (self._of_accounts or (before is not None and before[0] != account)):
            known = self._accounts[client] = {} if before is None else _one(before)
        if not user:
            return
        if known is not None:
            known[account] = max(end, known.get(account, 0.0))
        if self._of_accounts:
            addresses = self._addresses.setdefault(account, {})
            addresses[client] = max(end, addresses.get(client, 0.0))

    def ended(self, client: ClientAddress) -> None:
        """Forget a client."""
        for account in self._accounts.pop(client, ()):
            self._addresses.get(account, {}).pop(client, None)

    def accounts(self, client: ClientAddress, user: str, now: float, before: Before | None) -> int:
        """Return how many other accounts a client may relay through."""
        known = self._accounts.get(client)
        if known is None:
            known = {} if before is None else _one(before)
        return len(_live(known, now).keys() - {mark(user)})

    def addresses(self, client: ClientAddress, user: str, now: float) -> int:
        """Return how many other clients may relay through an account."""
        return len(_live(self._addresses.get(mark(user), {}), now).keys() - {client})

    def count_addresses(self, *, of_accounts: bool) -> None:
        """Begin anew to count each account's addresses, or no longer do."""
        self._of_accounts = of_accounts
        self._addresses.clear()

    def settle(self, client: ClientAddress) -> None:
        """Forget what accounts are on a client; those that are left are told anew."""
        if client in self._accounts:
            self.ended(client)
            self._accounts[client] = {}

    def purge(self, now: float) -> None:
        """Let go of what has ended."""
        self._addresses = _purged(self._addresses, now)
        self._accounts = _purged(self._accounts, now)

    def crowded(self, now: float) -> list[tuple[ClientAddress, int]]:
        """Return the addresses that too many accounts stand behind, and how many."""
        counts = ((client, self.crowd(client, now)) for client in self._accounts)
        return [(client, count) for client, count in counts if count]

    def crowd(self, client: ClientAddress, now: float) -> int:
        """Return how many accounts stand behind an address, where they are too many; else 0."""
        known = self._accounts.get(client)
        if known is None or len(known) < CROWD:
            return 0
        count = len(_live(known, now))
        return count if count >= CROWD else 0


def _one(before: Before) -> dict[int, float]:
    """Return the account that gave a window; none where it was granted by hand."""
    return {} if before[0] == _NOBODY else {before[0]: before[1]}


def _purged(known: dict[Owner, dict[Name, float]], now: float) -> dict[Owner, dict[Name, float]]:
    return {owner: left for owner, ends in known.items() if (left := _live(ends, now))}


def _live(ends: dict[Name, float], now: float) -> dict[Name, float]:
    return {name: end for name, end in ends.items() if end > now}
