"""What a user may reach, worked out from owners and modes, for doctor may be run by another."""

import os
import pwd
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

READ, WRITE = 4, 2


@dataclass(frozen=True, slots=True)
class User:
    """Whom the system takes a process for."""

    name: str
    number: int
    groups: frozenset[int]


def named(name: str) -> User | None:
    """Return a user of this machine with all of its groups; None where there is none of that name."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return User(name, entry.pw_uid, frozenset(os.getgrouplist(name, entry.pw_gid)))


def of_process(process: int) -> User | None:
    """Return whom a process runs as, proc(5); None where it has ended or may not be looked at."""
    try:
        lines = (Path("/proc") / str(process) / "status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    fields = {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}
    number = int(fields["Uid"][1])
    name = str(number)
    with suppress(KeyError):
        name = pwd.getpwuid(number).pw_name
    return User(name, number, frozenset(map(int, [fields["Gid"][1], *fields["Groups"]])))


def barrier(user: User, path: Path, want: int) -> str | None:
    """Say what keeps a user from reading or writing a path, the first thing on the way; or None.

    An access control list (acl(5)) may allow more than the mode shows: what has one is taken to allow all.
    Raises OSError where it cannot be looked at.
    """
    if user.number == 0:
        return None
    real = path.resolve(strict=True)
    for folder in reversed(real.parents):
        if not _may(user, folder, 1):
            return f"{folder} may not be entered by user {user.name} ({_mode(folder)})"
    if not _may(user, real, want):
        return f"{real} may not be {'written' if want & WRITE else 'read'} by user {user.name} ({_mode(real)})"
    return None


def _may(user: User, path: Path, want: int) -> bool:
    status = path.stat()
    with suppress(OSError):
        if os.getxattr(path, "system.posix_acl_access"):
            return True
    if status.st_uid == user.number:
        have = status.st_mode >> 6
    elif status.st_gid in user.groups:
        have = status.st_mode >> 3
    else:
        have = status.st_mode
    return have & want == want


def _mode(path: Path) -> str:
    status = path.stat()
    return f"owner {status.st_uid}, group {status.st_gid}, mode {stat.S_IMODE(status.st_mode):04o}"
