"""Turns the classic's patterns into formats: ours where the server is known, else the administrator's own.

A classic pattern is one Perl regular expression for a whole line: stamp, host, tag, message. Here the header is read
before and the tag dispatches, so a pattern is taken apart: its tag is written out as programs, its message becomes one
pattern of a format, compiled by ``regex`` with a time limit. Perl matches anywhere; what may follow is written out.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import regex

_MOST = 64  # programs that a tag may stand for

SERVERS: Sequence[tuple[str, str, str]] = (
    # What the pattern says, the format, and what is different; the first that fits counts.
    (r"cucipop|Stats:", "", ""),  # no format of ours reads these logins
    (r"ipop3|host=", "uw", ""),
    (r"gnu-pop3d", "gnu-pop3d", ""),
    (r"popper", "qpopper", ""),
    (r"User logged in|cyrus|login: \[\^\[", "cyrus", ""),
    (r"LOGIN, user=|user=\\S\+, ip=", "courier", ""),
    (r"vpopmail|vchkpw", "vpopmail", "the lines of vpopmail 5; 4.x wrote others, in which an account's name forges"),
    (r"vm-pop3d", "vm-pop3d", "the lines of 1.1, the address on a line of its own"),
    (r"tpop3d", "tpop3d", ""),
    (r"popa3d", "popa3d", ""),
    (r"perdition", "perdition", ""),
    (r"spop3d|solid-pop3d", "solid-pop3d", ""),
    (r"teapop", "teapop", "the classic's pattern takes the server's own address for the client's"),
    (r"dovecot|-login:", "dovecot", "Dovecot 2.0 to 2.4, by syslog or in its own log; before 1.0 it wrote others"),
    (r"dbmail", "dbmail", ""),
    (r"imapproxy", "imapproxy", ""),
)
"""Which server's lines a pattern is for, told by what stands in it."""

_STAMP = re.compile(r"\^?(?:\[LOGTIME\]|(?P<group>\())")
_BLANK = re.compile(r"(?: |\\s|\[ \])[+*]?\??")
_NAME = r"(?P<name>(?:[A-Za-z0-9-]|\\?\.|\\-)+)"  # of one host
_HOST = re.compile(
    r"(?:\\S[+*]|\[\^ \][+*]|\[\^\\s\][+*]|\.[+*]\??|\[\\w[^]\s]*\][+*]|\\w\+|" + _NAME + r")(?: |\\s\+?)"
    r"|\(\?:\\S\+ \)\?|\(\?:\\\[\|\\S\+ \)"
)
_RELAY = re.compile(r"\(\?:(?P<tag>[A-Za-z0-9_./@+-]+): \)\?")  # (?:dovecot: )? before 1.0 wrote without a tag
_PROCESS = re.compile(r"(?:\[\^\[\]\*)?(?:\(\?:)?\\\[(?:\(?\\d[+*]\)?|\(?\[0-9\][+*]\)?|[^]]{0,12})\\?\](?:\)\?)?")
_WIDE = re.compile(r"(?:\\S|\.|\\w|\[\^(?:\\.|[^]\\])+\])[+*]\??")
_ATOM = re.compile(
    r"\\(?:x[0-9A-Fa-f]{2}|.)|\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^]\\])*\]|\(\?(?:P?<[A-Za-z_]\w*>|P=[A-Za-z_]\w*\)|[^)]?[=!:>|]?)?|.",
    re.DOTALL,
)


class CannotConvertError(Exception):
    """A pattern cannot be carried over; the message says why, and what to do instead."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a pattern says of a line's header, and what is left for its message."""

    programs: tuple[str, ...]
    message: str
    host: str | None  # the only one, where it names one


@dataclass(frozen=True, slots=True)
class Message:
    """A message's pattern as a format has it."""

    match: str
    has_user: bool


def server_of(pattern: str) -> tuple[str, str] | None:
    """Name the format of the server that a pattern is for, and what is different; None where there is none."""
    for says, name, difference in SERVERS:
        if re.search(says, pattern):
            return (name, difference) if name else None
    return None


def take_header(pattern: str) -> Header:
    """Take stamp, host and tag off a pattern. Raises CannotConvertError."""
    match = _STAMP.match(pattern)
    if match is None:
        raise CannotConvertError(
            "it does not begin with the stamp, so a stranger's text anywhere in a line could match"
        )
    at = match.end()
    if match["group"]:
        at = _closing(pattern, at - 1)
        if "|" in pattern[match.start("group") : at] or r"\." in pattern[match.start("group") : at]:
            raise CannotConvertError("its first group is no time stamp")
    blank = _BLANK.match(pattern, at)
    if blank is None:
        raise CannotConvertError(
            "no blank stands behind the stamp: this is no header that can be told from a stranger's text"
        )
    host = _HOST.match(pattern, blank.end())
    begin = host.end() if host is not None else blank.end()
    name = host["name"].replace("\\", "") if host is not None and host["name"] else None
    relay = _RELAY.match(pattern, begin)
    if relay is not None:
        return Header((relay["tag"],), pattern[relay.end() :], name)
    end = _tag_end(pattern, begin)
    tag = pattern[begin:end].removesuffix(r"\]?")
    process = _PROCESS.search(tag)
    if process is not None and process.end() == len(tag):
        tag = tag[: process.start()]
    programs = _words(tag)
    if programs is None or not programs:
        raise CannotConvertError(
            "it does not say which program writes the line, so a stranger's text in any other program's could match"
        )
    blank = _BLANK.match(pattern, end + 1)
    return Header(tuple(programs), pattern[blank.end() if blank is not None else end + 1 :], name)


