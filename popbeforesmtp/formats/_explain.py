"""Says of one line why it means what it means, or how far the nearest pattern came, for ``scan --explain``."""

import re

from popbeforesmtp.formats import LONGEST_LOGIN, NO_MAILBOX, Formats
from popbeforesmtp.formats._engine import LONGEST_LINE, Engine
from popbeforesmtp.formats._format import Format, Pattern
from popbeforesmtp.model import EventKind, LogMessage, SessionEvent
from popbeforesmtp.text import escape

_SECONDS = 0.2  # that one pattern may take
_SHOWN = 40  # bytes of a line, around the place where a pattern stopped


def explain(line: bytes, message: LogMessage | None, event: SessionEvent | None, formats: Formats) -> str:
    """Say it in a sentence."""
    if message is None:
        return "no header that we know" if line else "empty"
    if event is not None:
        who = "" if event.client is None else f" of {event.client}"
        why = "" if event.genuine else ", which the server itself did not write: not believed"
        if event.kind is EventKind.LOGIN and event.service in NO_MAILBOX:
            why += f"; {event.service} opens no mailbox: refused, unless [rules] services names it"
        return f"{event.kind}{who}, by format {event.format}{why}"
    known = formats.of(message.program) if isinstance(formats, Engine) else []
    program = "no program" if message.program is None else f"program {escape(_text(message.program))!r}"
    if not known:
        return f"{program}: no format reads it"
    if len(message.text) > LONGEST_LINE:
        return f"{program}: longer than any line that is looked at"
    if formats.read(message) is not None:
        return f"{program}: waits for another line of its session, or for none: alone it authorizes nobody"
    return f"{program}: {_nearest(message.text, known)}"


def _nearest(text: bytes, formats: list[Format]) -> str:
    """Find the pattern that reads most of a message, and say where it stopped."""
    reached = [(_reach(pattern, text), known, pattern) for known in formats for pattern in known.patterns]
    best, known, pattern = max(reached, key=lambda found: found[0])
    which = f"the nearest pattern is {known.name}'s {pattern.event}"
    if best < len(text):
        here = escape(_text(text[best : best + _SHOWN]))
        return f"{which}, which stopped at byte {best}, before {here!r}"
    if pattern.event is not EventKind.FAILURE and (len(text) > LONGEST_LOGIN or any(byte < 32 for byte in text)):
        return f"{which}, but no login holds a control byte or is longer than {LONGEST_LOGIN} bytes"
    return f"{which}, which wants more behind the line's end, or its address is none, or something stands there twice"


def _reach(pattern: Pattern, text: bytes) -> int:
    """Return how many bytes of a message can be the beginning of what a pattern matches."""
    import regex  # only this command needs it

    # A name that may be anything could always go on: that a plain one stands there says more.
    plain = re.sub(rb"(\(\?P<user>[^|()]+)\|[^()]+\)", rb"\1)", pattern.match.pattern)
    partial = regex.compile(plain, regex.VERBOSE)
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        try:
            fits = partial.fullmatch(text[:middle], partial=True, timeout=_SECONDS) is not None
        except TimeoutError:
            fits = False
        low, high = (middle, high) if fits else (low, middle - 1)
    return low


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
