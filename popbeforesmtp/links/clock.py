"""Clock and zone: what the log's stamps say and what the machine's clock says is the same time."""

from collections.abc import Iterator

from popbeforesmtp.links import Finding, Machine, sound, wrong
from popbeforesmtp.rules import AHEAD
from popbeforesmtp.text import duration

PLACE = 30

_LATE = 300.0  # seconds that a line may be on its way


def look(machine: Machine) -> Iterator[Finding]:
    """Hold the last stamp of each log against the time at which that line was written, which is the file's own."""
    now = machine.clock.now().wall
    for _, path in machine.logs:
        seen = machine.seen.get(str(path))
        if seen is None or seen.last_line_at is None or seen.unknown_headers * 2 >= seen.lines:
            continue
        written = path.stat().st_mtime
        offset = seen.last_line_at.timestamp() - written
        ahead = written - now.timestamp()
        if ahead > AHEAD.total_seconds():
            yield wrong(
                f"{path}: was written {duration(ahead)} ahead of this machine's clock, which was set back or is wrong",
                "set the clock, and let it be kept (timedatectl set-ntp true)",
            )
        elif offset > AHEAD.total_seconds() or offset < -_LATE:
            where = "ahead of" if offset > 0 else "behind"
            yield wrong(
                f"{path}: stamps lie a steady {duration(abs(offset))} {where} this machine's clock",
                "set timezone for this source, or the clock of the host that writes it",
            )
        else:
            yield sound(f"{path}: its stamps are those of this machine's clock")
