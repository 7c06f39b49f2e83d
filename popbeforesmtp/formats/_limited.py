"""Patterns that are not ours: whatever they are, they may not keep the others waiting."""

import re
from typing import cast

import regex

_SECONDS = 0.05  # that a pattern of the administrator's may take for one line


class _Limited:
    """A compiled pattern that is given little time for each line."""

    def __init__(self, text: bytes) -> None:
        """Raises ValueError where it is no expression."""
        try:
            self._pattern = regex.compile(text, regex.VERBOSE)
        except regex.error as error:
            raise ValueError(str(error)) from None
        self.pattern = text
        self.groupindex = self._pattern.groupindex

    def fullmatch(self, data: bytes, start: int, end: int) -> regex.Match[bytes] | None:
        """Match whole; what takes too long does not match."""
        try:
            return self._pattern.fullmatch(data, start, end, timeout=_SECONDS)
        except TimeoutError:
            return None

    def search(self, data: bytes) -> regex.Match[bytes] | None:
        """Match anywhere; what takes too long does not match."""
        try:
            return self._pattern.search(data, timeout=_SECONDS)
        except TimeoutError:
            return None


def compile_limited(text: bytes) -> re.Pattern[bytes]:
    """Compile an expression with a time limit, as far as the engine uses one. Raises ValueError where it is none."""
    return cast("re.Pattern[bytes]", _Limited(text))
