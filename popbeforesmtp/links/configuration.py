"""The configuration: a daemon would start with it, can read it, and nobody else can change it."""

import stat
from collections.abc import Iterator

from popbeforesmtp.config import PATHS
from popbeforesmtp.errors import PopBeforeSmtpError
from popbeforesmtp.links import Finding, Machine, note, sound, wrong
from popbeforesmtp.links._access import READ, barrier
from popbeforesmtp.privileges import require_safe_place
from popbeforesmtp.text import duration

PLACE = 0


def look(machine: Machine) -> Iterator[Finding]:
    """Look at the file, and at what comes of it."""
    path = machine.settings.path
    if machine.refusal is not None:
        found, _, way_out = str(machine.refusal).rpartition("; ")
        yield wrong(found or way_out, way_out)
    if path is None:
        yield sound("no configuration file: using what is found")
        return
    closed = barrier(machine.user, path, READ)
    if closed is not None:
        yield wrong(f"{closed}, so the daemon cannot start", f"chgrp {machine.user.name} {path} && chmod 0640 {path}")
    for other in PATHS:
        if path in PATHS and other != path and other.exists():
            yield note(f"{other} is there too and does not count, for {path} does", f"remove {other}")
    status = path.stat()
    try:
        require_safe_place(path)
        unsafe = "may be written by others" if status.st_mode & (stat.S_IWOTH | stat.S_IWGRP) else ""
    except PopBeforeSmtpError:
        unsafe = "may be written or replaced by others"
    if unsafe:
        yield wrong(
            f"{path}: {unsafe}, and who can change it can open the relay", f"chown root {path} && chmod go-w {path}"
        )
    if closed is None and not unsafe:
        yield sound(f"configuration: {path}, grace {duration(machine.settings.grace.total_seconds())}")
