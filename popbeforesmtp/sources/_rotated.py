"""Which files are a log's older ones, told by their names.

Beside the log: ``mail.log.1``, ``mail.log-20261122``, ``mail.log.2.gz``, ``mail.log.old``, and with logrotate's
``extension .log`` ``mail.1.log`` and ``mail-20261122.log``. They may also lie in a folder directly below the log's own,
as logrotate's ``olddir old`` puts them: in the first fifty of these, but not in one where a log of the same name lives.
A rotated file that was moved anywhere else is not found.
"""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FOLDERS_AT_MOST = 50
PACKED = (".gz", ".bz2", ".xz", ".zst", ".zstd", ".lz4", ".lzma", ".lz", ".lzo", ".br", ".Z")
"""Suffixes of compressed files, also of those that we cannot unpack."""

_PACKED = f"(?:{'|'.join(map(re.escape, PACKED))})"
_SERIAL = r"[._-][0-9][0-9._:T-]*?"


@dataclass(frozen=True, slots=True)
class Relative:
    """A file that may be a part of a log."""

    path: Path
    identity: tuple[int, int]
    modified: int  # nanoseconds since 1970
    rotated: bool  # its name says so; else it only looks alike, or is one of the files that were asked for


def relatives(log: Path, inodes: frozenset[int] = frozenset()) -> list[Relative]:
    """Return what may be a part of a log but is not what its path names now, oldest first; of any name these inodes."""
    real = Path(os.path.realpath(log))  # behind a symbolic link, rotation happens where it leads to
    name = _pattern(real.name, dated=log.is_symlink())
    found = []
    for folder in (real.parent, *_old_folders(real)):
        for entry in _entries(folder):
            rotated = name.fullmatch(entry.name) is not None
            alike = folder == real.parent and entry.name.startswith((f"{real.name}.", f"{real.name}-"))
            if entry.name != real.name and (rotated or alike or entry.inode() in inodes):
                found += _relative(entry, rotated=rotated)
    return sorted(found, key=lambda file: (file.modified, _age(file.path.name)))


def is_rotated(path: str) -> bool:
    """Say whether a file is the older one of a log, by its name alone."""
    name = os.path.basename(path)  # noqa: PTH119 - asked for every file that a glob finds
    if re.fullmatch(rf".+(?:[._-][0-9]{{1,4}}|\.old){_PACKED}?|.+{_PACKED}", name):
        return True
    dated = re.fullmatch(r"(.+?)[._-][0-9][0-9._:T-]*(\.[A-Za-z]\w*)?", name)
    # A date may as well be in the name of a log that is made anew each day.
    return dated is not None and os.path.exists(os.path.join(os.path.dirname(path), "".join(dated.groups(""))))  # noqa: PTH110, PTH118, PTH120


def _pattern(name: str, *, dated: bool) -> re.Pattern[str]:
    stem, dot, extension = name.rpartition(".")
    forms = [rf"{re.escape(name)}(?:{_SERIAL}|\.old)?"]
    if stem:
        forms.append(rf"{re.escape(stem)}{_SERIAL}{re.escape(dot + extension)}")
    if dated:  # today's file, which a symbolic link names, and those of other days
        forms.append(re.sub(r"[0-9]{4,}", r"[0-9]+", re.escape(name)))
    return re.compile(rf"(?:{'|'.join(forms)}){_PACKED}?")


def _age(name: str) -> int:
    """Order what was written at the same time: ``.2`` is older than ``.1``, a later date is younger."""
    numbers = [int(number) for number in re.findall(r"[0-9]+", name)]
    number = numbers[-1] if numbers else 0
    return number if number > 9999 else -number


def _old_folders(real: Path) -> list[Path]:
    folders = sorted(entry.path for entry in _entries(real.parent) if entry.is_dir(follow_symlinks=False))
    return [Path(folder) for folder in folders[:_FOLDERS_AT_MOST] if not _holds(folder, real.name)]


def _holds(folder: str, name: str) -> bool:
    """Say whether a file is in a folder; one that is root's only, such as systemd's /var/log/private, may hold any."""
    try:
        Path(folder, name).lstat()
    except OSError:
        return False
    return True


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError:
        return


def _relative(entry: os.DirEntry[str], *, rotated: bool) -> list[Relative]:
    try:
        status = entry.stat()
    except OSError:
        return []
    if not stat.S_ISREG(status.st_mode):
        return []
    return [Relative(Path(entry.path), (status.st_dev, status.st_ino), status.st_mtime_ns, rotated)]
