"""The bench's clocks: this machine's, moved by what a small shared file says. The byte that kills lies there too."""

import mmap
import struct
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from popbeforesmtp import clock

_SIZE = 64
_SEQUENCE, _AGAIN, _WALL, _BOOTTIME, _BOOT, _DEATH = 0, 8, 16, 24, 32, 40  # offsets in the file
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Moment:
    """One instant on the bench's clocks, in seconds."""

    wall: float  # since 1970
    boottime: float


class SharedClock:
    """Reads and moves the clocks, from any process that opened the same file."""

    def __init__(self, path: Path, *, make: bool = False) -> None:
        if make:
            path.write_bytes(bytes(_SIZE))
        with path.open("r+b" if make else "rb") as file:
            access = mmap.ACCESS_WRITE if make else mmap.ACCESS_READ
            self._memory = mmap.mmap(file.fileno(), _SIZE, access=access)

    def now(self) -> Moment:
        """Read both clocks."""
        wall, boottime = self._offsets()
        return Moment(time.time() + wall, time.clock_gettime(time.CLOCK_BOOTTIME) + boottime)

    def move(self, wall: float = 0.0, boottime: float = 0.0) -> None:
        """Step the clocks, both in one go as a reader sees it."""
        old = self._offsets()
        (sequence,) = struct.unpack_from("<q", self._memory, _SEQUENCE)
        struct.pack_into("<q", self._memory, _SEQUENCE, sequence + 1)
        struct.pack_into("<dd", self._memory, _WALL, old[0] + wall, old[1] + boottime)
        struct.pack_into("<q", self._memory, _AGAIN, sequence + 1)

    def reboot(self) -> None:
        """Begin a new run of the machine: CLOCK_BOOTTIME starts anew."""
        self.move(boottime=5.0 - self.now().boottime)
        struct.pack_into("<q", self._memory, _BOOT, self.boot() + 1)

    def boot(self) -> int:
        """Return the number of this run of the machine."""
        (number,) = struct.unpack_from("<q", self._memory, _BOOT)
        return int(number)

    def set_death(self, point: int) -> None:
        """Say at which point the daemon dies; 0 is none."""
        self._memory[_DEATH] = point

    def death(self) -> int:
        """Return the point at which to die."""
        return self._memory[_DEATH]

    def _offsets(self) -> tuple[float, float]:
        while True:
            (again,) = struct.unpack_from("<q", self._memory, _AGAIN)
            wall, boottime = struct.unpack_from("<dd", self._memory, _WALL)
            (sequence,) = struct.unpack_from("<q", self._memory, _SEQUENCE)
            if sequence == again:
                return wall, boottime


class DaemonClock:
    """The same, as the daemon wants it."""

    def __init__(self, shared: SharedClock) -> None:
        self._shared = shared
        self.boot_id = f"boot {shared.boot()}"

    def now(self) -> clock.Moment:
        """Read both clocks."""
        now = self._shared.now()
        return clock.Moment(_EPOCH + timedelta(seconds=now.wall), now.boottime)
