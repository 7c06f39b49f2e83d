"""Follows all files that a pattern names, now and later, as one source."""

import fnmatch
import glob
import json
import math
import os
import re
import resource
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, tzinfo
from functools import partial
from pathlib import Path
from typing import Protocol

from popbeforesmtp.errors import NotPermittedError
from popbeforesmtp.lines import UNREADABLE
from popbeforesmtp.model import Block
from popbeforesmtp.sources import Source, SourceReport
from popbeforesmtp.sources._rotated import is_rotated
from popbeforesmtp.sources._watch import Watch

_VERSION = 1
_AT_MOST = 1000
_SEARCH = 5.0  # seconds between searches for files that have come or gone
_LOOK = 1.0  # seconds between looks at every file; in between only at those that events speak of
_FORGET = 3600.0  # seconds after which a file that is gone is forgotten


class Follow(Protocol):
    """Follows one file."""

    def __call__(
        self,
        path: Path,
        checkpoint: str | None,
        *,
        since: datetime | None,
        zone: tzinfo | None,
        ring: Callable[[], None],
    ) -> Source:
        """Begin to, without watching for events."""


class _Log:
    """One of the files, and what is remembered of it."""

    def __init__(self, source: Source, checkpoint: str | None, now: float) -> None:
        self.source = source
        self.checkpoint = checkpoint
        self.seen_at = now
        self.trouble: str | None = None


