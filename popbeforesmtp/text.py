"""Text of strangers on our terminals and in our logs."""

import re
from datetime import datetime

_PLAIN = re.compile(r"[A-Za-z0-9@._+/:-]+")


def escape(text: str) -> str:
    """Show text with all that is not printable escaped: control bytes, bidirectional marks, bytes that are no UTF-8.

    The result is on one line; a backslash of the text itself is doubled, so nothing looks like what it is not.
    """
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(
        "\\\\" if letter == "\\" else letter if letter.isprintable() else _escaped(letter) for letter in text
    )


def visible(text: str) -> str:
    """Show a sentence of ours, whose parts may be escaped already, with all that is not printable escaped."""
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def quote(text: str) -> str:
    """Escape text for a ``key=value`` line, in double quotes where it is more than a plain word."""
    return text if _PLAIN.fullmatch(text) else '"' + escape(text).replace('"', '\\"') + '"'


def utc(time: datetime) -> str:
    """Write a time as RFC 3339, whole seconds, UTC."""
    return f"{time.replace(tzinfo=None).isoformat(timespec='seconds')}Z"


def local(time: datetime) -> str:
    """Write a time for people, in the zone of this machine."""
    try:
        return time.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError):  # at the ends of the calendar
        return utc(time)


def duration(seconds: float) -> str:
    """Write a span of time for people, its two largest units: ``29m 30s``."""
    rest = round(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])


def _escaped(letter: str) -> str:
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8, PEP 383
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
