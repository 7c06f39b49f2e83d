"""Cuts Perl source into words, quotes and operators, as far as a configuration file needs it; nothing is ever run.

The grammar is that of perlop(1), perldata(1) and perlpod(1). What a slash or a percent sign is depends on what stands
before it; a file that is cut wrongly is refused or named, never guessed at.
"""

import re
from typing import NamedTuple

from popbeforesmtp.errors import ConfigError

_QUOTES = {"q": "single", "qq": "double", "qw": "words", "qr": "regex", "m": "match", "s": "change"} | dict.fromkeys(
    ("tr", "y"), "change"
)

CLOSING = {"(": ")", "[": "]", "{": "}", "<": ">"}

_BLANK = re.compile(r"\s+")
_POD = re.compile(r"=[A-Za-z]", re.MULTILINE)
_SCALAR = re.compile(r"\$#?(?:(?:::)?[A-Za-z_]\w*(?:::\w+)*|\{\s*\^?\w+\s*\}|\d+|\$+\w+|[^\w\s])")
_SIGIL = re.compile(r"[@%&](?:(?:::)?[A-Za-z_]\w*(?:::\w+)*|\$\w+|_)")
_NUMBER = re.compile(r"0[xX][0-9A-Fa-f_]+|0[bB][01_]+|[0-9][0-9_]*(?:\.(?!\.)[0-9_]*)?(?:[eE][+-]?[0-9]+)?|\.[0-9]+")
_WORD = re.compile(r"[A-Za-z_]\w*(?:(?:::|')[A-Za-z_]\w*)*(?:::)?")
_HEREDOC = re.compile(r"<<~?(?:\"([^\"\n]*)\"|'([^'\n]*)'|([A-Za-z_]\w*))")
_OPERATOR = re.compile(
    r"<=>|\*\*=|\|\|=|&&=|//=|\.\.\.|[-+*/.%x|&^]=|=>|->|\+\+|--|\*\*|=~|!~|[=!<>]=|&&|\|\||//|::|\.\.|."
)


class Token(NamedTuple):
    """One word of Perl."""

    kind: str  # word, scalar, array, hash, code, number, single, double, words, regex, match, change, operator
    text: str  # a quote's content; a variable's name without its sigil
    line: int
    start: int
    end: int
    flags: str = ""  # of a regular expression


class PerlError(ConfigError):
    """The file is no Perl that can be read; Perl would refuse it too, nearly always."""


def is_operator(token: Token | None, *texts: str) -> bool:
    """Say whether a token is one of these operators."""
    return token is not None and token.kind == "operator" and token.text in texts


