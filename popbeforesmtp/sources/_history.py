"""Finds and opens the files that one log was written to, oldest first."""

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

from popbeforesmtp.errors import NotPermittedError
from popbeforesmtp.lines import UNPACK
from popbeforesmtp.privileges import other_writers
from popbeforesmtp.sources._bisect import Stamps
from popbeforesmtp.sources._checkpoint import HEAD, Place, read_tail, take_place
from popbeforesmtp.sources._finished import Finished
from popbeforesmtp.sources._openlog import OpenLog
from popbeforesmtp.sources._rotated import PACKED, Relative, relatives
from popbeforesmtp.text import local

_SLACK = 2_000_000_000  # nanoseconds by which a file system's times may lag behind ours
_SECOND = 1_000_000_000  # nanoseconds

_AT_MOST = 100
"""How many rotated files, the newest, are opened at once."""

_TRIES = 20
"""How often the rotated files are listed anew that were renamed meanwhile."""

_LOOK_BACK = 1_048_576
"""Bytes before the window that are read where they may tell how to read what is in it."""

_FAR = 16 * 1024 * 1024
"""Bytes behind a checkpoint from which on it is worth looking where the window begins."""


class History:
    """One log's files. ``since`` is when the window began that lines can still matter in, at the time of this call."""

    def __init__(
        self,
        path: Path,
        since: datetime | None = None,
        zone: tzinfo | None = None,
        owners: tuple[str, ...] | None = None,
        finished: Iterable[Place] = (),
        marks: Iterable[bytes] = (),
    ) -> None:
        self.notices: list[str] = []
        self.finished = Finished(finished)
        self._path = path
        self._since = since
        self._zone = zone
        self._owners = owners
        self._marks = tuple(marks)
        self._made_at = time.monotonic()
        self._damaged: set[tuple[int, int]] = set()
        self._said: set[tuple[int, int]] = set()  # files that it was said of that they cannot be read

    def window(self) -> datetime | None:
        """Return the start of the window now."""
        if self._since is None:
            return None
        return self._since + timedelta(seconds=time.monotonic() - self._made_at)

    def begin(self) -> list[OpenLog]:
        """Open a log that was never read, with the rotated files that reach into the window. Raises OSError."""
        since = self.window()
        if since is None:
            return self._open_path()
        logs = self.newer(_nanoseconds(since), [])
        for log in logs:
            log.since = since
        return logs

    def resume(self, places: list[Place]) -> list[OpenLog]:
        """Open the files that places are in, and those that were begun since. Raises OSError."""
        inodes = frozenset(place.inode for place in places if not place.blind())
        found = [self.find(place, inodes) for place in places]
        logs = _each_once(log for log in found if log is not None)
        since = self.window()
        if not logs and self._path.exists() and (since is None or places[-1].modified >= _nanoseconds(since)):
            self.notices.append(f"the place in {self._path} was not found again; reading what was written since")
        if not logs and since is not None:
            return self.begin()
        # A file that nothing was read of may have been compressed meanwhile, and its inode be another's now.
        unread = [
            place.modified
            for place, log in zip(places, found, strict=True)
            if place.blind() or (log is None and not place.offset)
        ]
        try:
            if unread:
                older = self._open_older(min(unread), logs)
                for log in logs:
                    for copy in older:  # of what was not truncated yet
                        pass_by_copied(log, copy)
                logs = sorted(logs + older, key=self._order)
            if identity(self._path) not in {log.identity for log in logs}:
                moments = [places[-1].modified, *(log.modified() for log in logs[-1:])]
                logs = self.newer(min(moments), logs)
        except OSError:
            close_all(logs)
            raise
        for log in logs:
            log.since = since
        return logs

    def newer(self, moment: int, logs: list[OpenLog]) -> list[OpenLog]:
        """Return these logs, and behind them what was written to since a moment, the path's own file last.

        Raises OSError.
        """
        # The path first: what is rotated away while we look is then a file that we have, not one that we missed.
        current = self._open_path()
        older = self._open_older(moment, [*logs, *current])
        for log in current:
            for copy in (*logs, *older):
                pass_by_copied(log, copy)
        return _each_once([*logs, *older, *current])

    def find(self, place: Place, inodes: frozenset[int] = frozenset()) -> OpenLog | None:
        """Open the file that a place is in: rather the very file than a copy, rather a plain one than a packed one."""

        def unlikely(file: Relative) -> tuple[bool, bool, int]:
            return file.identity != (place.device, place.inode), file.path.suffix in UNPACK, -file.modified

        with suppress(OSError):
            status = self._path.stat()
            current = [Relative(self._path, (status.st_dev, status.st_ino), status.st_mtime_ns, rotated=False)]
            require_few_writers(self._path, self._owners)
            if (place.device, place.inode) == current[0].identity and (log := OpenLog.at(self._path, place)):
                return log  # as nearly always
            return self._find(place, sorted([*current, *self._relatives(inodes)], key=unlikely))
        return self._find(place, sorted(self._relatives(inodes), key=unlikely))

    def find_copies(self, log: OpenLog, known: list[OpenLog]) -> list[OpenLog]:
        """Open the copy that was made of a file before it was truncated, and those made since, oldest first."""
        if log.is_blank():  # nothing was read of it that a copy could be told by
            return self._open_between(log.last_empty(), log, known)
        copy = self._find(log.place(), reversed(self._relatives()))
        if copy is None:  # what was read is in none that was made; but others may have been since
            found = self._open_between(log.last_grown() - _SLACK, log, known)
            passed = [other for other in found if log.has_read(other)]
            for other in passed:  # it may be met again, compressed
                other.go_to_end()
                self.let_go(other)
            return [other for other in found if other not in passed]
        copies = [copy, *self._open_older(copy.modified(), [*known, copy])]
        if any(copy.identity == other.identity for other in known):  # it was found before the truncation
            copies.remove(copy)
            copy.close()
        return copies

    def start(self, log: OpenLog) -> None:
        """Go to the start of the window in a log that has become ready. Raises OSError."""
        since, log.since = log.since, None
        if log.lost:
            log.lost = False
            self.notices.append(f"the place in {self._path} was not found again; reading {log.path} from its beginning")
        behind = log.size() - log.offset
        if since is None or behind == 0 or (log.offset > 0 and behind < _FAR):
            return
        begin = log.offset
        start = Stamps(log.descriptor, self._zone, _last_written(log, since)).find_start(begin, since)
        if start is None:
            whole = "whole" if begin == 0 else "from where it was left off"
            self.notices.append(f"{log.path} is read {whole}: the stamps of its lines are not in order")
            return
        start = self._before(log, begin, start)
        log.skip_to(start)
        log.gap = start > begin
        passed = f"; {start - begin} bytes of older lines are passed by" if start > begin else ""
        self.notices.append(f"reading {log.path} from offset {start} on, for the lines since {local(since)}{passed}")

    def _before(self, log: OpenLog, begin: int, start: int) -> int:
        """Return a place some way before the start, where lines stand that may tell how to read those behind it."""
        at = max(begin, start - _LOOK_BACK)
        data = os.pread(log.descriptor, start - at, at)
        if not any(mark in data for mark in self._marks):
            return start
        return at if at == begin else at + data.find(b"\n") + 1

    def let_go(self, log: OpenLog) -> None:
        """Close a file that was read to its end, and remember that."""
        since = self.window()
        self.finished.add(log, 0 if since is None else _nanoseconds(since))
        log.close()

    def give_up(self, log: OpenLog, error: Exception) -> None:
        """Pass by an old file that turned out to be damaged, for good."""
        self._damaged.add(log.identity)
        self.notices.append(f"{log.path} cannot be read: {error}; what was not read of it is passed by")

    def _find(self, place: Place, files: Iterable[Relative]) -> OpenLog | None:
        found = (OpenLog.at(file.path, place) for file in files if self._is_permitted(file))
        return next((log for log in found if log is not None), None)

    def _is_permitted(self, file: Relative) -> bool:
        """Say whether an older file may be read; one that others may write is said once, and passed by."""
        try:
            require_few_writers(file.path, self._owners)
        except NotPermittedError as error:
            self._say(file, f"is not believed: {error}")
            return False
        except OSError:
            pass  # whoever opens it finds out
        return True

    def _relatives(self, inodes: frozenset[int] = frozenset()) -> list[Relative]:
        """Return what may be a part of the log and hold lines that matter, oldest first."""
        since = self.window()
        files = [file for file in relatives(self._path, inodes) if file.identity not in self._damaged]
        return files if since is None else [file for file in files if file.modified >= _nanoseconds(since)]

    def _open_path(self) -> list[OpenLog]:
        try:
            require_few_writers(self._path, self._owners)
            log = OpenLog(self._path)
        except FileNotFoundError:
            return []
        self.finished.take_up(log)
        return [log]

    def _open_older(self, moment: int, known: list[OpenLog], tries: int = _TRIES) -> list[OpenLog]:
        """Open the rotated files that were written to since a moment, but for those known and copies of them."""
        identities = {log.identity for log in known}
        files = self._rotated_since(moment, identities)
        if len(files) > _AT_MOST:
            self.notices.append(f"{len(files) - _AT_MOST} old files of {self._path} are too many, and are not read")
        logs: list[OpenLog] = []
        for file in files[-_AT_MOST:]:
            logs += self._open_one(file, [*known, *logs])
        opened = {log.identity for log in logs} | identities
        moved = any(file.identity not in opened and not _is_there(file) for file in files[-_AT_MOST:])
        # A file that is renamed while a folder is read may be missed under both of its names (readdir(3)).
        missed = {file.identity for file in self._rotated_since(moment, opened)} - {file.identity for file in files}
        if (moved or missed) and tries > 0:  # renamed while we opened them: under its name stands another now, or none
            close_all(logs)
            return self._open_older(moment, known, tries - 1)
        return logs

    def _open_between(self, moment: int, log: OpenLog, known: list[OpenLog]) -> list[OpenLog]:
        """Open the rotated files that were written to between a moment and the last truncation of a log."""
        files = self._open_older(moment, known)
        late = [file for file in files if file.modified() > log.modified()]
        close_all(late)
        return [file for file in files if file not in late]

    def _rotated_since(self, moment: int, known: set[tuple[int, int]]) -> list[Relative]:
        """Return the rotated files that were written to since a moment, but for those known, oldest first."""
        files = (file for file in self._relatives() if file.rotated and file.modified >= moment)
        return [file for file in files if file.identity not in known]

    def _open_one(self, file: Relative, known: list[OpenLog]) -> list[OpenLog]:
        """Open a rotated file; one that cannot be read keeps nobody else back, and is said once."""
        if not self._is_permitted(file):
            return []
        if file.path.suffix in PACKED and file.path.suffix not in UNPACK:
            # Compressors keep the time: one that was last written to at that time is a file that we have, compressed.
            if all(log.modified() // _SECOND != file.modified // _SECOND for log in known):
                self._say(file, "cannot be unpacked here")
            return []
        try:
            log = OpenLog(file.path)
        except OSError as error:
            self._say(file, f"cannot be read: {error.strerror}")
            return []
        if log.identity != file.identity or any(_is_copy(log, other) for other in known):
            log.close()
            return []
        self.finished.take_up(log)
        return [log]

    def _say(self, file: Relative, what: str) -> None:
        if file.identity not in self._said:
            self._said.add(file.identity)
            self.notices.append(f"{file.path} {what}; what it holds is passed by")

    def _order(self, log: OpenLog) -> tuple[bool, int]:
        return log.identity == identity(self._path), log.modified()


def require_few_writers(path: Path, owners: tuple[str, ...] | None) -> None:
    """Refuse a log that others may write than root, the syslog daemon, we, and ``owners``; None lets everybody.

    A name with a dot among them is no user, but a log that must not be read, whoever may write it.
    Raises NotPermittedError, and OSError where the file is not there or cannot be seen.
    """
    if owners is None:
        return
    names = {path.name, path.resolve().name}
    if any(name == refused or name.startswith(f"{refused}.") for name in names for refused in owners if "." in refused):
        raise NotPermittedError(
            f"{path}: strangers can write lines into it; name the server's other log, or run with --insecure-log"
        )
    why = other_writers(path, owners)
    if why is not None:
        raise NotPermittedError(
            f"{path}: whoever can write to a log can open the relay, and {why}; let only root and the syslog daemon"
            " write it, or run with --insecure-log"
        )


def _is_copy(log: OpenLog, other: OpenLog) -> bool:
    """Say whether one of two logs was made of the other by compressing it, which keeps its time."""
    same_time = log.modified() // _SECOND == other.modified() // _SECOND
    return log.packed != other.packed and same_time and len(log.head()) == HEAD and log.begins_like(other)


def _is_there(file: Relative) -> bool:
    """Say whether a file still has its name."""
    try:
        return identity(file.path) == file.identity
    except OSError:
        return True  # it cannot be seen: that is said elsewhere


def _each_once(logs: Iterable[OpenLog]) -> list[OpenLog]:
    """Return the logs, each file once, as far as it was read: several places may fit it, or the path name it again."""
    found: dict[tuple[int, int], OpenLog] = {}
    for log in logs:
        other = found.pop(log.identity, None)
        kept = log if other is None or log.place().offset >= other.place().offset else other
        found[log.identity] = kept
        if other is not None:
            (other if kept is log else log).close()
    return list(found.values())


def pass_by_copied(log: OpenLog, copy: OpenLog) -> None:
    """Go on in a log behind what a copy of it holds, which is read too: it was not truncated yet.

    Short ones may be alike by chance; a line is rather read twice. A file is no copy of itself: it may be open already
    where it was made before the path led to it.
    """
    if copy.packed or log.packed or copy.identity == log.identity:
        return
    end = take_place(copy.descriptor, copy.size())
    if (
        end.offset >= max(HEAD, log.offset + 1)
        and end.fits(log.descriptor)
        and read_tail(log.descriptor, end.offset).endswith(b"\n")
    ):
        log.go_to(end.offset)


def close_all(logs: Iterable[OpenLog]) -> None:
    """Let go of these."""
    for log in logs:
        log.close()


def _last_written(log: OpenLog, since: datetime) -> datetime:
    """Return when a log was last written to: none of its lines is younger, so it tells their year."""
    return max(datetime.fromtimestamp(log.modified() / _SECOND, UTC), since)


def identity(path: Path) -> tuple[int, int] | None:
    """Return what a path names now, None where that is nothing. Raises OSError where it cannot be seen."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _nanoseconds(time: datetime) -> int:
    return int(time.timestamp() * _SECOND)
