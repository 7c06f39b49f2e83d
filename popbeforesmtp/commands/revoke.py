"""End windows by hand: of an address, of all that an account opened, or everybody's.

No login that was stamped before opens a window again; the next one after it does, unless --for or --until refuse new
ones for a while; a later revocation never shortens that, --lift ends it. It is on the disk before it is confirmed. Mail
that is being accepted at this moment is not stopped.
"""

import argparse

from popbeforesmtp.commands import add_config, add_json, write_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_config(parser)
    add_json(parser)
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("address", nargs="?", metavar="ADDRESS", help="an IPv4 or IPv6 address")
    who.add_argument("--user", metavar="ACCOUNT", help="what this account's logins opened; other accounts' stays")
    who.add_argument("--all", action="store_true", help="everything")
    end = parser.add_mutually_exclusive_group()
    end.add_argument("--for", dest="span", metavar="SPAN", help="also refuse new logins for so long, as in 1d")
    end.add_argument("--until", metavar="TIME", help="also refuse new logins until then")
    end.add_argument("--lift", action="store_true", help="let new logins count again that an earlier --for refuses")
    parser.add_argument("--reason", default="", metavar="TEXT", help="why, for the audit trail")


def run(arguments: argparse.Namespace) -> int:
    """Have the daemon revoke, and say who may no longer relay."""
    from datetime import datetime

    from popbeforesmtp.classic import bridge
    from popbeforesmtp.commands._ask import address, moment, order, say
    from popbeforesmtp.text import escape, local

    settings = bridge.load(arguments.config)
    whom: dict[str, object] = {"all": True} if arguments.all else {}
    if arguments.user is not None:
        whom["user"] = arguments.user
    elif not arguments.all:
        whom["address"] = address(arguments.address)
    until = moment(arguments.span, arguments.until)
    answer = order(settings, "revoke", **whom, until=until, lift=arguments.lift, reason=arguments.reason)
    if arguments.json:
        write_json(answer)
        return 0
    if arguments.lift:
        say("new logins count again; windows that were ended stay ended")
        return 0
    for client in answer["ended"]:
        say(f"{client} may no longer relay")
    if not answer["ended"]:
        say("no window was open; logins of before count no more all the same")
    name = "nobody" if arguments.all else escape(arguments.user or str(whom.get("address")))
    if answer["until"] is not None:
        end = local(datetime.fromisoformat(answer["until"]))
        say(f"logins {'of anybody' if arguments.all else f'of {name}'} open nothing until {end}")
    return 0
