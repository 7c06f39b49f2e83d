"""Makes a format file of the settings by which an administrator has Dovecot write its log in another way.

Both ways to name a variable are known, ``%u`` of 2.0 to 2.3 and ``%{user}`` of 2.4. What cannot be read safely is
refused: the name is the only thing in a line that may hold anything, and whatever it holds, it must not be taken for an
address. So the address stands in front of the name, or has a label of its own, which nothing else behind the name has.
"""

import re
import tomllib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from popbeforesmtp.errors import ConfigError, DataError
from popbeforesmtp.formats._dovecot_shapes import (
    ADDRESS,
    END,
    FAILURE,
    HEAD,
    KINDS,
    MAY_BE_EMPTY,
    ONCE,
    PID,
    PLAIN,
    PROXIED,
    RIP,
    SHAPES,
    SUCCESS,
    UNPROXIED,
    USER,
)
from popbeforesmtp.formats._format import Format, parse

_DEFAULTS = {
    "login_log_format": "%$: %s",
    "login_log_format_elements": "user=<%u> method=%m rip=%r lip=%l mpid=%e %c session=<%{session}>",
    "mail_log_prefix": "%s(%u)<%{pid}><%{session}>: ",
}
"""What Dovecot 2.3 has where an administrator set nothing (doveconf -d)."""

_VARIABLE = re.compile(r"%[LU]?(?:\{([^{}]*)\}|([A-Za-z$%]))")  # L and U change no more than the letters
_LABEL = re.compile(r"[A-Za-z_]{2,20}[=:<\[(]+\Z")


@dataclass(frozen=True, slots=True)
class _Part:
    """A piece of a setting: literal text, or a variable."""

    text: str = ""
    kind: str = ""


def settings(path: Path) -> dict[str, str] | None:
    """Return Dovecot's settings that a format file consists of, with ``template = "dovecot"``; None where it has none.

    Raises ConfigError.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is no TOML: {error}") from None
    if "template" not in data:
        return None
    unknown = set(data) - {"template", *_DEFAULTS}
    if data["template"] != "dovecot" or unknown or not all(isinstance(value, str) for value in data.values()):
        raise ConfigError(f'{path}: write template = "dovecot" and, as texts, what differs of: {", ".join(_DEFAULTS)}')
    return {**_DEFAULTS, **{key: value for key, value in data.items() if key != "template"}}


def load(path: Path, settings: dict[str, str]) -> Format:
    """Make the format of these settings. Raises ConfigError where its lines could not be read safely."""
    try:
        return parse(path.stem, pattern(**settings))
    except DataError as error:
        raise ConfigError(f"{path}: {error}") from None


def pattern(login_log_format: str, login_log_format_elements: str, mail_log_prefix: str) -> str:
    """Return the text of a format file that reads what Dovecot writes by these settings.

    Raises DataError where the lines cannot be read safely.
    """
    elements = [_parts("login_log_format_elements", element) for element in login_log_format_elements.split()]
    _check(elements)
    before, between, after, word_first = _layout(login_log_format)
    begins, prefix = _prefix(mail_log_prefix)
    text = HEAD.replace("{begins}", ", ".join(f'"{begin}"' for begin in begins))
    words = (("login", SUCCESS), ("failure", FAILURE), ("login", PROXIED), ("logout", UNPROXIED))
    for event, word in words:
        listed = _elements(elements, event, proxied=word in (PROXIED, UNPROXIED))
        body = [_literal(before), word, _literal(between), listed, _literal(after)]
        if not word_first:
            body[1], body[3] = body[3], body[1]
        services = "pop3|imap|managesieve|submission" if event == "login" else "pop3|imap"
        text += _entry(event, [rf"(?P<service>{services})-login:[ ](?:Info:[ ])?", *body])
    text += _entry("logout", [prefix, END])
    parse("dovecot", text)
    return text


def _parts(setting: str, text: str) -> list[_Part]:
    """Split a setting's text at its variables."""
    parts, end = [], 0
    for match in _VARIABLE.finditer(text):
        parts.append(_Part(text=text[end : match.start()]))
        end = match.end()
        long, short = match.groups()
        if short == "%":
            parts.append(_Part(text="%"))
            continue
        name = short or _plain_name(long)
        if name not in KINDS:
            raise DataError(f"{setting}: {match[0]} may hold anything, or is not known; leave it out")
        parts.append(_Part(kind=KINDS[name]))
    parts.append(_Part(text=text[end:]))
    if "%" in "".join(part.text for part in parts if part.text != "%"):
        raise DataError(f"{setting}: {text!r} has a % that names nothing")
    return [part for part in parts if part.text or part.kind]


def _plain_name(long: str) -> str:
    """Take from a name the filters that change no more than its letters."""
    name, *filters = (each.strip() for each in long.split("|"))
    return name if all(each in ("lower", "upper") for each in filters) else long


