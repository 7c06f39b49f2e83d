"""The daemon: it runs, is not behind the log, and has nothing to complain of."""

from collections.abc import Iterator
from datetime import datetime

from popbeforesmtp import __version__
from popbeforesmtp.errors import UnavailableError
from popbeforesmtp.links import Finding, Machine, sound, wrong

PLACE = 45

_BEHIND = 1_048_576  # bytes that are not read yet: a second's work


def look(machine: Machine) -> Iterator[Finding]:
    """Judge what the daemon says of itself, or that it says nothing."""
    status = machine.status
    if machine.silence is not None:
        hangs = isinstance(machine.silence, UnavailableError)
        yield wrong(
            str(machine.silence),
            "restart it; under systemd its watchdog would have done so" if hangs else "run doctor as root",
        )
        return
    if status is None:
        yield wrong(
            "no daemon is running: nobody new is let in, and `pop-before-smtp sweep` must end what expires",
            "systemctl enable --now pop-before-smtp.service, or pop-before-smtp run --daemon PIDFILE",
        )
        return
    troubles = [wrong(str(warning), "see what the daemon logs") for warning in status["warnings"]]
    for source in status.get("sources", ()):
        behind = (source["size"] or 0) - (source["offset"] or 0)
        if source["size"] is not None and behind > _BEHIND:
            troubles.append(
                wrong(
                    f"{source['name']}: the daemon is {behind} bytes behind", "give it time; is the machine overloaded?"
                )
            )
    if status["version"] != __version__:
        troubles.append(
            wrong(f"the daemon is version {status['version']}, and this is {__version__}", "restart the daemon")
        )
    path = machine.settings.path
    began = datetime.fromisoformat(status["started_at"]).timestamp()
    changed = path is not None and path.stat().st_mtime > began
    if changed and not any(str(sentence).startswith(f"configuration: {path}") for sentence in status.get("found", ())):
        troubles.append(
            wrong(
                f"the daemon does not use {path}", f"restart it, with --config {path} where that is not the usual place"
            )
        )
    for name in machine.changed:
        troubles.append(
            wrong(
                f"the daemon has no {name}, which is what a daemon would have that started now",
                "systemctl reload pop-before-smtp, or send it SIGHUP",
            )
        )
    yield from troubles
    if not troubles:
        yield sound(f"the daemon runs, pid {status['pid']}, {status['authorizations']} authorizations, and keeps up")
