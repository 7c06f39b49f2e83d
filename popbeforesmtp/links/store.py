"""The store: it can be read, the daemon may write it, and there is room on the disk."""

import os
from collections.abc import Iterator
from pathlib import Path

from popbeforesmtp import stores, wiring
from popbeforesmtp.errors import ConfigError, PopBeforeSmtpError
from popbeforesmtp.links import Finding, Machine, note, sound, wrong
from popbeforesmtp.links._access import READ, WRITE, barrier

PLACE = 40

_ROOM = 1_048_576  # bytes


def look(machine: Machine) -> Iterator[Finding]:
    """Read it, as `list` does where no daemon runs."""
    section = machine.settings.store
    path = Path(str(section.values.get("path", wiring.default(stores, section.type, "path") or "")))
    if path.is_absolute() and path.exists():
        closed = barrier(machine.user, path, READ | WRITE) or barrier(machine.user, path.parent, READ | WRITE)
        if closed is not None:
            yield wrong(f"{closed}: the daemon cannot keep anything", f"chown -R {machine.user.name}: {path.parent}")
            return
    if path.is_absolute() and path.parent.is_dir():
        disk = os.statvfs(path.parent)
        if disk.f_flag & os.ST_RDONLY:
            yield wrong(f"{path.parent}: is mounted read-only: the daemon cannot keep anything", "mount it read-write")
            return
        if disk.f_bavail * disk.f_frsize < _ROOM or (disk.f_files and not disk.f_favail):
            yield wrong(
                f"{path.parent}: the disk is full: what is granted now is lost at the next restart", "make room there"
            )
    try:
        store = wiring.open_store(section, machine.clock, make=False)
    except ConfigError:
        yield note(f'the store of type "{section.type}" forgets everything at a restart', '[store] type = "sqlite"')
        return
    except PopBeforeSmtpError as error:
        yield wrong(
            str(error),
            "start the daemon, which makes one"
            if not path.exists()
            else f"stop the daemon, move {path}* away, and start it: the log is read again",
        )
        return
    try:
        yield sound(f"store: {path}: {len(store.load(machine.clock.now()))} authorizations")
    except PopBeforeSmtpError as error:
        yield wrong(str(error), f"stop the daemon, move {path}* away, and start it: the log is read again")
    finally:
        store.close()
