"""Puts the tokens of Perl source together into statements; nothing is ever run."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from popbeforesmtp.classic.tokens import CLOSING, Lexer, PerlError, Token, is_operator

BLOCKS = frozenset(("if", "unless", "while", "until", "for", "foreach", "sub", "BEGIN", "END"))
"""Words that a statement begins with which ends with its block."""

_MORE = ("else", "elsif", "continue")
_LONGEST = 1_000_000  # bytes of a configuration; the classic's own has 23 000


class Statement(NamedTuple):
    """One statement, without its semicolon."""

    tokens: tuple[Token, ...]
    text: str
    line: int


def statements(path: object, text: str) -> Iterator[Statement]:
    """Cut a file into statements. Raises PerlError with file and line."""
    if len(text) > _LONGEST:
        raise PerlError(f"{path}: is too long to be a configuration of pop-before-smtp")
    tokens = list(Lexer(path, text).tokens())
    begin = 0
    while begin < len(tokens):
        end = _end(path, tokens, begin)
        statement = tokens[begin:end]
        if statement and statement[-1].text == ";" and statement[-1].kind == "operator":
            statement = statement[:-1]
        if statement:
            source = text[statement[0].start : statement[-1].end]
            yield Statement(tuple(statement), source, statement[0].line)
        begin = end


def _end(path: object, tokens: Sequence[Token], begin: int) -> int:
    """Return where the statement ends that begins there."""
    first = tokens[begin]
    is_block = (first.kind == "word" and first.text in BLOCKS) or is_operator(first, "{")
    open_brackets: list[Token] = []
    for place in range(begin, len(tokens)):
        token = tokens[place]
        if token.kind != "operator":
            continue
        if token.text in CLOSING and token.text != "<":
            open_brackets.append(token)
        elif token.text in (")", "]", "}"):
            if not open_brackets or CLOSING[open_brackets.pop().text] != token.text:
                raise PerlError(f"{path}:{token.line}: {token.text} closes what was not opened")
            following = tokens[place + 1] if place + 1 < len(tokens) else None
            more = following is not None and following.kind == "word" and following.text in _MORE
            if is_block and token.text == "}" and not open_brackets and not more:
                return place + 1
        elif token.text == ";" and not open_brackets:
            return place + 1
    if open_brackets:
        raise PerlError(f"{path}:{open_brackets[-1].line}: {open_brackets[-1].text} is opened here and never closed")
    return len(tokens)
