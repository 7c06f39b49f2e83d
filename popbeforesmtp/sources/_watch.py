"""Hears of what happens in folders, also in one that comes later, is replaced or is mounted over."""

import os
from collections.abc import Callable, Iterable

from watchdog.events import EVENT_TYPE_CLOSED_NO_WRITE, EVENT_TYPE_OPENED, FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch

_AT_MOST = 32
"""Folders that are watched: each costs a thread. What happens in others is found by looking."""


class Watch:
    """Calls ``tell``, from another thread, with the path of every file that something happened to."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._bell = _Bell(tell)
        self._observer: BaseObserver | None = None
        self._watched: dict[str, tuple[tuple[int, int], ObservedWatch]] = {}
        self._said: set[str] = set()

    def look(self, folders: Iterable[str]) -> list[str]:
        """Watch these folders, as they are now, and no others; return what the administrator should know."""
        # inotify does not follow a folder's name: neither through a symbolic link, nor to another folder of that name.
        wanted = {os.path.realpath(folder) for folder in sorted(folders)[:_AT_MOST]}
        there = {folder: identity for folder in wanted if (identity := _identity(folder)) is not None}
        for folder, (identity, watch) in list(self._watched.items()):
            if there.get(folder) != identity:
                del self._watched[folder]
                if self._observer is not None:
                    self._observer.unschedule(watch)
        notices = []
        for folder in wanted - self._watched.keys():
            notices += self._begin(folder, there.get(folder))
        return notices

    def close(self) -> None:
        """Stop listening."""
        if self._observer is not None:
            self._observer.stop()
            self._observer.join(1.0)
            self._observer = None
        self._watched.clear()

    def _begin(self, folder: str, identity: tuple[int, int] | None) -> list[str]:
        """Watch one more folder; where that cannot be, say so once."""
        why: str | None = "there is no such folder yet"
        if identity is not None:
            try:
                if self._observer is None:
                    observer = Observer()
                    observer.start()
                    self._observer = observer
                self._watched[folder] = identity, self._observer.schedule(self._bell, folder)
            except OSError as error:
                why = error.strerror
            else:
                self._said.discard(folder)
                return []
        if folder in self._said:
            return []
        self._said.add(folder)
        return [f"no file events for {folder} ({why}): looking every second"]


def _identity(folder: str) -> tuple[int, int] | None:
    try:
        status = os.stat(folder)  # noqa: PTH116 - once a second
    except OSError:
        return None
    return status.st_dev, status.st_ino


class _Bell(FileSystemEventHandler):
    """Passes every event on but those that our own reading causes."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Name the files that it is about."""
        if event.event_type in (EVENT_TYPE_OPENED, EVENT_TYPE_CLOSED_NO_WRITE):
            return
        for path in (event.src_path, event.dest_path):
            if path:
                self._tell(os.fsdecode(path))