def _tag_end(pattern: str, begin: int) -> int:
    """Return where the colon stands that ends the tag."""
    depth, at = 0, begin
    while at < len(pattern):
        atom = _ATOM.match(pattern, at)
        if atom is None:
            break
        if atom[0].startswith("("):
            depth += 1
        elif atom[0] == ")":
            depth -= 1
        elif atom[0] == "|" and not depth:
            break
        elif atom[0] == ":" and not depth and _BLANK.match(pattern, at + 1):
            return at
        at = atom.end()
    raise CannotConvertError("no program with a colon behind it stands behind the host")


def _closing(pattern: str, at: int) -> int:
    """Return the place behind the bracket that closes the one there."""
    depth = 0
    while at < len(pattern):
        atom = _ATOM.match(pattern, at)
        if atom is None:
            break
        depth += atom[0].startswith("(")
        depth -= atom[0] == ")"
        at = atom.end()
        if not depth:
            return at
    raise CannotConvertError("a bracket is opened in it and never closed")


def _words(tag: str) -> list[str] | None:
    """Return all that a tag's expression can stand for; None where that has no end."""
    if tag.count("(") > 20:
        return None
    found, rest = _alternatives(tag, 0)
    if found is None or rest != len(tag):
        return None
    words = sorted(found)
    return words if all(re.fullmatch(r"[A-Za-z0-9_./@+-]{1,64}", word) for word in words) else None


def _alternatives(text: str, at: int) -> tuple[set[str] | None, int]:
    """Read alternatives up to a closing bracket or the end."""
    every: set[str] = set()
    here = {""}
    while at < len(text) and text[at] != ")":
        if text[at] == "|":
            every |= here
            here, at = {""}, at + 1
            continue
        part, at = _part(text, at)
        if part is None:
            return None, at
        if text[at : at + 1] == "?":
            part, at = part | {""}, at + 1
        if text[at : at + 1] in ("+", "*", "{"):
            return None, at
        here = {one + other for one in here for other in part}
        if len(here) + len(every) > _MOST:
            return None, at
    return every | here, at


def _part(text: str, at: int) -> tuple[set[str] | None, int]:
    """Read one letter, class or group."""
    letter = text[at]
    if letter == "(":
        begin = at + (3 if text.startswith("(?:", at) else 1)
        if text.startswith("(?", at) and begin == at + 1:
            return None, at
        found, end = _alternatives(text, begin)
        return (found, end + 1) if text[end : end + 1] == ")" else (None, at)
    if letter == "[":
        end = text.find("]", at + 1)
        inner = text[at + 1 : end]
        return (set(inner), end + 1) if end > 0 and re.fullmatch(r"[A-Za-z0-9_]+", inner) else (None, at)
    if letter == "\\":
        following = text[at + 1 : at + 2]
        return (None, at) if not following or following.isalnum() else ({following}, at + 2)
    return ({letter}, at + 1) if letter not in ".^$*+?{}" else (None, at)


def message_pattern(text: str, *, address: bool, user: bool) -> Message:
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
            parts.append(f"(?P<user>{_escaped(wide)}{name[0][len(wide) :]})")
            at = name.end()
            continue
        atom = _ATOM.match(text, at)
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
        parts.append(_escaped(part))
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
    return Message(match, name is not None)


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
        atom = _ATOM.match(text, at)
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


def as_regex(pattern: str) -> str:
    """Write a whole Perl pattern as ``regex`` has it: a bracket in a class begins another one there."""
    return "".join(
        _class(part[0]) if part[0][0] == "[" and len(part[0]) > 1 else part[0] for part in _ATOM.finditer(pattern)
    )


def _class(part: str) -> str:
    """Write a class of characters."""
    head = re.match(r"\[\^?\]?", part)
    begin = head.end() if head is not None else 1
    inner = re.sub(r"\[:\^?\w+:\]|\\.|\[", lambda match: r"\[" if match[0] == "[" else match[0], part[begin:-1])
    inner = re.sub(r"\\?([\x00-\x1f\x7f])", lambda match: f"\\x{ord(match[1]):02x}", inner)
    return part[:begin].replace("[]", r"[\]").replace("[^]", r"[^\]") + inner + "]"


_NAMED = {r"\z": r"\Z", r"\h": r"[ \t]", r"\e": r"\x1b"}
_UNKNOWN = frozenset("QEULluNpPXCKGgkRvVHoA123456789B")


def _escaped(part: str) -> str:
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
