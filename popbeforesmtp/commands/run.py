"""Run the daemon, in the foreground or detached.

Reads the configuration, or finds out what is on this machine and says so; then follows the log until SIGTERM, and ends
with 0. SIGHUP reads the configuration again and opens the log file anew. With --daemon the command returns when the
daemon is ready, or says why it is not.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from popbeforesmtp.commands import add_config

if TYPE_CHECKING:
    from popbeforesmtp.config import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_config(parser)
    parser.add_argument(
        "--daemon", type=Path, metavar="PIDFILE", help="go into the background; the process id is kept there"
    )
    parser.add_argument("--user", metavar="USER", help="go on as this user, with all of its groups")
    parser.add_argument(
        "--log", metavar="WHERE", help="stderr, syslog, or a file (default: as configured, else stderr)"
    )
    parser.add_argument(
        "--insecure-log", action="store_true", help="read logs that others than root and the syslog daemon may write"
    )
    parser.add_argument("--json", action="store_true", help="log JSON, one object a line")
    parser.add_argument("--debug", action="store_true", help="also say renewals and other everyday things")


def run(arguments: argparse.Namespace) -> int:
    """Read the configuration, and be the daemon, in the foreground or detached."""
    import os
    import signal
    from dataclasses import replace

    from popbeforesmtp import detach, wiring
    from popbeforesmtp.classic import bridge

    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to read again

    # A detached daemon stands elsewhere.
    arguments.config = arguments.config and arguments.config.absolute()
    if arguments.log not in (None, "stderr", "syslog"):
        arguments.log = str(Path(arguments.log).absolute())
    settings = replace(bridge.load(arguments.config), insecure_log=arguments.insecure_log)
    wiring.check(settings)
    os.umask(detach.UMASK)
    if arguments.daemon is None:
        _run(arguments, settings, lambda: None)
        return 0
    detach.refuse_stdin(settings)
    return detach.detached(arguments.daemon, lambda ready: _run(arguments, settings, ready))


def _run(arguments: argparse.Namespace, settings: "Settings", ready: Callable[[], None]) -> None:
    """Give up what is not needed, and be the daemon."""
    from popbeforesmtp import daemon, maillog, privileges
    from popbeforesmtp.classic import bridge
    from popbeforesmtp.clock import SystemClock

    def open_log(settings: "Settings") -> None:
        target = arguments.log or settings.log
        if arguments.daemon is not None and target == "stderr":
            target = "syslog"  # nobody reads the standard error of a detached process
        maillog.open_log(target, debug=arguments.debug, as_json=arguments.json)

    privileges.allow_files()
    if arguments.user is not None:
        privileges.become(arguments.user)
    open_log(settings)
    daemon.run(settings, SystemClock(), load=lambda: bridge.load(arguments.config), open_log=open_log, ready=ready)
