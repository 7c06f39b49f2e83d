"""Finds, in whole blocks of bytes, the lines that some format may read; the others are never cut out, nor looked at.

Most lines of a mail log are written by programs that no format reads. Once such a program has been met often enough,
one regular expression passes its lines by, at the speed of a C loop. Whatever does not look exactly like one of them is
handed over: a line is passed by because it is known, never because it is not.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from popbeforesmtp.entry import EntryReader
from popbeforesmtp.header import COMMON, HOST, REPEATED, SOLARIS, TAG_END
from popbeforesmtp.stamps import STAMPS

_OFTEN = 16  # lines of a program before it is worth a new expression
_PROGRAMS = 64  # programs passed by at most, for each is tried on each line
_MET = 1000  # programs counted at most: strangers may choose their names

_TAG_KEY = b'"SYSLOG_IDENTIFIER":"'
_TEXT_KEY = b'"MESSAGE":"'

_STAMP_AND_HOST = rb"(?:[0-9-]{10}+T[^ ]++|[A-Z][a-z]{2}+ [ 0-9][0-9] [0-9:]{8}+) [^ <][^ ]*+(?<!:) "
"""An RFC 3339 or traditional stamp, and a host. The tokens may run on over a line's end: a line with fewer than three
blanks is no login, whatever stands below it."""

_LAYOUT = re.compile(b"(%b|%b)(%b) " % (STAMPS["rfc3339"], STAMPS["traditional"], HOST))
_CHANGES = 32  # of layouts that a sieve follows: each costs a new expression

_COMMON_HOST = b"(?>(?:%b|%b)%b )" % (STAMPS["rfc3339"], STAMPS["traditional"], HOST)
"""The same, and nothing but these: what stands behind it is believed."""


def every_line(data: bytes) -> Iterator[tuple[int, int]]:
    """Give the beginning and the end, its LF not counted, of each line."""
    start = 0
    while (end := data.find(b"\n", start)) >= 0:
        yield start, end
        start = end + 1


class Sieve:
    """Remembers which programs of one log write lines that mean nothing.

    ``begins`` are the programs that formats read, with what their messages begin with if they can mean anything;
    nothing, where they can begin with anything. ``logins`` are the same where logouts mean nothing; None where they
    always do.
    """

    def __init__(
        self,
        begins: Mapping[bytes, tuple[bytes, ...]],
        logins: Mapping[bytes, tuple[bytes, ...]] | None = None,
    ) -> None:
        self._begins = begins
        self._logins = begins if logins is None else logins
        self._ends = True  # whether logouts mean anything
        self._met: Counter[bytes] = Counter()
        self._passed: dict[bytes, None] = {}  # expressions, those of who writes most first
        self._bodies: Mapping[bytes, bytes] = {}
        self._layout = self._next_layout = b""  # matches stamp and host of most lines, by their length alone
        self._changes = 0
        self._head: re.Pattern[bytes] | None = None  # made when it is used next
        self.program = 2
        """Number of the group in which a head has the program, where there is a host and a tag."""

    def find(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Give the beginning and the end, its LF not counted, of each line that may mean something."""
        end = data.find(b"\n")
        if self.keeps(data[: end + 1]):
            yield 0, end
        last = len(data) - 1
        for head in self.heads(data):
            start = head.start() + 1
            if start > last:  # the LF that ends the block
                return
            yield start, data.find(b"\n", start)

    def keeps(self, line: bytes) -> bool:
        """Say whether a line, with its LF, may mean something."""
        return self._expression().match(b"\n" + line) is not None

    def heads(self, data: bytes) -> Iterator[re.Match[bytes]]:
        """Give, for each such line but the first, the LF before it together with its header, if it is a common one.

        Where what stands behind it is expected, that belongs to it too, up to the LF at the line's end.
        """
        self._see_layout(data)
        return self._expression().finditer(data)

    def expect(self, bodies: Mapping[bytes, bytes], groups: int) -> None:
        """Expect these messages of programs, with so many groups: expressions that match no LF (re.VERBOSE)."""
        self._bodies = bodies
        self.program = groups + 2
        self._head = None

    def mind_ends(self, *, ends: bool) -> None:
        """Say whether logouts mean anything from now on; at first they do."""
        if ends != self._ends:
            self._ends, self._head = ends, None
            self._passed.clear()
            self._met.clear()

    def met(self, program: bytes | None) -> None:
        """Count a line that means nothing, of any program."""
        begins = (self._begins if self._ends else self._logins).get(program or b"")
        if not program or begins == () or len(self._passed) >= _PROGRAMS:
            return
        if len(self._met) >= _MET:
            self._met.clear()
        self._met[program] += 1
        if self._met[program] != _OFTEN:
            return
        if begins is not None:
            self._passed[_tag(program) + rb"(?!%b)" % b"|".join(map(re.escape, (*begins, REPEATED, SOLARIS)))] = None
            self._head = None
        else:
            family = program[: program.find(b"/") + 1]  # postfix/smtpd, postfix/qmgr, …
            known = any(other.startswith(family) for other in self._begins)
            expression = re.escape(family) + rb"[^ ]++(?<=:) " if family and not known else _tag(program)
            self._passed[expression] = None
            self._head = None

    def _see_layout(self, data: bytes) -> None:
        """Learn how long the stamps are, and what the host is called: a block begins like most lines of its log.

        That a line has what it is known by just there, behind so many bytes of anything, is enough: no server lets
        strangers write so far in front, and whoever could would hide a line of their own.
        """
        head = _LAYOUT.match(data)
        layout = b"" if head is None else b"(?s:.{%d}+)%b " % (len(head[1]), re.escape(head[2]))
        if layout not in (b"", self._layout) and layout == self._next_layout and self._changes < _CHANGES:
            self._layout, self._head = layout, None
            self._changes += 1
        self._next_layout = layout

    def _expression(self) -> re.Pattern[bytes]:
        """Return what finds the LF before each line that is not passed by, together with its header."""
        if self._head is None:
            known = b"|".join(self._passed) or b"(?!)"
            bodies = [b"%b%b(?x:%b)" % (re.escape(program), TAG_END, body) for program, body in self._bodies.items()]
            head = b"%b(?:%b)(?=\\n)|%b" % (_COMMON_HOST, b"|".join(bodies), COMMON) if bodies else COMMON
            stamp_and_host = _STAMP_AND_HOST
            if self._layout:  # what stands at another place is not looked for where it stands at the usual one
                stamp_and_host = b"(?:%b|(?!%b)%b)" % (self._layout, self._layout, _STAMP_AND_HOST)
            self._head = re.compile(b"\\n(?!%b(?:%b))(?:%b|)" % (stamp_and_host, known, head))
        return self._head


