"""Puts patterns of one program into one expression: to count lines, it need not be asked of each which one it is.

What such an expression matches in the middle of a block, from behind the tag up to an LF, is what its patterns match in
a message: negated classes are kept from reaching over the line's end, and nothing else in a packaged pattern could
(tests/formats/test_blend.py).
"""

import re
from collections.abc import Callable, Iterable

from popbeforesmtp.formats import Blend, Ending, Kind
from popbeforesmtp.formats._format import Pattern
from popbeforesmtp.model import EventKind

_NAME = re.compile(rb"\(\?P<[a-z_]+>")


def blend(patterns: Iterable[tuple[Pattern, Callable[[bytes | None], Kind]]], before: int) -> Blend | None:
    """Blend the first of these that can be, behind so many groups; None where the first cannot.

    With each pattern comes what its lines mean, by the service that is captured.
    """
    texts: list[bytes] = []
    endings: dict[int | None, Ending] = {}
    last = before
    for pattern, kind in patterns:
        # More than an expression must be asked; or it speaks of its groups by names, which others have too.
        if pattern.admits_control or pattern.once or b"(?P=" in pattern.text:
            break
        end = last + pattern.match.groups + 1
        address = pattern.address and last + pattern.address if pattern.event is not EventKind.LOGOUT else 0
        endings[end] = Ending(kind, last + pattern.service if pattern.service else end, address)
        texts.append(b"(?:%b)()" % _NAME.sub(b"(", pattern.text).replace(b"[^", b"[^\\n"))
        last = end
    return Blend(b"(?:%b)" % b"|".join(texts), last, endings) if texts else None
