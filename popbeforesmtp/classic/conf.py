"""Reads ``pop-before-smtp-conf.pl``: what it sets, and what is code of its own. Nothing is ever run.

Only settings are evaluated: texts, numbers, arithmetic, concatenation, lists, and variables that were set before.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from popbeforesmtp.classic.perl import BLOCKS, Statement, Token, is_operator, statements
from popbeforesmtp.errors import ConfigError, NotPermittedError

LOGTIME = r"(\w\w\w +\d+ \d+:\d+:\d+)"
"""What ``[LOGTIME]`` stands for, unless ``$logtime_pat`` says otherwise."""

_BIGGEST = 10**15  # of numbers; a duration has six digits
_LONGEST = 65_536  # bytes of a text
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "a": "\a", "e": "\x1b", "f": "\f"}
_INTERPOLATED = re.compile(r"\\(.)|\$\{(\w+)\}|\$(\w+)(?:\{'?(\w+)'?\}|\[(\d+)\])?|@(\w+)", re.DOTALL)
_INTEGER = re.compile(r"\s*[+-]?[0-9]+(?:\.[0-9]*)?")


@dataclass(frozen=True, slots=True)
class Code:
    """A reference to a subroutine, or one without a name."""

    name: str | None
    empty: bool = False  # it does nothing


Value = str | int | float | Code | list["Value"] | None


@dataclass(frozen=True, slots=True)
class Setting:
    """A value, and the line that sets it."""

    value: Value
    line: int


@dataclass(frozen=True, slots=True)
class Sub:
    """A subroutine: its words, and what it returns where it only returns a text."""

    line: int
    tokens: tuple[Token, ...]
    returns: str | None


@dataclass(slots=True)
class Conf:
    """What a configuration says."""

    path: Path
    settings: dict[str, Setting] = field(default_factory=dict)  # "$pat", "@mynets", "$file_tail{name}", "$login[0]"
    subs: dict[str, Sub] = field(default_factory=dict)
    candidates: tuple[str, ...] = ()  # logs that are looked for where the named one is not there
    read: set[str] = field(default_factory=set)  # variables that others are put together from
    code: list[Statement] = field(default_factory=list)  # what is not understood

    def value(self, name: str) -> Value:
        """Return what a variable is set to, None where it is not."""
        setting = self.settings.get(name)
        return None if setting is None else setting.value

    def text(self, name: str) -> str | None:
        """Return a variable as Perl would write it, None where it is not set."""
        value = self.value(name)
        return None if value is None or isinstance(value, Code | list) else as_text(value)

    def line(self, name: str) -> int | None:
        """Return the line that sets a variable."""
        setting = self.settings.get(name)
        return None if setting is None else setting.line

    def elements(self, name: str) -> list[tuple[int, Setting]]:
        """Return what an array holds, whether it was set as a whole or element by element."""
        found = {}
        whole = self.settings.get(f"@{name}")
        if whole is not None and isinstance(whole.value, list):
            found = {index: Setting(value, whole.line) for index, value in enumerate(whole.value)}
        for key, setting in self.settings.items():
            match = re.fullmatch(rf"\${re.escape(name)}\[(\d+)\]", key)
            if match is not None:
                found[int(match[1])] = setting
        return sorted(found.items())


class NotUnderstoodError(Exception):
    """An expression is more than a setting."""


def load(path: Path) -> Conf:
    """Read a configuration. Raises ConfigError or NotPermittedError."""
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; name the classic's configuration") from None
    except PermissionError:
        raise NotPermittedError(f"{path}: may not be read by this user; be root") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    return parse(path, text)


def parse(path: Path, text: str) -> Conf:
    """Read the text of a configuration. Raises ConfigError where it is no Perl."""
    conf = Conf(path, {"$logtime_pat": Setting(LOGTIME, 0)})
    known = dict(conf.settings)
    for statement in statements(path, text):
        if not _take(conf, statement):
            conf.code.append(statement)
    conf.settings = {name: each for name, each in conf.settings.items() if known.get(name) is not each}
    return conf


def as_text(value: Value) -> str:
    """Write a value as Perl does."""
    if isinstance(value, float):
        return f"{value:.15g}"
    return "" if value is None else str(value)


def as_integer(value: Value) -> int:
    """Read a value as a whole number, as Perl does: what does not begin with one is 0."""
    match = _INTEGER.match(as_text(value))
    return int(float(match[0])) if match is not None else 0


def _take(conf: Conf, statement: Statement) -> bool:
    """Take a statement in; say whether it was understood."""
    tokens = list(statement.tokens)
    first = tokens[0]
    if first.kind in ("number", "single") and len(tokens) == 1:  # the 1; at the end
        return True
    if first.kind == "word" and first.text in ("use", "no"):
        return len(tokens) > 1 and tokens[1].text in _MODULES
    if first.kind == "word" and first.text == "sub" and len(tokens) > 1 and tokens[1].kind == "word":
        conf.subs[tokens[1].text] = _sub(tokens)
        return True
    if first.kind == "word" and first.text in BLOCKS:
        return _take_block(conf, tokens)
    if first.kind == "word" and first.text in ("setlogsock", "openlog"):
        return True  # of the section for syslog, which $log_func switches on
    if first.kind == "word" and first.text in ("my", "our", "local"):
        tokens = tokens[1:]
        if not any(is_operator(token, "=") for token in tokens):
            return all(token.kind in ("scalar", "array", "hash", "operator") for token in tokens)
    if _is_compiling(tokens):
        return True
    try:
        return _assign(conf, tokens)
    except NotUnderstoodError:
        return False


_MODULES = frozenset(
    (
        *("strict", "warnings", "vars", "utf8", "Fcntl", "POSIX", "Sys::Syslog", "File::Tail", "DB_File"),
        *("NDBM_File", "BerkeleyDB", "CDB_File", "lib"),
    )
)


def _sub(tokens: Sequence[Token]) -> Sub:
    inner = [token for token in tokens[3:-1] if not is_operator(token, ";")]
    if inner and inner[0].kind == "word" and inner[0].text == "return":
        inner = inner[1:]
    returns = inner[0].text if len(inner) == 1 and inner[0].kind == "single" else None
    if len(inner) == 1 and inner[0].kind == "double" and not re.search(r"[\\$@]", inner[0].text):
        returns = inner[0].text
    return Sub(tokens[0].line, tuple(tokens), returns)


def _take_block(conf: Conf, tokens: Sequence[Token]) -> bool:
    """Take in the blocks of the classic's own file: by what they do, for some were edited."""
    names = {token.text for token in tokens if token.kind in ("scalar", "array")}
    words = {token.text for token in tokens if token.kind == "word"}
    if tokens[0].text == "if" and "file_tail" in names and names <= {"file_tail", "_"} and "foreach" in words:
        conf.candidates = tuple(name for token in tokens if token.kind == "words" for name in token.text.split())
        return True
    if tokens[0].text == "if" and {"PID_pat", "IP_pat", "OK_pat"} <= names and words <= {"if", "defined", "eval"}:
        return True  # lines of one process are read together
    if tokens[0].text == "if" and "signal_sendmail" in names:
        return True
    return tokens[0].text in ("foreach", "for") and _is_compiling(tokens)


