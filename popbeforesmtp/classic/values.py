"""Perl's values: texts, numbers, lists and references to code, and what Perl makes of one where it wants another."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_BIGGEST = 10**15  # of numbers; a duration has six digits

LONGEST = 65_536  # letters of a text

_DIGITS = 100  # of a number
_INTEGER = re.compile(r"\s*[+-]?[0-9]+(?:\.[0-9]*)?")


@dataclass(frozen=True, slots=True)
class Code:
    """A reference to a subroutine, or one without a name."""

    name: str | None
    empty: bool = False  # it does nothing
    returns: str | None = None  # of one without a name that only returns a text


Value = str | int | float | Code | list["Value"] | None


class NotUnderstoodError(Exception):
    """An expression is more than a setting."""


def as_text(value: Value) -> str:
    """Write a value as Perl does."""
    if isinstance(value, float):
        return f"{value:.15g}"
    return "" if value is None else str(value)


def as_integer(value: Value) -> int:
    """Read a value as a whole number, as Perl does: what does not begin with one is 0."""
    match = _INTEGER.match(as_text(value))
    return int(max(-_BIGGEST, min(float(match[0]), _BIGGEST))) if match is not None else 0


def as_list(value: Value) -> Iterator[Value]:
    """Give the values of a list, or the one that there is."""
    yield from value if isinstance(value, list) else [value]


def joined(left: str, right: str) -> str:
    """Write two texts as one. Raises NotUnderstoodError where that would be too long."""
    if len(left) + len(right) > LONGEST:
        raise NotUnderstoodError
    return left + right


def as_scalar(value: Value) -> Value:
    """Return a value that is one text or number. Raises NotUnderstoodError."""
    if isinstance(value, Code | list):
        raise NotUnderstoodError
    return value


def number_of(text: str) -> int | float:
    """Read a number as it stands in Perl source: decimal, octal, 0x, 0b. Raises NotUnderstoodError."""
    text = text.replace("_", "")
    if len(text) > _DIGITS:
        raise NotUnderstoodError
    if text[:2].lower() in ("0x", "0b"):
        return int(text, 0)
    if re.fullmatch(r"0[0-7]+", text):
        return int(text, 8)
    return int(text) if text.isdigit() else float(text)


def calculated(operator: str, left: Value, right: Value) -> Value:
    """Do one sum as Perl does it. Raises NotUnderstoodError where it has no result, or one that is out of range."""
    one, other = (_numeric(as_scalar(side)) for side in (left, right))
    try:
        match operator:
            case "+":
                result: int | float = one + other
            case "-":
                result = one - other
            case "*":
                result = one * other
            case "/":
                result = one / other
            case "%":
                result = int(one) % int(other)
            case _:
                result = one**other if abs(other) < 64 else _BIGGEST
    except (ArithmeticError, ValueError):
        raise NotUnderstoodError from None
    if isinstance(result, complex) or abs(result) >= _BIGGEST:
        raise NotUnderstoodError
    return int(result) if float(result).is_integer() else result


def _numeric(value: Value) -> int | float:
    if isinstance(value, int | float):
        return value
    text = as_text(value)
    if not re.fullmatch(r"\s*[+-]?[0-9]+(?:\.[0-9]*)?\s*", text):
        raise NotUnderstoodError
    return float(text)
