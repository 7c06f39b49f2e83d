"""Puts patterns of one program into one expression: to count lines, it need not be asked of each which one it is.

What such an expression matches in the middle of a block, from behind the tag up to an LF, is what its patterns match in
a message: negated classes are kept from reaching over the line's end, and nothing else in a packaged pattern could
(tests/formats/test_blend.py).
"""

import re
from collections.abc import Callable, Iterable
from functools import partial

from popbeforesmtp.formats import Blend, Ending, Kind
from popbeforesmtp.formats._format import Pattern
from popbeforesmtp.model import EventKind

_NAME = re.compile(rb"\(\?P<([a-z_]+)>")


def blend(patterns: Iterable[tuple[Pattern, Callable[[bytes | None], Kind]]], before: int) -> Blend | None:
    """Blend the first of these that can be, behind so many groups; None where the first cannot.

    With each pattern comes what its lines mean, by the service that is captured.
    """
    texts: list[bytes] = []
    endings: dict[int | None, Ending] = {}
    last = before
    for pattern, kind in patterns:
        # More than an expression must be asked; or it speaks of its groups by names, which it has no more here.
        if pattern.admits_control or pattern.once or b"(?P=" in pattern.text:
            break
        if pattern.match.groups != len(pattern.match.groupindex):
            break
        asked = (b"service",) if pattern.event is EventKind.LOGOUT else (b"service", b"address")
        names = [name for name in _NAME.findall(pattern.text) if name in asked]
        numbers = {name: last + number for number, name in enumerate(names, start=1)}
        last += len(names) + 1
        endings[last] = Ending(kind, numbers.get(b"service", last), numbers.get(b"address", 0))
        texts.append(b"(?:%b)()" % _NAME.sub(partial(_group, asked), pattern.text).replace(b"[^", b"[^\\n"))
    return Blend(b"(?:%b)" % b"|".join(texts), last, endings) if texts else None


def _group(asked: tuple[bytes, ...], begin: re.Match[bytes]) -> bytes:
    """Begin a group that is asked for, else one that costs nothing."""
    return b"(" if begin[1] in asked else b"(?:"