def _is_compiling(tokens: Sequence[Token]) -> bool:
    """Say whether patterns are only compiled here, and ``[LOGTIME]`` replaced."""
    arrays = {token.text for token in tokens if token.kind == "array"}
    scalars = {token.text for token in tokens if token.kind == "scalar"}
    words = {token.text for token in tokens if token.kind == "word"}
    compiles = any(token.kind == "regex" and token.text == "$_" for token in tokens)
    return compiles and arrays <= {"login", "logout", "match"} and scalars <= {"_"} and words <= _COMPILING


_COMPILING = {"foreach", "for", "next", "unless", "defined", "if"}


def _assign(conf: Conf, tokens: list[Token]) -> bool:
    """Take in ``NAME = VALUE``, also several of them: ``$a = $b = 1``."""
    at = next((place for place, token in enumerate(tokens) if is_operator(token, "=", ".=")), None)
    if at is None:
        return False
    name = _target(tokens[:at])
    if name is None:
        return False
    rest = tokens[at + 1 :]
    if any(is_operator(token, "=") for token in rest) and not any(token.text == "sub" for token in rest):
        if not _assign(conf, rest):
            return False
        inner = _target(rest[: next(place for place, token in enumerate(rest) if is_operator(token, "="))])
        value = conf.value(inner or "")
    else:
        value = _Evaluation(conf, rest).value()
    if is_operator(tokens[at], ".="):
        value = as_text(conf.value(name)) + as_text(value)
    if name.startswith("%"):
        _set_hash(conf, name[1:], value, tokens[0].line)
        return True
    if name.startswith("@"):
        value = value if isinstance(value, list) else [value]
    elif isinstance(value, list):
        value = value[-1] if value else None
    conf.settings[name] = Setting(value, tokens[0].line)
    return True


