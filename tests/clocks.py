"""A clock that a test sets by hand."""

from datetime import UTC, datetime, timedelta

from popbeforesmtp.clock import Moment

START = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
"""What a new FakeClock's wall clock says."""


class FakeClock:
    """Both clocks of a machine, which go only when they are told to.

    They count whole microseconds, so that "exactly at the end" and "one microsecond before" mean what they say.
    """

    def __init__(self, wall: datetime = START, boottime: float = 1000.0, boot_id: str = "first boot") -> None:
        self.boot_id = boot_id
        self._wall = wall
        self._boottime = timedelta(seconds=boottime)

    def now(self) -> Moment:
        """Read both clocks."""
        return Moment(self._wall, self._boottime / timedelta(seconds=1))

    def advance(self, seconds: float = 0, *, microseconds: int = 0) -> Moment:
        """Let time go by on both clocks."""
        passed = timedelta(seconds=seconds, microseconds=microseconds)
        self._wall += passed
        self._boottime += passed
        return self.now()

    def step(self, seconds: float) -> Moment:
        """Set the wall clock forward, or back where negative; CLOCK_BOOTTIME does not notice."""
        self._wall += timedelta(seconds=seconds)
        return self.now()

    def suspend(self, seconds: float) -> Moment:
        """Sleep as a laptop does: nothing runs, and both clocks have gone on at the awakening."""
        return self.advance(seconds)

    def reboot(self, boot_id: str = "second boot", *, off: float = 0, up: float = 5.0) -> Moment:
        """Go down, stay off for some seconds, and be up again for some: CLOCK_BOOTTIME starts anew."""
        self.boot_id = boot_id
        self._wall += timedelta(seconds=off + up)
        self._boottime = timedelta(seconds=up)
        return self.now()