class EntrySieve:
    """Finds the entries of the journal that some format may read, before they are read as JSON.

    ``begins`` is as `Sieve` has it. What is passed by is an object without an escape and without another object in it:
    there each quotation mark is what it looks like. And it is no piece of a line, nor may it be the rest of one.
    """

    def __init__(self, begins: Mapping[bytes, tuple[bytes, ...]], reader: EntryReader) -> None:
        self._begins = begins
        self._reader = reader

    def find(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Give the beginning and the end of each entry; each must have been read before the next is asked for."""
        for start, end in every_line(data):
            if self._reader.inside or not self._means_nothing(data[start:end]):
                yield start, end

    def mind_ends(self, *, ends: bool) -> None:
        """Pass by no more and no less: in the journal all that a server writes of sessions is looked at."""

    def met(self, program: bytes | None) -> None:
        """Learn nothing: journalctl was asked for the programs of formats only."""

    def _means_nothing(self, entry: bytes) -> bool:
        tag, text = entry.find(_TAG_KEY), entry.find(_TEXT_KEY)
        if tag < 0 or text < 0:
            return False
        tag += len(_TAG_KEY)
        begins = self._begins.get(entry[tag : entry.find(b'"', tag)])
        if not begins or entry.startswith(begins, text + len(_TEXT_KEY)):
            return False
        if b"\\" in entry or entry.rfind(b"{") > 0:
            return False
        return b'"_STREAM_ID"' not in entry and b'"_LINE_BREAK"' not in entry


def _tag(program: bytes) -> bytes:
    return re.escape(program) + rb"(?:: |\[[0-9]++\]: )"  # with its blank: a host may hold colons too