def _set_hash(conf: Conf, name: str, value: Value, line: int) -> None:
    pairs = value if isinstance(value, list) else [value]
    if len(pairs) % 2:
        raise NotUnderstoodError
    for key, each in zip(pairs[::2], pairs[1::2], strict=True):
        conf.settings[f"${name}{{{as_text(key)}}}"] = Setting(each, line)


def _target(tokens: Sequence[Token]) -> str | None:
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


class _Evaluation:
    """Evaluates one expression."""

    def __init__(self, conf: Conf, tokens: Sequence[Token]) -> None:
        self._conf = conf
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def value(self) -> Value:
        """Return its value. Raises NotUnderstoodError."""
        value = self._sum()
        if self._at < len(self._tokens):
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
                left = as_text(_scalar(left)) + as_text(_scalar(right))
                if len(left) > _LONGEST:
                    raise NotUnderstoodError
            else:
                left = _calculated(operator, left, right)
        return left

    def _product(self) -> Value:
        left = self._power()
        while operator := self._accept("*", "/", "%"):
            left = _calculated(operator, left, self._power())
        return left

    def _power(self) -> Value:
        if self._accept("-"):
            return _calculated("-", 0, self._power())
        left = self._primary()
        return _calculated("**", left, self._power()) if self._accept("**") else left

    def _primary(self) -> Value:
        token = self._peek()
        self._depth += 1
        if token is None or self._depth > 500:
            raise NotUnderstoodError
        self._at += 1
        match token.kind:
            case "number":
                return _number(token.text)
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
                return Code(None, empty=not inner)
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
            if self._accept(",", "=>"):
                commas += 1
            elif not is_operator(self._peek(), ")"):
                raise NotUnderstoodError
        return values[0] if len(values) == 1 and not commas else values

    def _variable(self, token: Token) -> Value:
        rest = self._tokens[self._at : self._at + 3]
        subscript = None
        if len(rest) == 3 and (is_operator(rest[0], "{") or is_operator(rest[0], "[")):
            subscript = _target((token, *rest))
        if subscript is not None:
            self._at += 3
            return self._known(subscript)
        return self._known(f"${token.text.removeprefix('::').removeprefix('main::')}")

    def _known(self, name: str) -> Value:
        setting = self._conf.settings.get(name)
        self._conf.read.add(name)
        if setting is not None:
            return setting.value
        if name in _DEFAULTS:
            return _DEFAULTS[name]
        raise NotUnderstoodError

    def _interpolate(self, text: str) -> str:
        def put(match: re.Match[str]) -> str:
            escaped, braced, name, key, index, array = match.groups()
            if escaped is not None:
                return _ESCAPES.get(escaped, escaped)
            if array is not None:
                return " ".join(map(as_text, as_list(self._known(f"@{array}"))))
            subscript = f"{{{key}}}" if key else f"[{index}]" if index else ""
            return as_text(_scalar(self._known(f"${braced or name}{subscript}")))

        return _INTERPOLATED.sub(put, text)


_DEFAULTS: Mapping[str, Value] = {
    "$dbfile": "/etc/postfix/pop-before-smtp",
    "$dbvalue": "ok",
    "$grace": 1800,
    "$logtime_pat": LOGTIME,
    "$file_tail{name}": "/var/log/maillog",
    "$write": 1,
    "$flock": 1,
    "$debug": 0,
    "$reprocess": 0,
    "$pat": (
        r"^[LOGTIME] \S+ (?:ipop3s?d|imaps?d)\[\d+\]: (?:Login|Authenticated|Auth|APOP) user=\S+ "
        r"host=(?:\S+ )?\[(\d+\.\d+\.\d+\.\d+)\]"
    ),
}


def default(name: str) -> str:
    """Return what the classic uses where nothing is set."""
    return as_text(_DEFAULTS[name])


def as_list(value: Value) -> Iterator[Value]:
    """Give the values of a list, or the one that there is."""
    yield from value if isinstance(value, list) else [value]


def _scalar(value: Value) -> Value:
    if isinstance(value, Code | list):
        raise NotUnderstoodError
    return value


def _number(text: str) -> int | float:
    text = text.replace("_", "")
    if text[:2].lower() in ("0x", "0b"):
        return int(text, 0)
    if re.fullmatch(r"0[0-7]+", text):
        return int(text, 8)
    return int(text) if text.isdigit() else float(text)


def _calculated(operator: str, left: Value, right: Value) -> Value:
    one, other = (_numeric(_scalar(side)) for side in (left, right))
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
