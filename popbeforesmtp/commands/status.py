"""Say how the daemon is doing: exit status 0 if all is well, 1 if there is something to look at."""

import argparse
from typing import Any

from popbeforesmtp.commands import add_config, add_json, write_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_config(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Show how the daemon is doing; return 1 if there is something to look at."""
    from popbeforesmtp.classic import bridge
    from popbeforesmtp.commands._ask import authorizations
    from popbeforesmtp.control import ask
    from popbeforesmtp.errors import PopBeforeSmtpError

    settings = bridge.load(arguments.config)
    status = ask(settings.control, "status")
    if status is None:
        warnings = ["no daemon is running: nobody new is let in, and `pop-before-smtp sweep` must end what expires"]
        held = 0
        try:
            held = len(authorizations(settings))
        except PopBeforeSmtpError as error:
            warnings.append(str(error))
        status = {"state": "not running", "authorizations": held, "warnings": warnings}
    if arguments.json:
        write_json(status)
    else:
        _show(status)
    return 1 if status["warnings"] else 0


def _show(status: dict[str, Any]) -> None:
    from popbeforesmtp.commands._ask import say
    from popbeforesmtp.text import escape

    running = (
        f"version {status['version']}, pid {status['pid']}, since {status['started_at'][:19]}Z"
        if "pid" in status
        else ""
    )
    say(f"{'state':16}{status['state']}{', ' + running if running else ''}")
    say(f"{'authorizations':16}{status.get('authorizations', 0)}")
    for sentence in status.get("found", ()):
        say(f"{'at the start':16}{escape(sentence)}")
    for source in status.get("sources", ()):
        behind = "" if source["size"] is None else f", {source['size'] - source['offset']} bytes behind"
        last = f", last line of {source['last_line_at']}" if source["last_line_at"] else ""
        state = f"{escape(source['name'])}: {escape(source['state'])}"
        say(f"{'source':16}{state}{behind}, {source['lines']} lines read{last}")
    for access_map in status.get("maps", ()):
        say(f"{'map':16}{escape(access_map['name'])}: {escape(access_map['trouble'] or 'up to date')}")
    block = status.get("block")
    if block is not None:
        told = f"{escape(block['name'])}: {escape(block['trouble'] or 'up to date')}"
        say(f"{'blocked':16}{block['blocked']} addresses; {told}")
    for lookup in status.get("lookups", ()):
        say(
            f"{'lookup':16}{escape(lookup['name'])}: {lookup['connections']} connections,"
            f" {lookup['questions']} questions, {lookup['granted']} answered with yes"
        )
    for name, count in sorted(status.get("counts", {}).items()):
        say(f"{'count':16}{name}: {count}")
    for warning in status["warnings"]:
        say(f"{'warning':16}{escape(warning)}")
