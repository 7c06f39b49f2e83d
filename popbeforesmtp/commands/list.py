"""List who may relay now, until when, and which login opened it: one line for each reason that somebody may.

Asks the daemon; where none runs, says what the store holds.
"""

import argparse
from typing import Any

from popbeforesmtp.commands import add_config, add_json, write_json

_SORTS = ("until", "address", "user", "login")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_config(parser)
    add_json(parser)
    parser.add_argument("--user", metavar="GLOB", help="only what these accounts opened, as in '*@example.com'")
    parser.add_argument("--network", metavar="NETWORK", help="only addresses in this network, as in 192.0.2.0/24")
    parser.add_argument("--rule", choices=("grace", "hold", "by hand"), help="only what was opened so")
    parser.add_argument("--sort", choices=_SORTS, default="until", help="(default: until)")


def run(arguments: argparse.Namespace) -> int:
    """Show the authorizations that are asked for, in the order that is asked for."""
    from datetime import UTC, datetime

    from tabulate import tabulate

    from popbeforesmtp.classic import bridge
    from popbeforesmtp.commands._ask import authorizations, say
    from popbeforesmtp.text import duration, escape, local

    wanted = _Wanted(arguments)
    settings = bridge.load(arguments.config)
    entries = sorted(filter(wanted, authorizations(settings)), key=lambda entry: _order(entry, arguments.sort))
    if arguments.json:
        write_json(entries)
        return 0
    now = datetime.now(UTC)
    rows = []
    for entry in entries:
        until = datetime.fromisoformat(entry["expires_at"])
        rows.append(
            (
                entry["address"],
                escape(entry["user"]) or "-",
                escape(entry["service"]) or "-",
                local(datetime.fromisoformat(entry["login_at"])),
                local(until),
                duration(max((until - now).total_seconds(), 0)),
                entry["rule"],
            )
        )
    say(
        tabulate(
            rows,
            headers=("ADDRESS", "USER", "SERVICE", "LOGIN", "UNTIL", "LEFT", "RULE"),
            tablefmt="plain",
            disable_numparse=True,
        )
    )
    return 0


class _Wanted:
    """Says which entries are asked for."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        from popbeforesmtp.accounts import Accounts
        from popbeforesmtp.addresses import parse_network
        from popbeforesmtp.errors import UsageError
        from popbeforesmtp.text import escape

        self._accounts = None if arguments.user is None else Accounts([arguments.user])
        self._rule: str | None = arguments.rule
        self._network = None
        if arguments.network is not None:
            try:
                self._network = parse_network(arguments.network)
            except ValueError:
                text = escape(arguments.network)
                raise UsageError(f"'{text}' is no network; write it as in 192.0.2.0/24 or 2001:db8::/32") from None

    def __call__(self, entry: dict[str, Any]) -> bool:
        from popbeforesmtp.addresses import parse_network

        if self._accounts is not None and entry["user"] not in self._accounts:
            return False
        if self._rule is not None and entry["rule"] != self._rule:
            return False
        if self._network is None:
            return True
        theirs = parse_network(entry["address"])
        return theirs.version == self._network.version and theirs.subnet_of(self._network)  # type: ignore[arg-type]


def _order(entry: dict[str, Any], sort: str) -> tuple[object, ...]:
    from popbeforesmtp.addresses import parse_network

    network = parse_network(entry["address"])
    place = (network.version, int(network.network_address))
    first: dict[str, object] = {"until": entry["expires_at"], "user": entry["user"], "login": entry["login_at"]}
    return (first.get(sort, ""), *place, entry["user"])
