"""Sendmail lets in who may relay, and refuses strangers.

Sendmail itself is asked, in its test mode (`sendmail -bt`): that runs the rules of its sendmail.cf.
"""

import os
import re
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

from popbeforesmtp import postconf
from popbeforesmtp.links import Finding, Machine, note, sound, wrong
from popbeforesmtp.links._rehearsal import OUTSIDE, member, rehearse, stranger

PLACE = 60

PROGRAMS = ("/usr/libexec/sendmail/sendmail", "/usr/lib/sm.bin/sendmail")
"""Where Debian keeps the real one; elsewhere it is the one in PATH."""

CONFIGURATION = Path("/etc/mail/sendmail.cf")

_LINES = (
    "put the lines in that `pop-before-smtp init -` prints for Sendmail, make sendmail.cf anew, and restart Sendmail"
)
_SUFFIX = ".db"
_RETURNS = re.compile(r"check_rcpt +returns: (.*)")
_ERROR = re.compile(r'\$# error .*?"?([45])[0-9][0-9] ([^"]*)')


def look(machine: Machine) -> Iterator[Finding]:
    """Run the rules for a stranger and for a client that may relay."""
    named = any(section.type == "sendmail" for section in machine.found.mtas)
    if not named and (machine.postfix is not None or not CONFIGURATION.exists()):
        return
    program = next((each for each in PROGRAMS if Path(each).exists()), None) or postconf.find("sendmail")
    if program is None:
        yield wrong("Sendmail is configured here and is not on this machine", "install it, or name another [[mta]]")
        return
    for name in machine.map_names_of("sendmail"):
        path = Path(f"{name.partition(':')[2]}{_SUFFIX}")
        if not path.exists():
            yield wrong(f"{path}: is not there: roaming clients are put off (451)", "start the daemon, which makes it")
    if os.geteuid() != 0:
        yield note("only root can ask Sendmail what it would do")
        return
    yield from _rehearse(machine, program)


def _rehearse(machine: Machine, program: str) -> Iterator[Finding]:
    nobody, client = stranger(machine), member(machine)
    answer = _ask(program, nobody)
    error = _ERROR.search(answer)
    if error is None:
        yield wrong(
            f"open relay: Sendmail would take a stranger's mail to <{OUTSIDE}>: {answer}", "FEATURE(`relay_…')?"
        )
    elif error[1] == "4":
        yield wrong(f"Sendmail puts strangers off: {error[2].strip()}", "is the map there, the daemon alive?")
    else:
        yield sound(f"Sendmail refuses strangers: {error[2].strip()}")
    if client is None:
        yield note("nobody may relay now, so that Sendmail cannot be asked for one", "log in, and run doctor again")
        return
    answer = _ask(program, str(client))
    error = _ERROR.search(answer)
    if error is None:
        yield sound(f"Sendmail lets in {client}, who logged in")
    else:
        yield wrong(f"Sendmail does not let in {client}, who logged in: {error[2].strip()}", _LINES)


def _ask(program: str, client: str) -> str:
    """Return what the rules make of a recipient elsewhere."""
    shown = client
    if ":" in client:  # all groups, as Sendmail writes them
        shown = "IPv6:" + ":".join(f"{int(group, 16):x}" for group in ip_address(client).exploded.split(":"))
    macros = {"{client_addr}": shown, "{client_name}": f"[{shown}]", "{client_resolve}": "FAIL", "r": "SMTP"}
    lines = [f".D{name}{value}" for name, value in macros.items()]
    lines += [".D{mail_from}<>", f"check_rcpt <{OUTSIDE}>"]
    answers = [match[1] for match in map(_RETURNS.search, rehearse(program, ["-bt"], "\n".join(lines) + "\n")) if match]
    return answers[-1] if answers else ""
