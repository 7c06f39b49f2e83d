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
    """Answer."""
    from datetime import UTC, datetime

    from popbeforesmtp.addresses import parse_address
    from popbeforesmtp.classic import bridge
    from popbeforesmtp.commands._ask import authorizations, say
    from popbeforesmtp.control import ask
    from popbeforesmtp.errors import UsageError
    from popbeforesmtp.text import duration, escape, local

    client = parse_address(arguments.address)
    if client is None:
        raise UsageError(f"{escape(arguments.address)!r} is no IPv4 or IPv6 address; write one, as in 192.0.2.10")
    settings = bridge.load(arguments.config)
    answer = ask(settings.control, "check", address=client)
    if answer is None:
        held = [entry["expires_at"] for entry in authorizations(settings) if entry["address"] == client]
        answer = {"expires_at": held[0] if held else None}
    if arguments.json:
        write_json({"address": client, "may_relay": answer["expires_at"] is not None, **answer})
    elif answer["expires_at"] is None:
        say(f"{client} may not relay")
    else:
        until = datetime.fromisoformat(answer["expires_at"])
        left = (until - datetime.now(UTC)).total_seconds()
        say(f"{client} may relay until {local(until)} ({duration(max(left, 0))} left)")
    return 0 if answer["expires_at"] is not None else 1
