"""The two clocks that every window is measured with, read together.

The wall clock says when a window ends; ``CLOCK_BOOTTIME`` (clock_gettime(2)), which nobody can set and which counts
through suspend, makes sure that a wall clock that is set back does not stretch it.
"""

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Protocol

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # random(4): one value from boot to boot


class Moment(NamedTuple):
    """One instant on both clocks."""

    wall: datetime  # aware, UTC
    boottime: float  # seconds of CLOCK_BOOTTIME


class Clock(Protocol):
    """What tells the time; tests pass one that they set by hand."""

    boot_id: str  # names the run of the machine in which boottime values can be compared

    def now(self) -> Moment:
        """Read both clocks."""


class SystemClock:
    """The clocks of this machine."""

    def __init__(self) -> None:
        # Where it cannot be told, this process is a boot of its own: windows of before are measured by the wall clock.
        self.boot_id = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else os.urandom(16).hex()

    def now(self) -> Moment:
        """Read both clocks."""
        return Moment(datetime.now(UTC), time.clock_gettime(time.CLOCK_BOOTTIME))