class Lexer:
    """Cuts text into tokens."""

    def __init__(self, path: object, text: str) -> None:
        self._path = path
        self._text = text
        self._at = 0
        self._line = 1
        self._last: Token | None = None
        self._subscripts: list[bool] = []  # for each open brace, whether it is behind a variable
        self._closed_subscript = False
        self._heredocs: list[tuple[int, str, str]] = []  # waiting for their text: token, kind, end
        self._tokens: list[Token] = []

    def tokens(self) -> list[Token]:
        """Cut all of it."""
        while self._at < len(self._text):
            if self._skip():
                continue
            token = self._next()
            if token.kind == "word" and token.text in ("__END__", "__DATA__"):
                break
            self._tokens.append(token)
            self._last = token
        if self._heredocs:
            raise self._error(self._tokens[self._heredocs[0][0]].line, "a text (<<) begins here and never ends")
        return self._tokens

    def _error(self, line: int, what: str) -> PerlError:
        return PerlError(f"{self._path}:{line}: {what}")

    def _skip(self) -> bool:
        """Pass by blanks, comments and documentation; say whether there was any."""
        text, at = self._text, self._at
        if text[at] == "\n":
            self._at, self._line = at + 1, self._line + 1
            self._take_heredocs()
            return True
        if (at == 0 or text[at - 1] == "\n") and _POD.match(text, at):
            self._skip_pod()
            return True
        if text[at].isspace():
            self._at += 1
            return True
        if text[at] == "#":
            end = text.find("\n", at)
            self._at = len(text) if end < 0 else end
            return True
        return False

    def _skip_pod(self) -> None:
        """Pass by documentation: from a line that begins with = and a letter up to the next that begins with =cut.

        The classic's file switches sections on and off by this; with one of a section's two lines gone, all that
        follows is turned round.
        """
        first = self._line
        opening = self._pod_line()
        if opening.startswith("=cut") and re.search(r"END\s*[=-]\s*$", opening):
            raise self._error(first, "this =cut ends a section that was not begun; remove both its =cut lines, or none")
        while self._at < len(self._text):
            line = self._pod_line()
            if line.startswith("=cut"):
                if opening.startswith("=cut") and re.search(r"START\s*[=-]\s*$", line):
                    raise self._error(
                        first, "the section that begins with this =cut has no =cut at its end; remove both, or none"
                    )
                return

    def _pod_line(self) -> str:
        """Take a whole line."""
        end = self._text.find("\n", self._at)
        end = len(self._text) if end < 0 else end + 1
        line, self._at = self._text[self._at : end], end
        self._line += 1
        return line

    def _take_heredocs(self) -> None:
        """Take the texts that begin on this line, each up to the line that is its end."""
        for index, kind, end in self._heredocs:
            begin, first = self._at, self._line
            while self._at < len(self._text):
                here = self._at
                if self._pod_line().strip() == end:
                    token = self._tokens[index]
                    self._tokens[index] = token._replace(kind=kind, text=self._text[begin:here])
                    break
            else:
                raise self._error(first - 1, f"the text that begins here (<<{end}) never ends")
        self._heredocs.clear()

    def _next(self) -> Token:
        """Take one token."""
        text, at = self._text, self._at
        letter = text[at]
        if letter == "$":
            match = _SCALAR.match(text, at)
            if match is not None:
                return self._token("scalar", match[0][1:].strip("{} "), match.end())
        if letter in "@%&" and (letter == "@" or not self._is_operand()):
            match = _SIGIL.match(text, at)
            if match is not None:
                return self._token({"@": "array", "%": "hash", "&": "code"}[letter], match[0][1:], match.end())
        if letter.isdigit() or (letter == "." and not self._is_operand()):
            match = _NUMBER.match(text, at)
            if match is not None:
                return self._token("number", match[0], match.end())
        if letter.isalpha() or letter == "_":
            return self._word()
        if letter in "'\"`":
            kind = {"'": "single", '"': "double", "`": "command"}[letter]
            content, end = self._delimited(at)
            return self._token(kind, content, end)
        if letter == "/" and not self._is_operand():
            content, end = self._delimited(at)
            return self._with_flags("match", content, end)
        heredoc = None if self._is_operand() else _HEREDOC.match(text, at)
        if heredoc is not None:
            kind = "single" if heredoc[2] is not None else "double"
            self._heredocs.append((len(self._tokens), kind, heredoc[1] or heredoc[2] or heredoc[3] or ""))
            return self._token(kind, "", heredoc.end())
        if letter == "<" and not self._is_operand():
            handle = re.compile(r"<\$?\w*>").match(text, at)
            if handle is not None:
                return self._token("handle", handle[0], handle.end())
        match = _OPERATOR.match(text, at)
        operator = match[0] if match is not None else letter
        self._count_braces(operator)
        return self._token("operator", operator, at + len(operator))

    def _word(self) -> Token:
        """Take a word, or a quote that begins with one."""
        match = _WORD.match(self._text, self._at)
        if match is None:
            raise self._error(self._line, f"{self._text[self._at]!r} is no Perl")
        word = match[0].split("'")[0] if match[0].split("'")[0] in _QUOTES else match[0]
        end = self._at + len(word)
        kind = _QUOTES.get(word)
        if kind is None or not self._begins_quote(end):
            return self._token("word", word, end)
        blank = _BLANK.match(self._text, end)
        opening = blank.end() if blank else end
        content, end = self._delimited(opening)
        if kind == "change":
            second = opening if self._text[opening] not in CLOSING else self._next_delimiter(end)
            _, end = self._delimited(end - 1 if second == opening else second)
        if kind in ("regex", "match", "change"):
            return self._with_flags(kind, content, end)
        return self._token(kind, content, end)

    def _next_delimiter(self, at: int) -> int:
        blank = _BLANK.match(self._text, at)
        return blank.end() if blank else at

    def _begins_quote(self, end: int) -> bool:
        """Say whether q, s, y and the like begin a quote here, or are names."""
        following = self._text[end : end + 1]
        if is_operator(self._last, "->") or (is_operator(self._last, "{") and following == "}"):
            return False
        if following.isspace():
            rest = self._text[end:].lstrip()
            return bool(rest) and rest[0] not in "=,;)#" and not rest.startswith("=>") and not rest[0].isalnum()
        if following == "=":
            return self._text[end + 1 : end + 2] not in (">", "=", "~", " ")
        return bool(following) and following not in ",;)"

    def _delimited(self, at: int) -> tuple[str, int]:
        """Return what stands between a delimiter and the one that closes it, and the place behind."""
        opening = self._text[at : at + 1]
        closing = CLOSING.get(opening, opening)
        depth, place = 1, at + 1
        while place < len(self._text):
            letter = self._text[place]
            if letter == "\\":
                place += 2
                continue
            if letter == closing:
                depth -= 1
                if not depth:
                    return self._text[at + 1 : place], place + 1
            elif letter == opening:
                depth += 1
            place += 1
        line = self._line + self._text.count("\n", self._at, at)
        raise self._error(line, f"a text begins here with {opening if opening.isprintable() else '?'} and never ends")

    def _with_flags(self, kind: str, content: str, end: int) -> Token:
        flags = re.compile(r"[a-z]*").match(self._text, end)
        flag_text = flags[0] if flags is not None else ""
        return self._token(kind, content, end + len(flag_text), flag_text)

    def _token(self, kind: str, text: str, end: int, flags: str = "") -> Token:
        token = Token(kind, text, self._line, self._at, end, flags)
        self._line += self._text.count("\n", self._at, end)
        if "\n" in self._text[self._at : end] and self._heredocs:
            raise self._error(
                token.line, "a text (<<) and a quote that goes over lines on one line cannot be told apart"
            )
        self._at = end
        return token

    def _is_operand(self) -> bool:
        """Say whether what stands before is a value, so that an operator follows."""
        last = self._last
        if last is None or last.kind == "word":
            return False
        if last.kind != "operator":
            return True
        return last.text in (")", "]") or (last.text == "}" and self._closed_subscript)

    def _count_braces(self, operator: str) -> None:
        if operator == "{":
            last = self._last
            behind = last is not None and (
                last.kind in ("scalar", "array", "hash") or is_operator(last, "->", "]") or self._is_operand()
            )
            self._subscripts.append(behind and not is_operator(last, ")"))
        elif operator == "}":
            self._closed_subscript = self._subscripts.pop() if self._subscripts else False
