"""Evaluates Perl expressions that only set something: texts, numbers, arithmetic, concatenation, lists, variables."""

import re
from collections.abc import Callable, Sequence

from popbeforesmtp.classic.tokens import Token, is_operator
from popbeforesmtp.classic.values import (
    LONGEST,
    Code,
    NotUnderstoodError,
    Value,
    as_list,
    as_scalar,
    as_text,
    calculated,
    joined,
    number_of,
)

_MOST = 10_000  # values of a list
_DEEPEST = 50  # brackets in brackets
_SURROGATE = re.compile("[\ud800-\udfff]")  # a byte that is no UTF-8
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "a": "\a", "e": "\x1b", "f": "\f"}
_INTERPOLATED = re.compile(r"\\(.)|\$\{(\w+)\}|\$(\w+)(?:\{'?(\w+)'?\}|\[(\d+)\])?|@(\w+)", re.DOTALL)

Known = Callable[[str], Value]
"""Returns what a variable holds, by its name with its sigil."""


def target_of(tokens: Sequence[Token]) -> str | None:
    """Name what is set: ``$name``, ``@name``, ``%name``, ``$name{key}``, ``$name[0]``; None for anything else."""
    if not tokens:
        return None
    sigil = {"scalar": "$", "array": "@", "hash": "%"}.get(tokens[0].kind)
    if sigil is None:
        return None
    name = tokens[0].text.removeprefix("::").removeprefix("main::")
    if len(tokens) == 1:
        return sigil + name
    if sigil == "$" and len(tokens) == 4 and tokens[2].kind in ("single", "double", "word", "number"):
        if is_operator(tokens[1], "{") and is_operator(tokens[3], "}"):
            return f"${name}{{{tokens[2].text}}}"
        if is_operator(tokens[1], "[") and is_operator(tokens[3], "]"):
            return f"${name}[{tokens[2].text}]"
    return None


class Evaluation:
    """Evaluates one expression."""

    def __init__(self, known: Known, tokens: Sequence[Token]) -> None:
        self._known = known
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def value(self) -> Value:
        """Return its value. Raises NotUnderstoodError."""
        value = self._sum()
        foreign = any(isinstance(each, str) and _SURROGATE.search(each) for each in as_list(value))
        if self._at < len(self._tokens) or foreign:
            raise NotUnderstoodError
        return value

    def _peek(self) -> Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _accept(self, *operators: str) -> str | None:
        token = self._peek()
        if token is not None and token.kind == "operator" and token.text in operators:
            self._at += 1
            return token.text
        return None

    def _sum(self) -> Value:
        left = self._product()
        while operator := self._accept("+", "-", "."):
            right = self._product()
            if operator == ".":
                left = joined(as_text(as_scalar(left)), as_text(as_scalar(right)))
            else:
                left = calculated(operator, left, right)
        return left

    def _product(self) -> Value:
        left = self._power()
        while operator := self._accept("*", "/", "%"):
            left = calculated(operator, left, self._power())
        return left

    def _power(self) -> Value:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise NotUnderstoodError
        try:
            if self._accept("-"):
                return calculated("-", 0, self._power())
            left = self._primary()
            return calculated("**", left, self._power()) if self._accept("**") else left
        finally:
            self._depth -= 1

    def _primary(self) -> Value:
        token = self._peek()
        if token is None:
            raise NotUnderstoodError
        self._at += 1
        match token.kind:
            case "number":
                return number_of(token.text)
            case "single":
                return re.sub(r"\\([\\'])", r"\1", token.text)
            case "double":
                return self._interpolate(token.text)
            case "regex":
                flags = "".join(flag for flag in token.flags if flag in "imsx")
                return f"(?{flags}:{token.text})" if flags else token.text
            case "words":
                return list(token.text.split())
            case "scalar":
                return self._variable(token)
            case "array":
                return self._known(f"@{token.text}")
            case "word" if token.text == "undef":
                return None
            case "word" if token.text == "sub":
                inner = [each for each in self._tokens[self._at :] if each.kind != "operator"]
                self._at = len(self._tokens)  # up to the end of the statement
                texts = inner[1:] if inner and inner[0].text == "return" else inner
                alone = len(texts) == 1 and texts[0].kind == "single"
                return Code(None, empty=not inner, returns=texts[0].text if alone else None)
            case "operator" if token.text == "\\":
                return self._reference()
            case "operator" if token.text == "(":
                return self._list()
        raise NotUnderstoodError

    def _reference(self) -> Code:
        token = self._peek()
        if token is None or token.kind != "code":
            raise NotUnderstoodError
        self._at += 1
        return Code(token.text)

    def _list(self) -> Value:
        values: list[Value] = []
        commas = 0
        while not self._accept(")"):
            token = self._peek()
            follower = self._tokens[self._at + 1] if self._at + 1 < len(self._tokens) else None
            if token is not None and token.kind == "word" and is_operator(follower, "=>"):
                values.append(token.text)
                self._at += 1
            else:
                value = self._sum()
                values += value if isinstance(value, list) else [value]
                if len(values) > _MOST:
                    raise NotUnderstoodError
            if self._accept(",", "=>"):
                commas += 1
            elif not is_operator(self._peek(), ")"):
                raise NotUnderstoodError
        return values[0] if len(values) == 1 and not commas else values

    def _variable(self, token: Token) -> Value:
        rest = self._tokens[self._at : self._at + 3]
        subscript = None
        if len(rest) == 3 and (is_operator(rest[0], "{") or is_operator(rest[0], "[")):
            subscript = target_of((token, *rest))
        if subscript is not None:
            self._at += 3
            return self._known(subscript)
        return self._known(f"${token.text.removeprefix('::').removeprefix('main::')}")

    def _interpolate(self, text: str) -> str:
        length = len(text)

        def put(match: re.Match[str]) -> str:
            nonlocal length
            found = value_of(match)
            length += len(found)
            if length > LONGEST:
                raise NotUnderstoodError
            return found

        def value_of(match: re.Match[str]) -> str:
            escaped, braced, name, key, index, array = match.groups()
            if escaped is not None:
                return _ESCAPES.get(escaped, escaped)
            if array is not None:
                return " ".join(map(as_text, as_list(self._known(f"@{array}"))))
            subscript = f"{{{key}}}" if key else f"[{index}]" if index else ""
            return as_text(as_scalar(self._known(f"${braced or name}{subscript}")))

        return _INTERPOLATED.sub(put, text)
