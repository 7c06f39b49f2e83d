"""One address, one household: many accounts behind an address mean that something stands in between."""

from collections.abc import Iterator

from popbeforesmtp.crowds import CROWD
from popbeforesmtp.links import Finding, Machine, sound, wrong
from popbeforesmtp.rules import bar

PLACE = 35


def look(machine: Machine) -> Iterator[Finding]:
    """Count the accounts of each address at the end of the logs; the daemon counts those of one window."""
    settings, crowds = machine.settings, False
    rules = settings.rules.rules(settings.grace, settings.hold)
    for name, seen in machine.seen.items():
        for client, accounts in seen.accounts.items():
            if len(accounts) >= CROWD and bar(client, rules) is None and client not in machine.found.trusted:
                crowds = True
                yield wrong(
                    f"{name}: {client}: {len(accounts)} accounts log in from there; if it is a proxy, a webmail or a"
                    " gateway of ours, all its users may relay with one login",
                    f'[rules] never = ["{client}"], or let the server log the real address (Dovecot:'
                    " login_trusted_networks, haproxy_trusted_networks)",
                )
    if not crowds and machine.seen:
        yield sound(f"no address stands for {CROWD} accounts or more")
