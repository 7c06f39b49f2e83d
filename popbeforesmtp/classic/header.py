"""Takes a classic pattern's header off: its stamp, its host, and the programs that its tag stands for."""

import re
from dataclasses import dataclass

from popbeforesmtp.classic.perlre import ATOM, CannotConvertError

_MOST = 64  # programs that a tag may stand for
_STAMP = re.compile(r"\^?(?:\[LOGTIME\]|(?P<group>\())")
_BLANK = re.compile(r"(?: |\\s|\[ \])[+*]?\??")
_NAME = r"(?P<name>(?:[A-Za-z0-9-]|\\?\.|\\-)+)"  # of one host
_HOST = re.compile(
    r"(?:\\S[+*]|\[\^ \][+*]|\[\^\\s\][+*]|\.[+*]\??|\[\\w[^]\s]*\][+*]|\\w\+|" + _NAME + r")(?: |\\s\+?)"
    r"|\(\?:\\S\+ \)\?|\(\?:\\\[\|\\S\+ \)"
)
_RELAY = re.compile(r"\(\?:(?P<tag>[A-Za-z0-9_./@+-]+): \)\?")  # (?:dovecot: )? before 1.0 wrote without a tag
_PROCESS = re.compile(r"(?:\[\^\[\]\*)?(?:\(\?:)?\\\[(?:\(?\\d[+*]\)?|\(?\[0-9\][+*]\)?|[^]]{0,12})\\?\](?:\)\?)?")


@dataclass(frozen=True, slots=True)
class Header:
    """What a pattern says of a line's header, and what is left for its message."""

    programs: tuple[str, ...]
    message: str
    host: str | None  # the only one, where it names one


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
        atom = ATOM.match(pattern, at)
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
        atom = ATOM.match(pattern, at)
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
