"""The daemon and the sweep come back with the machine: units that are enabled, or a line for cron."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

from popbeforesmtp import postconf
from popbeforesmtp.config import PATHS
from popbeforesmtp.links import Finding, Machine, note, sound, wrong

PLACE = 50

SYSTEMD = Path("/run/systemd/system")
"""There is such a folder where systemd is the init, sd_booted(3)."""

CRONTABS = (Path("/etc/crontab"), Path("/etc/cron.d"), Path("/var/spool/cron"), Path("/etc/crontabs"))
"""Where cron is told what to run."""

_UNITS = ("pop-before-smtp.service", "pop-before-smtp-sweep.timer")
_SWEEP = re.compile(r"^[^#\n]*\bpop-before-smtp\s+sweep\b", re.MULTILINE)
_SECONDS = 10.0  # that a program may take


def look(machine: Machine) -> Iterator[Finding]:
    """Ask systemd, or look into the crontabs where there is none."""
    if SYSTEMD.is_dir():
        for unit in _UNITS:
            state = _state("is-enabled", unit)
            running = _state("is-active", unit)
            if state not in ("enabled", "enabled-runtime"):
                yield wrong(f"{unit} is {state or 'not there'}", f"systemctl enable --now {unit}")
            elif running in ("inactive", "failed"):
                yield wrong(f"{unit} is {running}", f"systemctl start {unit}; journalctl -u {unit} tells why it ended")
            else:
                yield sound(f"{unit} is enabled")
    elif any(_SWEEP.search(text) for text in _crontabs()):
        yield sound("cron runs the sweep")
        yield note("there is no systemd here: see to it that the daemon is started with the machine")
    else:
        named = machine.settings.path
        config = "" if named is None or named in PATHS else f" --config {shlex.quote(str(named.absolute()))}"
        yield wrong(
            "nothing runs the sweep: should the daemon die, whoever may relay then may do so for ever",
            f"a line in /etc/cron.d/pop-before-smtp: * * * * * root pop-before-smtp sweep{config}",
        )


def _state(verb: str, unit: str) -> str:
    """Return the one word that systemctl(1) answers, or nothing where it cannot tell."""
    program = postconf.find("systemctl")
    if program is None:
        return ""
    try:
        done = subprocess.run([program, verb, unit], capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def _crontabs() -> Iterator[str]:
    for place in CRONTABS:
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            try:
                yield path.read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
