"""Files that are replaced whole: a reader sees the old one or the new one, never half of either."""

import glob
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def make_folder(folder: Path) -> None:
    """Make a folder that everybody may enter, with those on the way to it, whatever the umask. Raises OSError."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        path.chmod(0o755)


@contextmanager
def replacing(path: Path, owner: tuple[int, int] | None = None) -> Iterator[Path]:
    """Give the name of a new file beside ``path``; when the block ends well it is synced and renamed over ``path``.

    On any error before that the old file stays as it is and the new one is removed. The block itself makes the new
    file, and gives it its mode. Where root makes it, it belongs to this user and group, else to whom the old file or
    else the folder does, so that a sweep of root's keeps no daemon of another user from its map. A path has one writer:
    what an earlier one left beside it is removed.
    """
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.new*"):  # of one that was killed
        left.unlink(missing_ok=True)
    new = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
    try:
        yield new
        _sync(new, _owner(path, owner))
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    _sync(path.parent.resolve())


def _owner(path: Path, wanted: tuple[int, int] | None) -> tuple[int, int] | None:
    """Return whose a file shall be: what is wanted, else as what is replaced, else as its folder; None if not root."""
    if os.geteuid() != 0:  # who can give nothing away
        return None
    if wanted is not None:
        return wanted
    status = path.lstat() if os.path.lexists(path) else path.parent.stat()
    return status.st_uid, status.st_gid


def _sync(path: Path, owner: tuple[int, int] | None = None) -> None:
    """Bring a file, or the names in a folder, to the disk; give the file to its owner.

    The folder may be that user's: another file that they linked here in its place is not given to them.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        status = os.fstat(descriptor)
        if owner is not None and stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
            os.fchown(descriptor, *owner)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
