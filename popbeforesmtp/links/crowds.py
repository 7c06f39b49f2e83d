"""One address, one household: many accounts behind an address mean that something stands in between."""

from collections.abc import Iterator

from popbeforesmtp.links import Finding, Machine, sound, wrong
from popbeforesmtp.rules import Rules, bar

PLACE = 35

MANY = 20
"""Accounts that logged in from one address: a proxy, a container's gateway or a webmail is in between."""


def look(machine: Machine) -> Iterator[Finding]:
    """Count the accounts of each address at the end of the logs."""
    rules = Rules(machine.settings.grace, machine.found.trusted, machine.settings.never)
    crowds = False
    for name, seen in machine.seen.items():
        for client, accounts in seen.accounts.items():
            if len(accounts) >= MANY and bar(client, rules) is None and client not in machine.found.trusted:
                crowds = True
                yield wrong(
                    f"{name}: {len(accounts)} accounts logged in from {client}: a proxy, a gateway or a webmail,"
                    " through which strangers may come too",
                    f'[rules] never = ["{client}"], or let the server log the real address'
                    " (Dovecot: login_trusted_networks, haproxy_trusted_networks)",
                )
    if not crowds and machine.seen:
        yield sound(f"no address stands for {MANY} accounts or more")
