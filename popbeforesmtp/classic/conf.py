"""Reads ``pop-before-smtp-conf.pl``: what it sets, and what is code of its own. Nothing is ever run.

Only settings are evaluated: texts, numbers, arithmetic, concatenation, lists, and variables that were set before.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from popbeforesmtp.classic.expression import Evaluation, target_of
from popbeforesmtp.classic.perl import BLOCKS, Statement, statements
from popbeforesmtp.classic.tokens import Token, is_operator
from popbeforesmtp.classic.values import Code, NotUnderstoodError, Value, as_text, joined
from popbeforesmtp.errors import ConfigError, NotPermittedError

LOGTIME = r"(\w\w\w +\d+ \d+:\d+:\d+)"
"""What ``[LOGTIME]`` stands for, unless ``$logtime_pat`` says otherwise."""


GLOBALS = frozenset(
    f"${name}"
    for name in (
        *("pat", "out_pat", "logtime_pat", "PID_pat", "IP_pat", "OK_pat", "FAIL_pat", "END_pat", "OUT_pat", "grace"),
        *("dbfile", "dbvalue", "logto", "debug", "write", "flock", "reprocess", "mynet_func", "tie_func", "add_func"),
        *("del_func", "sync_func", "flock_func", "tail_init_func", "tail_getline_func", "log_func"),
    )
)
"""What the classic's daemon reads; with `my` in front it never sees it."""


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
    hidden: list[tuple[int, str]] = field(default_factory=list)  # `my` in front of what the classic would read
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

    def known(self, name: str) -> Value:
        """Return what a variable holds where another is put together from it. Raises NotUnderstoodError."""
        setting = self.settings.get(name)
        self.read.add(name)
        if setting is not None:
            return setting.value
        if name in _DEFAULTS:
            return _DEFAULTS[name]
        raise NotUnderstoodError

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


def load(path: Path) -> Conf:
    """Read a configuration. Raises ConfigError or NotPermittedError."""
    try:
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; name the classic's configuration") from None
    except PermissionError:
        raise NotPermittedError(f"{path}: may not be read by this user; be root") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; name the classic's configuration") from None
    return parse(path, text)


def parse(path: Path, text: str) -> Conf:
    """Read the text of a configuration. Raises ConfigError where it is no Perl."""
    conf = Conf(path)
    for statement in statements(path, text):
        if not _take(conf, statement):
            conf.code.append(statement)
    return conf


def _take(conf: Conf, statement: Statement) -> bool:
    """Take a statement in; say whether it was understood."""
    tokens = list(statement.tokens)
    first = tokens[0]
    if first.kind in ("number", "single") and len(tokens) == 1:  # the 1; at the end
        return True
    if first.kind == "word" and first.text in ("use", "no"):
        return len(tokens) > 1 and (tokens[1].text in _MODULES or tokens[1].kind == "number")  # or a version of Perl
    if [token.text for token in tokens] == ["package", "main"]:
        return True
    if first.kind == "word" and first.text == "sub" and len(tokens) > 1 and tokens[1].kind == "word":
        conf.subs[tokens[1].text] = _sub(tokens)
        return True
    if first.kind == "word" and first.text in BLOCKS:
        return _take_block(conf, tokens)
    if first.kind == "word" and first.text in ("setlogsock", "openlog"):
        return True  # of the section for syslog, which $log_func switches on
    if first.kind == "word" and first.text in ("my", "our", "local"):
        tokens = tokens[1:]
        if first.text == "my" and (target_of(tokens[:1]) or "") in GLOBALS:
            conf.hidden.append((first.line, tokens[0].text))
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
    name = target_of(tokens[:at])
    if name is None:
        return False
    rest = tokens[at + 1 :]
    if sum(is_operator(token, "=") for token in tokens) > 10:
        return False
    if any(is_operator(token, "=") for token in rest) and not any(token.text == "sub" for token in rest):
        if not _assign(conf, rest):
            return False
        inner = target_of(rest[: next(place for place, token in enumerate(rest) if is_operator(token, "="))])
        value = conf.value(inner or "")
    else:
        value = Evaluation(conf.known, rest).value()
    if is_operator(tokens[at], ".="):
        value = joined(as_text(conf.value(name)), as_text(value))
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
