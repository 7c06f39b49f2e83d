"""A mail server is there, is told by us, and runs."""

import os
from collections.abc import Iterator

from popbeforesmtp import postconf, wiring
from popbeforesmtp.errors import PopBeforeSmtpError, UnavailableError
from popbeforesmtp.links import Finding, Machine, note, sound, wrong
from popbeforesmtp.links._postfix import Postfix

PLACE = 52

_SECONDS = 10.0  # that a program may take


def look(machine: Machine) -> Iterator[Finding]:
    """Prepare every map and lookup as the daemon would, and see whether Postfix runs."""
    found = machine.found
    if not found.mtas and not found.lookups:
        yield wrong(
            "no mail server is told who may relay: there is none that we know and no [[mta]] is configured",
            "`pop-before-smtp init` writes what this machine's mail server needs",
        )
    for section in found.mtas:
        try:
            access_map = wiring.open_map(section, machine.settings.rules)
            access_map.close()
            yield sound(f"access map: {access_map.name}")
        except PopBeforeSmtpError as error:
            yield _split(str(error))
    for section in found.lookups:
        try:
            yield sound(f"live answers: {wiring.open_lookup(section, machine.settings.rules).name}")
        except PopBeforeSmtpError as error:
            yield _split(str(error))
    if machine.postfix is not None:
        if os.geteuid() != 0:
            yield note("only root can ask whether Postfix runs")
        elif not _runs(machine.postfix):
            yield wrong("Postfix does not run", "postfix start")


def _runs(postfix: Postfix) -> bool:
    """Ask master(8) whether another one runs; `postfix status` would write into the log that we look at."""
    try:
        postconf.run(f"{postfix.parameters.get('daemon_directory')}/master", "-t", seconds=_SECONDS)
    except UnavailableError:
        return True  # its file is locked
    return False


def _split(sentence: str) -> Finding:
    """Take the way out of an error's sentence."""
    found, _, way_out = sentence.rpartition("; ")
    return wrong(found or way_out, way_out)
