"""Look at every link from the log to the mail server, and say of each what is so and what to change.

Exit status 0 where nothing need be changed, 1 where something must. Nothing is changed, and no mail is sent. Run it as
root: who may not look at something cannot judge it.

--live also holds a conversation with this machine's mail server, up to RCPT, from an address of its own that the mail
server does not trust: mail to others must be refused, and refused because we were asked. That proves that strangers
cannot relay; that roaming clients can is proved only by one of them.
"""

import argparse

from popbeforesmtp.commands import add_config, add_json, write_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_config(parser)
    add_json(parser)
    parser.add_argument(
        "--live",
        metavar="ADDRESS",
        nargs="?",
        const="",
        help="also speak with the mail server, from and to this own address (default: one that it does not trust)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Examine every link; return 1 if any is wrong."""
    from dataclasses import asdict

    from popbeforesmtp import wiring
    from popbeforesmtp.classic import bridge
    from popbeforesmtp.clock import SystemClock
    from popbeforesmtp.commands._ask import address, say
    from popbeforesmtp.links import Level, Machine, examine
    from popbeforesmtp.text import escape

    if arguments.live:
        address(arguments.live)  # complains
    settings = bridge.load(arguments.config)
    wiring.check(settings)
    findings = list(examine(Machine(settings, SystemClock(), arguments.live)))
    if arguments.json:
        write_json([{"link": name, **asdict(finding)} for name, finding in findings])
    else:
        for name, finding in findings:
            level = finding.level.upper() if finding.level is Level.WRONG else finding.level
            say(f"{level:6}{name:20}{escape(finding.found)}")
            if finding.change:
                say(f"{'':26}-> {escape(finding.change)}")
    return 1 if any(finding.level is Level.WRONG for _, finding in findings) else 0
