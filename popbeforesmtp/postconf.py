"""What Postfix itself says of its configuration, through postconf(1)."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from popbeforesmtp.addresses import Network, parse_network
from popbeforesmtp.errors import UnavailableError

_SECONDS = 10.0  # that postconf may take
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin"
_BRACKETS = re.compile(r"\[([0-9A-Fa-f:.]+)\](?:/([0-9]+))?")


@dataclass(frozen=True, slots=True)
class TrustedNetworks:
    """Postfix's ``mynetworks``, as far as it can be known without Postfix."""

    networks: tuple[Network, ...]
    skipped: tuple[str, ...]  # parts that are lookup tables, exclusions, or no networks


def find(program: str) -> str | None:
    """Return the path of one of Postfix's programs, also where PATH leaves out the folders for administrators."""
    return shutil.which(program, path=_PATH)


def run(*command: str, seconds: float) -> str:
    """Run one of Postfix's programs, or the administrator's, and return what it prints.

    It gets nothing of our environment but where main.cf is. Raises UnavailableError with what it said.
    """
    program = find(command[0])
    if program is None:
        raise UnavailableError(f"Postfix is not on this machine (no {command[0]})")
    kept = {"MAIL_CONFIG": os.environ["MAIL_CONFIG"]} if "MAIL_CONFIG" in os.environ else {}
    shown = " ".join(command)
    try:
        done = subprocess.run(
            [program, *command[1:]],
            capture_output=True,
            timeout=seconds,
            check=True,
            text=True,
            errors="replace",
            env={"PATH": _PATH, "LC_ALL": "C", **kept},
        )
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"`{shown}` did not end in {seconds:g} s") from None
    except subprocess.CalledProcessError as error:
        said = (error.stderr or "").strip().replace("\n", "; ")
        raise UnavailableError(f"`{shown}` failed: {said or f'status {error.returncode}'}") from None
    except OSError as error:
        raise UnavailableError(f"{program} cannot be run: {error.strerror}") from None
    return done.stdout


def value(parameter: str) -> str:
    """Return one main.cf parameter with its ``$`` references expanded. Raises UnavailableError."""
    return _postconf("-x", "-h", parameter)


def configured() -> str:
    """Return all of main.cf and master.cf that was set, as postconf prints it. Raises UnavailableError."""
    return "\n".join(_postconf(part) for part in ("-n", "-M", "-P"))


def table_types() -> frozenset[str]:
    """Return the lookup table types that this Postfix can read. Raises UnavailableError."""
    return frozenset(_postconf("-m").split())


def trusted_networks() -> TrustedNetworks:
    """Read ``mynetworks``, and the files it names. Raises UnavailableError."""
    networks: list[Network] = []
    skipped: list[str] = []
    _collect(value("mynetworks"), networks, skipped)
    return TrustedNetworks(tuple(networks), tuple(skipped))


def _collect(text: str, networks: list[Network], skipped: list[str], depth: int = 0) -> bool:
    """Read a list as postconf(5) describes ``mynetworks``: commas or blanks between, a path stands for its lines.

    An exclusion (``!``) takes an address out of all that stands behind it. What is behind it could be more than Postfix
    trusts, so reading stops there: False is returned. To trust less only means to keep a window that nobody needs.
    """
    for part in text.replace(",", " ").split():
        if part.startswith("!"):
            skipped.append(f"{part} and what follows it")
            return False
        if part.startswith("/") and depth < 5:
            try:
                lines = Path(part).read_text(encoding="utf-8", errors="replace").splitlines()
            except OSError as error:
                skipped.append(f"{part} ({error.strerror})")
                continue
            if not _collect(" ".join(line.partition("#")[0] for line in lines), networks, skipped, depth + 1):
                return False
            continue
        try:
            networks.append(_network(part))
        except ValueError:
            skipped.append(part)
    return True


def _network(text: str) -> Network:
    """Read ``192.0.2.0/24``, ``192.0.2.1``, ``[2001:db8::]/32`` or ``[::1]``."""
    match = _BRACKETS.fullmatch(text)
    if match is not None:
        text = match[1] if match[2] is None else f"{match[1]}/{match[2]}"
    return parse_network(text)


def _postconf(*arguments: str) -> str:
    """Run postconf(1) and return what it prints, without the line end."""
    return run("postconf", *arguments, seconds=_SECONDS).strip("\n")
