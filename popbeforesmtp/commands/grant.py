"""Let an address relay for a while by hand, without a login.

The daemon keeps it across restarts, with the user who did it and the reason. It ends at its time whatever happens to
logins from that address; `revoke` ends it earlier.
"""

import argparse

from popbeforesmtp.commands import add_config, add_json, write_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_config(parser)
    add_json(parser)
    parser.add_argument("address", metavar="ADDRESS", help="an IPv4 or IPv6 address")
    end = parser.add_mutually_exclusive_group()
    end.add_argument("--for", dest="span", metavar="SPAN", help="how long, as in 2h (s, m, h, d; default: the grace)")
    end.add_argument("--until", metavar="TIME", help="until when: 2026-12-24T18:00, local time unless it names a zone")
    parser.add_argument("--reason", default="", metavar="TEXT", help="why, for the audit trail")


def run(arguments: argparse.Namespace) -> int:
    """Have the daemon grant, and say until when."""
    from datetime import datetime

    from popbeforesmtp.classic import bridge
    from popbeforesmtp.commands._ask import address, moment, order, say
    from popbeforesmtp.text import local

    settings = bridge.load(arguments.config)
    client = address(arguments.address)
    until = moment(arguments.span, arguments.until) or moment(f"{int(settings.grace.total_seconds())}s", None)
    answer = order(settings, "grant", address=client, until=until, reason=arguments.reason)
    if arguments.json:
        write_json(answer)
        return 0
    say(f"{client} may relay until {local(datetime.fromisoformat(answer['expires_at']))}")
    if answer["logins_refused"]:
        say("(logins from there still open nothing, for it was revoked; this grant holds all the same)")
    return 0
