"""Finds where in a log file the lines begin that were written since some moment, by reading very little of it.

Stamps must rise nearly everywhere for that; a minute's disorder is allowed for, as lines may come from several hosts.
Whether they rise is seen at all probes and around the place that was found: no proof, but whoever could forge most
stamps of a log without that being seen could as well have flooded it.
"""

import os
from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise

from popbeforesmtp.header import HeaderReader

_SLACK = timedelta(seconds=60)
_PIECE = 4096
_UNSTAMPED = 65_536  # bytes without any stamp that are stepped over
_SAMPLES = 16  # places over the whole file at which the order is looked at
_AROUND = 32_768  # bytes before the place that was found in which it is looked at


class Stamps:
    """The times of the lines of one file; ``last`` is when it was last written to: none is later."""

    def __init__(self, descriptor: int, zone: tzinfo | None, last: datetime) -> None:
        self._descriptor = descriptor
        self._zone = zone
        self._last = last

    def find_start(self, begin: int, since: datetime) -> int | None:
        """Return the offset of the first line since a moment, at or behind ``begin``, else that of the file's last end.

        It may be a minute too early. None where the stamps are not in order. Raises OSError.
        """
        end = os.fstat(self._descriptor).st_size
        wanted = since - _SLACK
        probes = [self._after(begin + (end - begin) * part // _SAMPLES, end) for part in range(_SAMPLES)]
        low, high = begin, end
        while high - low > _PIECE:
            middle = (low + high) // 2
            found = self._after(middle, high)
            probes.append(found)
            if found is None:  # no stamp from here to ``high``, or too far to look
                if high - middle > _UNSTAMPED:
                    return None
                high = middle
            elif found[1] < wanted:
                low = found[0]
            else:
                high = middle
        times = [time for _, time in sorted({probe for probe in probes if probe is not None})]
        if any(later < earlier - _SLACK for earlier, later in pairwise(times)):
            return None
        if not times and end > begin:
            return None
        start = self._first(low, end, wanted)
        around = self.read(max(begin, start - _AROUND), start)
        return None if any(time is not None and time >= since for _, time in around) else start

    def read(self, begin: int, end: int) -> Iterator[tuple[int, datetime | None]]:
        """Give offset and time of each whole line that begins at or behind ``begin`` and ends before ``end``."""
        header = HeaderReader(self._zone)
        at, rest, inside = begin, b"", False
        if begin > 0:
            at, inside = begin - 1, True
        position = at
        while position < end and (piece := os.pread(self._descriptor, min(_PIECE, end - position), position)):
            position += len(piece)
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if not inside:
                    message = header.read(line, self._last)
                    yield at, None if message is None else message.time
                inside = False
                at += len(line) + 1
            if inside or len(rest) > _UNSTAMPED:  # what is passed by need not be kept
                at, rest, inside = position, b"", True

    def _after(self, begin: int, end: int) -> tuple[int, datetime] | None:
        """Return the first line with a time that begins behind some offset, and not far from it."""
        lines = self.read(begin, min(end, begin + _UNSTAMPED))
        return next(((offset, time) for offset, time in lines if time is not None), None)

    def _first(self, low: int, end: int, wanted: datetime) -> int:
        """Return the first line since a moment; if there is none, the end of the last whole line."""
        last = low
        for offset, time in self.read(low, end):
            if time is not None and time >= wanted:
                return offset
            last = offset
        return last
