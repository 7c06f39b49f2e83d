"""Users, groups and files: less is better, and what a stranger may change is not trusted."""

import grp
import os
import pwd
import stat
from pathlib import Path

from popbeforesmtp.errors import NotPermittedError, UnavailableError


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


def group_number(group: str | None) -> int | None:
    """Return a group's number; None where there is no such group on this machine."""
    try:
        return None if group is None else grp.getgrnam(group).gr_gid
    except KeyError:
        return None


def distrust(path: Path) -> str | None:
    """Say why a file's place is not to be trusted: somebody but root and us could put another file there.

    Every folder on the way counts, and no part of the way may be a symbolic link that somebody else set. A folder that
    all may write to is right only with its sticky bit, and a file in it only where it is ours already.
    """
    ours = (0, os.geteuid())
    for folder in reversed(path.parents):
        try:
            status = folder.lstat()
        except FileNotFoundError:
            return None  # from here on it is made, by us
        if status.st_uid not in ours:
            return f"{folder} belongs to user {status.st_uid}"
        if stat.S_ISLNK(status.st_mode):
            continue
        if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
            return f"{folder} may be written by everybody"
    if path.is_symlink():
        return f"{path} is a symbolic link"
    if path.exists() and path.stat().st_uid not in ours:
        return f"{path} belongs to user {path.stat().st_uid}"
    return None
