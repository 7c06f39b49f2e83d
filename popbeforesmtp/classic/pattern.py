"""Writes a classic pattern's message as one of a format's.

A classic pattern is one Perl regular expression for a whole line: stamp, host, tag, message. Here the header is read
before and the tag dispatches, so a pattern is taken apart: its tag is written out as programs (``header.py``), its
message becomes one pattern of a format, compiled by ``regex`` with a time limit. Perl matches anywhere; what may follow
is written out.
"""

import re

import regex

from popbeforesmtp.classic.perlre import ATOM, CannotConvertError, escaped

_WIDE = re.compile(r"(?:\\S|\.|\\w|\[\^(?:\\.|[^]\\])+\])[+*]\??")


def message_pattern(text: str, *, address: bool, user: bool) -> str:
    """Write a message's pattern as a format has it. Raises CannotConvertError.

    ``address``: its first group is the client's address. ``user``: the account's name is looked for: the first part
    of the message that may hold any text.
    """
    parts: list[str] = []
    depth, at, has_address = 0, 0, False
    name = _name(text) if user else None
    while at < len(text):
        if name is not None and at == name.start():
            wide = name[0].rstrip("+*?")
            parts.append(f"(?P<user>{escaped(wide)}{name[0][len(wide) :]})")
            at = name.end()
            continue
        atom = ATOM.match(text, at)
        if atom is None:
            raise CannotConvertError(f"what stands at {text[at : at + 10]!r} is not understood")
        part = atom[0]
        if part == "(" or re.fullmatch(r"\(\?P?<[A-Za-z_]\w*>", part):
            part = "(?P<address>" if address and not has_address else "(?:"
            has_address, depth = True, depth + 1
        elif part.startswith("("):
            if part not in ("(?:", "(?=", "(?!", "(?>", "(?|") and not re.match(r"\(\?<", part):
                part, end = _flags(text, at)
                parts.append(part)
                depth, at = depth + 1, end
                continue
            if part in ("(?<",):
                raise CannotConvertError(f"{text[at : at + 4]!r} is not understood")
            depth += 1
        elif part == ")":
            depth -= 1
        elif part == "|" and not depth:
            raise CannotConvertError(
                "what stands behind its | is not bound to the stamp; put brackets around both sides"
            )
        parts.append(escaped(part))
        at = atom.end()
    if address and not has_address:
        raise CannotConvertError("it has no group that holds the client's address")
    match = "".join(parts)
    if not re.search(r"(?<!\\)\$$|\\[zZ]$", match):
        match += ".*"
    try:
        regex.compile(match.encode("ascii"), regex.VERBOSE)
    except (regex.error, UnicodeEncodeError, RecursionError) as error:
        raise CannotConvertError(f"it is no regular expression: {error}") from None
    return match


def _name(text: str) -> re.Match[str] | None:
    """Find the part that is the account's name: the first that may be any text, or rather the first behind "user"."""
    wide = []
    depth, at = 0, 0
    while at < len(text):
        match = _WIDE.match(text, at)
        if match is not None and not depth:
            wide.append(match)
            at = match.end()
            continue
        atom = ATOM.match(text, at)
        part = atom[0] if atom is not None else text[at]
        depth += part.startswith("(") - (part == ")")
        at += len(part)
    behind = (
        match for match in wide if re.search(r"(?i)\b(?:user|for|login)[^A-Za-z0-9(]{1,6}$", text[: match.start()])
    )
    return next(behind, wide[0] if wide else None)


def _flags(text: str, at: int) -> tuple[str, int]:
    """Read ``(?i:`` and the like. Raises CannotConvertError for what runs code or changes the rest."""
    match = re.compile(r"\(\?\^?([ims]*)(?:-[imsx]+)?:|\(\?<([=!])").match(text, at)
    if match is None:
        shown = text[at : at + 4]
        raise CannotConvertError(f"{shown!r} is not carried over; write the pattern without it")
    return (f"(?<{match[2]}" if match[2] else f"(?{match[1]}:"), match.end()
