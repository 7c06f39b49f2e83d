"""What the tests of a log that is followed have in common: reading it, writing to it, and being somebody else."""

import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from popbeforesmtp.model import Block
from popbeforesmtp.sources import Source
from popbeforesmtp.sources.file import FileSource

NOBODY = 65534


class Hand:
    """A monotonic clock that a test turns by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.seconds

    def time_ns(self) -> int:
        """Return the system's time, as files have it."""
        return time.time_ns()


def become_nobody() -> None:
    """Give up root's rights, where the tests run as root, until ``become_self``."""
    if os.getuid() == 0:
        os.seteuid(NOBODY)


def become_self() -> None:
    """Take them back."""
    os.seteuid(os.getuid())


def drain(source: Source) -> list[Block]:
    """Read until there is nothing more at present; what is unpacked in a thread is waited for."""
    blocks = []
    while (block := source.read()) is not None or source.report().state.startswith("unpacking"):
        if block is None:
            wait_for_threads()
        else:
            blocks.append(block)
    return [block for block in blocks if block.data]


def wait_for_threads() -> None:
    """Wait until nothing is unpacked any more."""
    for thread in threading.enumerate():
        if thread.name == "unpack":
            thread.join(30)


def rest_after(path: Path, checkpoint: str | None, since: datetime | None = None) -> tuple[bytes, list[str]]:
    """Read a log from a checkpoint on, as another process would."""
    source = FileSource(path, checkpoint, since=since, zone=UTC)
    blocks = drain(source)
    notices = source.notices()
    source.close()
    return text(blocks), notices


def last_checkpoint(path: Path) -> str:
    """Read a log to its end and return where that is."""
    source = FileSource(path)
    checkpoint = drain(source)[-1].checkpoint
    source.close()
    return checkpoint


def text(blocks: list[Block]) -> bytes:
    """Put together what was handed over."""
    return b"".join(block.data for block in blocks)


def append(path: Path, data: bytes) -> None:
    """Write behind the end, as a syslog daemon does."""
    with path.open("ab") as stream:
        stream.write(data)


def at_time(path: Path, seconds: int) -> None:
    """Set when a file was written last, so that no test hangs on the resolution of the file system's clock."""
    os.utime(path, (seconds, seconds))


def open_files() -> int:
    """Count this process's descriptors."""
    return len(list(Path("/proc/self/fd").iterdir()))
