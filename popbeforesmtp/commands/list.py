"""List who may relay now, until when, and which login opened it.

Asks the daemon; where none runs, says what the store holds.
"""

import argparse

from popbeforesmtp.commands import add_config, add_json, write_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_config(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """List."""
    from datetime import UTC, datetime

    from tabulate import tabulate

    from popbeforesmtp import config
    from popbeforesmtp.commands._ask import authorizations, say
    from popbeforesmtp.text import duration, escape, local

    entries = sorted(authorizations(config.load(arguments.config)), key=lambda entry: str(entry["expires_at"]))
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
                escape(entry["user"]),
                entry["service"],
                local(datetime.fromisoformat(entry["login_at"])),
                local(until),
                duration(max((until - now).total_seconds(), 0)),
            )
        )
    say(
        tabulate(
            rows,
            headers=("ADDRESS", "USER", "SERVICE", "LOGIN", "UNTIL", "LEFT"),
            tablefmt="plain",
            disable_numparse=True,
        )
    )
    return 0
