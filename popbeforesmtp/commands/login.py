"""Tell the daemon of a login: for a script that the POP or IMAP server runs behind each, such as Dovecot's post-login.

Takes address and account from the options, else from the environment as Dovecot sets it (IP, USER). Says nothing and
never fails, for a login must not depend on us; at most a second is waited for the daemon. A command behind `--` is run
afterwards in our place, as Dovecot's script-login wants it. Behind Dovecot, which sets HOME to the user's, run it as
`python3 -I -m popbeforesmtp login`: contrib/dovecot has the lines.
"""

import argparse
import os
from pathlib import Path

from popbeforesmtp.errors import UnavailableError

_SECONDS = 1.0  # that a login may be held up by us


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("--address", metavar="ADDRESS", help="where the client is (default: $IP)")
    parser.add_argument("--account", metavar="USER", help="who logged in (default: $USER)")
    parser.add_argument("--service", metavar="NAME", default="imap", help="imap or pop3 (default: imap)")
    parser.add_argument(
        "--socket", type=Path, metavar="PATH", default="/run/pop-before-smtp/login", help="where the daemon listens"
    )
    parser.add_argument("command", metavar="COMMAND", nargs=argparse.REMAINDER, help="what to run then")


def run(arguments: argparse.Namespace) -> int:
    """Tell the daemon, and become the command that is to be run then. Raises UnavailableError."""
    address = arguments.address or os.environ.get("IP", "")
    account = arguments.account or os.environ.get("USER", "")
    _tell(arguments.socket, f"service={arguments.service} address={address} user={account}")
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if command:
        try:
            os.execvp(command[0], command)  # noqa: S606 - a shell is what must not be here
        except OSError as error:
            raise UnavailableError(
                f"{command[0]}: cannot be run: {error.strerror}; correct what is behind `--`"
            ) from None
    return 0


def _tell(path: Path, text: str) -> None:
    """Send a line and wait for the answer; whatever goes wrong is the daemon's trouble, not the user's."""
    import socket

    line = text.encode("utf-8", "surrogateescape")
    if b"\n" in line:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_SECONDS)
            connection.connect(str(path))
            connection.sendall(line + b"\n")
            connection.recv(16)
    except OSError:
        pass
