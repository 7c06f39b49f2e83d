"""Say whether one address may relay now: exit status 0 if it may, 1 if not.

Asks the daemon; where none runs, says what the store holds.
"""

import argparse

from popbeforesmtp.commands import add_config, add_json, write_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_config(parser)
    add_json(parser)
    parser.add_argument("address", metavar="ADDRESS", help="an IPv4 or IPv6 address")


def run(arguments: argparse.Namespace) -> int:
    """Say whether the address may relay; return 1 if not."""
    from datetime import UTC, datetime
    from ipaddress import ip_address

    from popbeforesmtp.addresses import parse_network
    from popbeforesmtp.classic import bridge
    from popbeforesmtp.commands._ask import address, authorizations, say
    from popbeforesmtp.control import ask
    from popbeforesmtp.text import duration, local

    client = address(arguments.address)
    settings = bridge.load(arguments.config)
    answer = ask(settings.control, "check", address=client)
    if answer is None:
        asked = ip_address(client)
        held = [entry for entry in authorizations(settings) if asked in parse_network(entry["address"])]
        ends = [datetime.fromisoformat(entry["expires_at"]) for entry in held]
        answer = {"expires_at": max(ends).isoformat() if ends else None}
    if arguments.json:
        write_json({"address": client, "may_relay": answer["expires_at"] is not None, **answer})
    elif answer["expires_at"] is None:
        say(f"{client} may not relay")
    else:
        until = datetime.fromisoformat(answer["expires_at"])
        left = (until - datetime.now(UTC)).total_seconds()
        say(f"{client} may relay until {local(until)} ({duration(max(left, 0))} left)")
    return 0 if answer["expires_at"] is not None else 1