class SeveralSource:
    """All files that a pattern names; each is read a block at a time, so none starves the others."""

    format = None
    journal = False

    def __init__(
        self,
        pattern: Path,
        follow: Follow,
        checkpoint: str | None = None,
        *,
        since: datetime | None = None,
        zone: tzinfo | None = None,
    ) -> None:
        self.name = str(pattern)
        self._follow = follow
        self._left = _read_checkpoint(checkpoint)
        self._since = since
        self._zone = zone
        self._made_at = time.monotonic()
        self._like = re.compile(fnmatch.translate(pattern.name))
        self._logs: dict[str, _Log] = {}  # by path
        self._turn: dict[str, None] = {}  # paths of those to be asked, in this order
        self._notices: list[str] = []
        self._rung: set[str] = set()  # filled by another thread
        self._ring: Callable[[], None] = _nobody
        self._watch: Watch | None = None
        self._searched_at = self._looked_at = -math.inf
        self._said_many = False

    def watch(self, ring: Callable[[], None]) -> None:
        """Ring when something happens in a folder of one of the files; what events miss is found by looking."""
        self._ring = ring
        self._watch = Watch(self._heard)

    def read(self) -> Block | None:
        """Return the next lines of the file whose turn it is."""
        now = time.monotonic()
        while self._rung:
            self._answer(self._rung.pop(), now)
        if now - self._searched_at >= _SEARCH:
            self._searched_at = now
            self._search(now)
        if now - self._looked_at >= _LOOK:
            self._looked_at = now
            self._turn |= dict.fromkeys(self._logs)
        while self._turn:
            path = next(iter(self._turn))
            del self._turn[path]
            log = self._logs.get(path)
            block = None if log is None else self._read(log)
            if log is not None and block is not None:
                self._turn[path] = None
                log.checkpoint = block.checkpoint
                return block._replace(checkpoint=_write_checkpoint(self._logs))
        return None

    def notices(self) -> list[str]:
        """Return, once, what happened to the files."""
        notices, self._notices = self._notices, []
        for log in self._logs.values():
            notices += log.source.notices()
        return notices

    def ended(self) -> bool:
        """Say no: a log has no end, and more may come."""
        return False

    def report(self) -> SourceReport:
        """Say how they are doing, taken together."""
        reports = [log.source.report() for log in self._logs.values()]
        troubled = sum(log.trouble is not None for log in self._logs.values())
        state = f"following {len(reports)} files" + (f", {troubled} of them cannot be read" if troubled else "")
        return SourceReport(
            self.name,
            state if reports else "waiting for a file",
            sum(report.offset or 0 for report in reports),
            sum(report.size or 0 for report in reports),
            sum(report.too_long for report in reports),
            waiting=troubled > 0 or all(report.waiting for report in reports),
        )

    def close(self) -> None:
        """Stop watching and close all files."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        for log in self._logs.values():
            log.source.close()
        self._logs.clear()
        self._turn.clear()

    def _search(self, now: float) -> None:
        """See which files there are now; those that were left off are looked for even where only a rotated one is."""
        matches = [path for path in sorted(glob.glob(self.name)) if os.path.isfile(path) and not is_rotated(path)]  # noqa: PTH113, PTH207
        for path in [*self._left, *matches]:
            log = self._logs.get(path)
            if log is not None:
                log.seen_at = now
            elif self._room():
                self._begin(path, now)
        self._left = {}
        for path, log in list(self._logs.items()):
            if now - log.seen_at > _FORGET:
                self._notices += log.source.notices()
                log.source.close()
                del self._logs[path]
        if self._watch is not None:
            folders = {os.path.dirname(path) for path in self._logs}  # noqa: PTH120
            above = os.path.dirname(self.name)  # noqa: PTH120
            self._notices += self._watch.look(folders if glob.has_magic(above) else folders | {above})

    def _begin(self, path: str, now: float) -> None:
        since = None if self._since is None else self._since + timedelta(seconds=now - self._made_at)
        left = self._left.get(path)
        source = self._follow(Path(path), left, since=since, zone=self._zone, ring=partial(self._heard, path))
        self._logs[path] = _Log(source, left, now)
        self._turn[path] = None

    def _room(self) -> bool:
        """Say whether one more can be followed, and leave descriptors to the rest of the process."""
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        limit = min(_AT_MOST, descriptors // 4)
        if len(self._logs) < limit:
            return True
        if not self._said_many:
            self._said_many = True
            why = "" if limit == _AT_MOST else f", as the process may have only {descriptors} files open (LimitNOFILE)"
            self._notices.append(f"{self.name} names more than {limit} files; the others are not followed{why}")
        return False

    def _heard(self, path: str) -> None:
        """Remember, in another thread, that something happened to a file."""
        if self._like.match(os.path.basename(path)):  # noqa: PTH119
            self._rung.add(path)
            self._ring()

    def _answer(self, path: str, now: float) -> None:
        """Let a file have its turn that something happened to; look for a new one, but not at each of its lines."""
        if path in self._logs:
            self._turn[path] = None
        elif now - self._searched_at >= _LOOK:
            self._searched_at = self._looked_at = -math.inf

    def _read(self, log: _Log) -> Block | None:
        """Read one file; one that cannot be read keeps nobody else back, and is said once."""
        try:
            block = log.source.read()
        except (*UNREADABLE, NotPermittedError) as error:
            why = getattr(error, "strerror", None) or str(error)
            if log.trouble != why:
                self._notices.append(f"{log.source.name}: {why}")
            log.trouble = why
            return None
        if log.trouble is not None:
            log.trouble = None
            self._notices.append(f"{log.source.name} can be read again")
        return block


def is_pattern(path: Path) -> bool:
    """Say whether a path is a pattern, and not a file with a strange name."""
    return glob.has_magic(str(path)) and not path.exists()


def _write_checkpoint(logs: Mapping[str, _Log]) -> str:
    """Put the checkpoints of all, which are JSON, into one."""
    places = (f"{json.dumps(path)}:{log.checkpoint}" for path, log in logs.items() if log.checkpoint)
    return f'{{"version":{_VERSION},"logs":{{{",".join(places)}}}}}'


def _read_checkpoint(text: str | None) -> dict[str, str]:
    """Read the checkpoints of all back; none where the text is none of ours."""
    try:
        data = json.loads(text or "{}")
        return {path: json.dumps(place) for path, place in data["logs"].items()} if data["version"] == _VERSION else {}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _nobody() -> None:
    """Ring where nobody listens yet."""
