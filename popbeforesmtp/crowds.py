"""How many accounts stand behind one address, and how many addresses behind one account.

An address that many share (a proxy, a container gateway, a webmail, a large NAT) lets all of them relay with the login
of one. Of an address with a single account nothing is kept here: the active set remembers it by a mark of its name.
"""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from popbeforesmtp.active import Before, mark
from popbeforesmtp.addresses import ClientAddress

CROWD = 20
"""Accounts on one address within their windows from which on somebody should look at it."""


Name = TypeVar("Name")


class Crowds:
    """Counts accounts and addresses; ends are seconds since 1970."""

    def __init__(self, *, of_accounts: bool = False) -> None:
        self._of_accounts = of_accounts  # whether each account's addresses are counted too; that costs memory
        self._accounts: dict[ClientAddress, dict[int, float]] = {}  # only where there was more than one
        self._addresses: dict[int, dict[ClientAddress, float]] = {}

    def granted(self, client: ClientAddress, user: str, end: float, before: Before | None) -> None:
        """Take in a login; ``before`` tells of the one that gave the client its window, where one goes on."""
        account = mark(user)
        known = self._accounts.get(client)
        if known is None and before is not None and before[0] != account:
            known = self._accounts[client] = {before[0]: before[1]}
        if known is not None:
            known[account] = max(end, known.get(account, 0.0))
        if self._of_accounts:
            addresses = self._addresses.setdefault(account, {})
            addresses[client] = max(end, addresses.get(client, 0.0))

    def ended(self, client: ClientAddress) -> None:
        """Forget a client."""
        self._accounts.pop(client, None)

    def accounts(self, client: ClientAddress, user: str, now: float, before: Before | None) -> int:
        """Return how many other accounts a client may relay through."""
        known = self._accounts.get(client)
        if known is None:
            known = {} if before is None else {before[0]: before[1]}
        return len(_live(known, now).keys() - {mark(user)})

    def addresses(self, client: ClientAddress, user: str, now: float) -> int:
        """Return how many other clients may relay through an account."""
        account = mark(user)
        left = _live(self._addresses.get(account, {}), now)
        if left:
            self._addresses[account] = left
        else:
            self._addresses.pop(account, None)
        return len(left.keys() - {client})

    def forget(self, client: ClientAddress, user: str) -> None:
        """Forget that an account may relay from a client."""
        self._accounts.get(client, {}).pop(mark(user), None)
        self._addresses.get(mark(user), {}).pop(client, None)

    def purge(self, now: float) -> None:
        """Let go of what has ended."""
        for account in list(self._addresses):
            left = _live(self._addresses[account], now)
            if left:
                self._addresses[account] = left
            else:
                del self._addresses[account]

    def crowded(
        self, now: float, clients: Iterable[ClientAddress] | None = None
    ) -> Iterator[tuple[ClientAddress, int]]:
        """Give the addresses, of all or of some, that too many accounts stand behind, and how many."""
        for client in list(self._accounts) if clients is None else clients:
            count = len(_live(self._accounts.get(client, {}), now))
            if count >= CROWD:
                yield client, count


def _live(ends: dict[Name, float], now: float) -> dict[Name, float]:
    return {name: end for name, end in ends.items() if end > now}