def _check(elements: list[list[_Part]]) -> None:
    """Refuse what cannot be read in one way only."""
    setting = "login_log_format_elements"
    kinds = [part.kind for element in elements for part in element if part.kind]
    if RIP not in kinds:
        raise DataError(f"{setting}: there is no %{{remote_ip}} (%r), so nobody can be authorized")
    if USER not in kinds:
        raise DataError(f"{setting}: there is no %{{user}} (%u), so nobody knows who logged in")
    for kind in ONCE:
        if kinds.count(kind) > 1:
            raise DataError(f"{setting}: {kind} stands there twice, and may not mean the same each time")
    for element in elements:
        for one, other in pairwise(element):
            if one.kind and other.kind:
                raise DataError(f"{setting}: nothing stands between {one.kind} and {other.kind}")
            if one.kind == RIP and other.text[:1] in "0123456789abcdefABCDEF." and other.text:
                raise DataError(f"{setting}: {other.text!r} behind the address looks like a part of it")
    if kinds.index(USER) < kinds.index(RIP):
        element = next(element for element in elements if any(part.kind == RIP for part in element))
        place = next(number for number, part in enumerate(element) if part.kind == RIP)
        label = _LABEL.search(element[place - 1].text) if place else None
        literals = "".join(part.text for each in elements for part in each)
        if label is None or literals.count(label[0]) > 1:
            raise DataError(
                f"{setting}: the address stands behind the name and has no label of its own, such as rip=;"
                " a name could hold an address"
            )


def _layout(login_log_format: str) -> tuple[str, str, str, bool]:
    """Return what stands around the message and the elements, and whether the message is the first of them."""
    found = list(re.finditer(r"%\$|%\{message\}|%s|%\{elements\}", login_log_format))
    names = ["message" if match[0] in ("%$", "%{message}") else "elements" for match in found]
    if sorted(names) != ["elements", "message"]:
        raise DataError("login_log_format: it must have %{message} (%$) once and %{elements} (%s) once")
    first, second = found
    around = (
        login_log_format[: first.start()],
        login_log_format[first.end() : second.start()],
        login_log_format[second.end() :],
    )
    if any("%" in text for text in around):
        raise DataError("login_log_format: it may have no variable but %{message} (%$) and %{elements} (%s)")
    if not around[1].strip(" "):
        raise DataError("login_log_format: something must stand between the message and the elements, such as ': '")
    return (*around, names[0] == "message")


def _elements(elements: list[list[_Part]], event: str, *, proxied: bool) -> str:
    """Write the elements as a pattern: those that may be empty are left out by Dovecot together with their comma."""
    needed = [not any(part.kind in MAY_BE_EMPTY for part in element) for element in elements]
    if event == "failure":
        needed = [any(part.kind in (USER, RIP) for part in element) for element in elements]
    first = needed.index(True)
    text = ""
    for number, element in enumerate(elements):
        piece = "".join(_shape(element, place, event, proxied=proxied) for place in range(len(element)))
        if number < first:
            text += f"(?:{piece},[ ])?"
        elif number == first:
            text += piece
        else:
            text += f",[ ]{piece}" if needed[number] else f"(?:,[ ]{piece})?"
        text += "\n"
    return text


def _shape(element: list[_Part], place: int, event: str, *, proxied: bool) -> str:
    """Write one part of an element as a pattern."""
    part = element[place]
    if part.kind == USER and proxied:
        return f"(?P<user>{PLAIN})"
    if part.kind == USER:
        return (
            r"(?P<user>[^\n]{0,2000})"
            if event == "failure"
            else r"(?P<user>[^\x00-\x1f\x7f<>,=()\[\]:;]{1,340}+|[^\x00-\x1f\x7f]{1,340})"
        )
    if part.kind == RIP:
        return f"(?P<address>{ADDRESS})"
    if part.kind == "secured" and event == "failure":
        return r"(?:secured|TSL|TLS(?:[ ]handshaking)?(?::[ ][^<>,\n]{1,300}+)?)"
    return SHAPES[part.kind] if part.kind else _literal(part.text)


def _prefix(mail_log_prefix: str) -> tuple[list[str], str]:
    """Return what the lines of a session begin with, and their prefix as a pattern."""
    parts = _parts("mail_log_prefix", mail_log_prefix)
    kinds = [part.kind for part in parts if part.kind]
    label = parts[0].text if parts else ""
    if kinds[:1] != ["service"] or re.fullmatch(r"[A-Za-z=:\[(< ]{0,32}", label) is None:
        raise DataError(
            "mail_log_prefix: it must begin with %{protocol} (%s), perhaps behind a label such as service=, or the"
            " server's lines cannot be told"
        )
    for one, other in pairwise(parts):
        if one.kind and other.kind:
            raise DataError(f"mail_log_prefix: nothing stands between {one.kind} and {other.kind}")
    if not mail_log_prefix.endswith((": ", ". ")) or len(set(kinds)) != len(kinds):
        raise DataError("mail_log_prefix: it must have each variable once, and end with a colon or dot and a blank")
    shapes = {
        **SHAPES,
        "service": r"(?P<service>pop3|imap|POP3|IMAP)(?:-hibernate)?",
        "pid": rf"(?P<mail_pid>{PID})",
        USER: r"(?P<user>[^\x00-\x1f\x7f()<>]{1,1000}+|[^\x00-\x1f\x7f]{1,1000})",
        RIP: ADDRESS,
    }
    pattern = "".join(shapes[part.kind] if part.kind else _literal(part.text) for part in parts)
    return [label + name for name in ("pop3", "imap", "POP3", "IMAP")], pattern + "(?:Info:[ ])?"


def _literal(text: str) -> str:
    """Write a text as a pattern that is plain ASCII, without blanks and without quotes."""
    return "".join(chr(byte) if chr(byte).isalnum() and byte < 128 else rf"\x{byte:02x}" for byte in text.encode())


def _entry(event: str, lines: list[str]) -> str:
    return f"\n[[pattern]]\nevent = \"{event}\"\nmatch = '''\n" + "\n".join(line for line in lines if line) + "\n'''\n"
