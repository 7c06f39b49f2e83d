"""Exim lets in who may relay, refuses strangers, and needs neither our file nor our daemon to take inbound mail.

Exim itself is asked, in its test mode (`exim -bh`): that runs its own ACLs over a conversation that nobody holds.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from popbeforesmtp import postconf
from popbeforesmtp.links import Finding, Machine, note, sound, wrong
from popbeforesmtp.links._access import READ, barrier, named
from popbeforesmtp.links._rehearsal import OUTSIDE, member, rehearse, stranger

PLACE = 60

_LINES = "put the lines in that `pop-before-smtp init -` prints for Exim"
_USERS = ("Debian-exim", "exim", "mail")


def look(machine: Machine) -> Iterator[Finding]:
    """Rehearse what a stranger and a client that may relay would try."""
    names = [str(section.values.get("map", "")) for section in machine.found.mtas if section.type == "exim"]
    if not names and not any(name.startswith("readsocket:") for name in machine.lookup_names):
        return
    program = postconf.find("exim4") or postconf.find("exim")
    if program is None:
        yield wrong("Exim is configured here and is not on this machine", "install it, or name another [[mta]]")
        return
    for name in machine.map_names_of("exim"):
        yield from _look_at(Path(name.rpartition(";")[2]))
    if os.geteuid() != 0:
        yield note("only root can ask Exim what it would do")
        return
    yield from _lists(program)
    yield from _rehearse(machine, program)


def _look_at(path: Path) -> Iterator[Finding]:
    reader = next((user for user in map(named, _USERS) if user is not None), None)
    if not path.exists():
        yield wrong(f"{path}: is not there: nobody who logs in is let in", "start the daemon, which makes it")
        return
    closed = None if reader is None else barrier(reader, path, READ)
    if closed is not None:
        yield wrong(f"{closed}: Exim cannot read it", f"chmod 0644 {path}; its folders 0755")


def _lists(program: str) -> Iterator[Finding]:
    """See that a list which names our file asks first whether it is there."""
    for line in rehearse(program, ["-bP", "config"], ""):
        ours = re.search(r"(?:^|[\s;{:])(/\S*pop-?before-?smtp/[\w./-]+)", line)
        if line.startswith("hostlist ") and ours is not None and "exists" not in line and "readsocket" not in line:
            yield wrong(
                f"`{line}`: without {ours[1]} Exim would hang up on everybody, inbound mail too",
                f"${{if exists{{{ours[1]}}}{{{ours[1]}}}}} in its place, as contrib/exim/list.conf has it",
            )


def _rehearse(machine: Machine, program: str) -> Iterator[Finding]:
    own = rehearse(program, ["-bP", "primary_hostname"], "")[0].partition("=")[2].strip()
    client = member(machine)
    outside, inbound = _ask(program, stranger(machine), own)
    if outside.startswith("2"):
        yield wrong(f"open relay: Exim would take a stranger's mail to <{OUTSIDE}>: {outside}", "end its ACL with deny")
    elif outside.startswith("5"):
        yield sound(f"Exim refuses strangers: {outside}")
    else:
        yield wrong(f"Exim puts strangers off: {outside or 'it hangs up'}", "see its log for the reason")
    if not inbound.startswith(("2", "5")):
        yield wrong(f"Exim puts mail for {own} off: {inbound or 'it hangs up'}", "see its log for the reason")
    if client is None:
        yield note("nobody may relay now, so that Exim cannot be asked for such a client", "log in, and run it again")
        return
    outside, _ = _ask(program, str(client), own)
    if outside.startswith("2"):
        yield sound(f"Exim lets in {client}, who logged in: {outside}")
    else:
        yield wrong(f"Exim does not let in {client}, who logged in: {outside or 'it hangs up'}", _LINES)


def _ask(program: str, client: str, own: str) -> tuple[str, str]:
    """Return what would be answered to a recipient elsewhere, and to one here."""
    said = [
        "EHLO doctor.invalid", "MAIL FROM:<>", f"RCPT TO:<{OUTSIDE}>",
        "RSET", "MAIL FROM:<>", f"RCPT TO:<postmaster@{own}>", "QUIT",
    ]  # fmt: skip
    lines = rehearse(program, ["-bh", client], "".join(f"{line}\r\n" for line in said))
    answers = [line.strip() for line in lines if re.match(r"[0-9]{3}(?: |$)", line)]
    answers += [""] * (8 - len(answers))
    return answers[3], answers[6]
