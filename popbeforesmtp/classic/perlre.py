"""Perl's regular expressions: their parts, and how ``regex`` writes what means something else there."""

import re

ATOM = re.compile(
    r"\\(?:x[0-9A-Fa-f]{2}|.)|\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^]\\])*\]|\(\?(?:P?<[A-Za-z_]\w*>|P=[A-Za-z_]\w*\)|[^)]?[=!:>|]?)?|.",
    re.DOTALL,
)
"""One part of an expression: an escape, a class, the beginning of a group, or a letter."""


class CannotConvertError(Exception):
    """A pattern cannot be carried over; the message says why, and what to do instead."""


def as_regex(pattern: str) -> str:
    """Write a whole Perl pattern as ``regex`` has it: a bracket in a class begins another one there."""
    return "".join(
        _class(part[0]) if part[0][0] == "[" and len(part[0]) > 1 else part[0] for part in ATOM.finditer(pattern)
    )


def _class(part: str) -> str:
    """Write a class of characters."""
    head = re.match(r"\[\^?\]?", part)
    begin = head.end() if head is not None else 1
    inner = re.sub(r"\[:\^?\w+:\]|\\.|\[", lambda match: r"\[" if match[0] == "[" else match[0], part[begin:-1])
    inner = re.sub(r"\\?([\x00-\x1f\x7f])", lambda match: f"\\x{ord(match[1]):02x}", inner)
    return part[:begin].replace("[]", r"[\]").replace("[^]", r"[^\]") + inner + "]"


# What regex has under another name, and what it lacks or means otherwise (perlre(1), https://pypi.org/project/regex/).
_NAMED = {r"\z": r"\Z", r"\h": r"[ \t]", r"\e": r"\x1b"}
_UNKNOWN = frozenset("QEULluNpPXCKGgkRvVHoA123456789B")


def escaped(part: str) -> str:
    """Write one part of an expression as it means the same where blanks and # mean nothing (re.VERBOSE)."""
    if part.startswith("\\") and len(part) > 1 and part[1] in _UNKNOWN:
        raise CannotConvertError(f"{part!r} is not carried over; write the pattern without it")
    if part in _NAMED:
        return _NAMED[part]
    if part.startswith("[") and len(part) > 1:
        return _class(part)
    if part in (" ", r"\ "):
        return "[ ]"
    if part in ("#", r"\#"):
        return "[#]"
    if len(part) < 3 and not part[-1].isprintable() and part.isascii():  # with a backslash or without
        return f"\\x{ord(part[-1]):02x}"
    if not part.isascii():
        raise CannotConvertError("it holds letters beyond ASCII; write them as \\xNN")
    return part
