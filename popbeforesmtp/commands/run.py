"""Run the daemon, in the foreground.

Reads the configuration, or finds out what is on this machine and says so; then follows the log until SIGTERM, and ends
with 0. What it does is said on standard error, a line each.
"""

import argparse

from popbeforesmtp.commands import add_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_config(parser)
    parser.add_argument("--debug", action="store_true", help="also say renewals and other everyday things")


def run(arguments: argparse.Namespace) -> int:
    """Be the daemon."""
    from popbeforesmtp import config, daemon, maillog, wiring
    from popbeforesmtp.clock import SystemClock

    settings = config.load(arguments.config)
    wiring.check(settings)
    maillog.to_stderr(debug=arguments.debug)
    daemon.run(settings, SystemClock())
    return 0
