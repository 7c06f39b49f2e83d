"""Users, groups and files: less is better, and what a stranger may change is not trusted."""

import grp
import os
import pwd
import resource
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from popbeforesmtp.errors import NotPermittedError, UnavailableError

_FILES = 8192  # as LimitNOFILE in contrib/systemd
_LINKS = 40  # that the system follows, path_resolution(7)

SYSLOG = "syslog"
"""The user, and the group, of Ubuntu's rsyslog, to whom /var/log belongs there."""

USER = "pop-before-smtp"
"""The user that the packages make for the daemon."""


def become(user: str) -> None:
    """Go on as another user with all of its groups, for good. Raises UnavailableError or NotPermittedError."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise UnavailableError(
            f"there is no user {user!r}; make one (contrib/systemd/pop-before-smtp.sysusers), or leave out --user"
        ) from None
    if entry.pw_uid == os.geteuid():
        return
    try:
        os.initgroups(user, entry.pw_gid)  # adm and systemd-journal let it read logs
        os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
        os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
    except PermissionError:
        raise NotPermittedError(f"--user {user}: only root can become another user") from None
    os.environ.update(HOME=entry.pw_dir, USER=user, LOGNAME=user)


def allow_files() -> None:
    """Let this process have as many files open as it may, up to what the unit allows (LimitNOFILE).

    Where nobody said otherwise it is 1024 (getrlimit(2)): a few hundred connections of each lookup, logs, maps.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(OSError, ValueError):  # a unit may forbid it
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def group_number(group: str | None) -> int | None:
    """Return a group's number; None where there is no such group on this machine."""
    try:
        return None if group is None else grp.getgrnam(group).gr_gid
    except KeyError:
        return None


def require_safe_place(path: Path) -> None:
    """Refuse to write where somebody else could put another file in its place. Raises NotPermittedError.

    Every folder on the way counts, links followed: each must belong to root, to us or to our own user, and not be
    writable for everybody, unless its sticky bit keeps others from renaming what is in it.
    """
    for place in _way_to(path):
        status = place.lstat()
        if status.st_uid not in _trusted():
            why = f"{place} belongs to user {status.st_uid}"
        elif stat.S_ISDIR(status.st_mode) and not status.st_mode & stat.S_ISVTX and _shared(status):
            why = f"{place} may be written by others"
        else:
            continue
        raise NotPermittedError(
            f"{path}: is no safe place, for {why}; choose one that only root or this user may write to"
        )
    try:
        status = path.lstat()
    except OSError:
        return
    if stat.S_ISLNK(status.st_mode) or status.st_uid not in _trusted():
        what = "is a symbolic link" if stat.S_ISLNK(status.st_mode) else f"belongs to user {status.st_uid}"
        raise NotPermittedError(f"{path}: {what}; remove it, or choose another place")


def other_writers(path: Path, owners: Iterable[str] = ()) -> str | None:
    """Say why others than root, the syslog daemon and we could write a log, or put another in its place; or None.

    ``owners`` are users who may write it too: a mail server that keeps a log of its own. Raises OSError.
    """
    users, groups = {*_trusted(), *_numbers(_user_number, (SYSLOG, *owners))}, {*_numbers(group_number, (SYSLOG,))}
    real = path.resolve(strict=True)
    for place in (*_way_to(path), path, *_way_to(real), real):
        status = place.lstat()
        folder = stat.S_ISDIR(status.st_mode)
        if status.st_uid not in users:
            return f"{place} belongs to {_user_name(status.st_uid)}"
        if (folder and status.st_mode & stat.S_ISVTX) or stat.S_ISLNK(status.st_mode):
            continue
        if _shared(status) and not (status.st_gid in groups and not status.st_mode & stat.S_IWOTH):
            return f"{place} may be written by others (mode {stat.S_IMODE(status.st_mode):04o})"
    return None


def _numbers(number: Callable[[str], int | None], names: Iterable[str]) -> Iterator[int]:
    """Give the numbers of those users or groups that there are."""
    return (found for name in names if (found := number(name)) is not None)


def _user_number(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def _user_name(number: int) -> str:
    try:
        return f"user {pwd.getpwuid(number).pw_name}"
    except KeyError:
        return f"user {number}"


def _shared(status: os.stat_result) -> bool:
    """Say whether others may write there: everybody, or a group that is not root's or our own."""
    by_group = status.st_mode & stat.S_IWGRP and status.st_gid not in (0, os.getegid(), group_number(USER))
    return bool(status.st_mode & stat.S_IWOTH or by_group)


def _way_to(path: Path) -> Iterator[Path]:
    """Give every folder and symbolic link that the system goes through to the file's folder, as far as it exists."""
    here = Path("/")
    rest = list(path.absolute().parent.parts[1:])
    links = 0
    while True:
        yield here
        if not rest or links > _LINKS:
            return
        part = rest.pop(0)
        here = here.parent if part == ".." else here / part
        if not os.path.lexists(here):
            return
        while here.is_symlink() and links <= _LINKS:
            links += 1
            yield here
            target = here.readlink()
            rest = [*target.parts[1:], *rest] if target.is_absolute() else [*target.parts, *rest]
            here = Path("/") if target.is_absolute() else here.parent


def _trusted() -> frozenset[int]:
    """Return whose files and folders we write to: root's, ours, and those of the daemon's own user."""
    try:
        return frozenset((0, os.geteuid(), pwd.getpwnam(USER).pw_uid))
    except KeyError:
        return frozenset((0, os.geteuid()))
