"""Finds, in whole blocks of bytes, the lines that some format may read; the others are never cut out, nor looked at.

Most lines of a mail log are written by programs that no format reads. Once such a program has been met often enough,
one regular expression passes its lines by, at the speed of a C loop. Whatever does not look exactly like one of them is
handed over: a line is passed by because it is known, never because it is not.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from popbeforesmtp.header import COMMON

_OFTEN = 16  # lines of a program before it is worth a new expression
_PROGRAMS = 64  # programs passed by at most, for each is tried on each line
_MET = 1000  # programs counted at most: strangers may choose their names

_STAMP_AND_HOST = rb"(?:[0-9-]{10}T[^ ]++|[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8}) (?!<)[^ ]++(?<!:) "
"""An RFC 3339 or traditional stamp, and a host. The tokens may run on over a line's end: a line with fewer than three
blanks is no login, whatever stands below it."""


def every_line(data: bytes) -> Iterator[tuple[int, int]]:
    """Give the beginning and the end, its LF not counted, of each line."""
    start = 0
    while (end := data.find(b"\n", start)) >= 0:
        yield start, end
        start = end + 1


class Sieve:
    """Remembers which programs of one log are nobody's.

    ``begins`` are the programs that formats read, with what their messages begin with if they can mean anything;
    nothing, where they can begin with anything. ``own`` is the same of messages in a server's own log file.
    """

    def __init__(self, begins: Mapping[bytes, tuple[bytes, ...]], own: tuple[bytes, ...] = ()) -> None:
        self._begins = begins
        self._own = own
        self._met: Counter[bytes] = Counter()
        self._passed: set[bytes] = set()  # expressions
        self._compile()

    def find(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Give the beginning and the end, its LF not counted, of each line that may mean something."""
        if self._known.match(data) is None:
            yield 0, data.find(b"\n")
        last = len(data) - 1
        for match in self._candidate.finditer(data):
            start = match.end()
            if start > last:  # the LF that ends the block
                return
            yield start, data.find(b"\n", start)

    def heads(self, data: bytes) -> Iterator[re.Match[bytes]]:
        """Give, for each such line but the first, the LF before it together with its header, if it is a common one.

        Group 2 is the program, where there is a host and a tag.
        """
        return self._head.finditer(data)

    def met(self, program: bytes | None) -> None:
        """Count a line of a program that no format reads."""
        if not program or program in self._begins or len(self._passed) >= _PROGRAMS:
            return
        if len(self._met) >= _MET:
            self._met.clear()
        self._met[program] += 1
        # In a server's own log the service stands where elsewhere the program does: nobody must be able to hide that.
        if self._met[program] >= _OFTEN and not program.startswith(self._own):
            family = program[: program.find(b"/") + 1]  # postfix/smtpd, postfix/qmgr, …
            known = any(other.startswith(family) for other in self._begins)
            self._passed.add(re.escape(family) + rb"[^ ]++(?<=:) " if family and not known else _tag(program))
            self._compile()

    def _compile(self) -> None:
        boring = sorted(self._passed)
        for program, begins in self._begins.items():
            if begins:
                wanted = b"|".join(re.escape(text) for text in (*begins, b"message repeated "))
                boring.append(_tag(program) + rb"(?!" + wanted + rb")")
        known = _STAMP_AND_HOST + b"(?:" + b"|".join(boring or [b"(?!)"]) + b")"
        self._known = re.compile(known)
        self._candidate = re.compile(rb"\n(?!" + known + rb")")
        self._head = re.compile(rb"\n(?!" + known + rb")(?:" + COMMON + rb")?")


def _tag(program: bytes) -> bytes:
    return re.escape(program) + rb"(?:\[[0-9]++\])?: "  # with its blank: a host may hold colons too
