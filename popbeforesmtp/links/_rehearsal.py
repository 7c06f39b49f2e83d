"""A mail server asked what it would do, in its own test mode: nothing is sent, and nobody is connected to."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.errors import UnavailableError
from popbeforesmtp.links._machine import Machine

OUTSIDE = "relay-test@example.com"  # RFC 2606: it takes no mail, and is nobody's domain here
STRANGERS = ("203.0.113.77", "203.0.113.78")  # RFC 5737: nobody's

_SECONDS = 60.0  # slow name servers included


def stranger(machine: Machine) -> str:
    """Return an address that nobody logged in from."""
    held = {str(entry["address"]) for entry in machine.authorizations or ()}
    return next(each for each in STRANGERS if each not in held)


def member(machine: Machine) -> ClientAddress | None:
    """Return a client that may relay now; None where there is none."""
    held = sorted(str(entry["address"]) for entry in machine.authorizations or ())
    return ClientAddress(held[0]) if held else None


def rehearse(program: Path | str, arguments: Sequence[str], text: str) -> list[str]:
    """Run it, write the text to it, and return the lines that it prints. Raises UnavailableError."""
    try:
        done = subprocess.run(
            [program, *arguments],
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"`{program} {' '.join(arguments)}` cannot be run: {error}") from None
    if not done.stdout:
        raise UnavailableError(f"`{program} {' '.join(arguments)}` says nothing but: {done.stderr.strip()[:200]}")
    return done.stdout.splitlines()
