"""A section becomes a call: the file that its type names, and that file's opening function with its settings.

A file's name is its configuration name: ``stores/sqlite.py`` is ``type = "sqlite"``. Its opening function's keyword
arguments are its settings; their annotations say what may be written.
"""

import importlib
import inspect
import pkgutil
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType, UnionType

from popbeforesmtp.config import Section
from popbeforesmtp.errors import PopBeforeSmtpError

_OPENS = {"sources": "open_source", "stores": "open_store", "mtas": "open_map", "lookups": "open_lookup"}
"""The name of a room's opening functions."""


def names(room: ModuleType) -> list[str]:
    """Return what a room holds; a file with an underscore in front is the room's own business."""
    return sorted(module.name for module in pkgutil.iter_modules(room.__path__) if not module.name.startswith("_"))


def module(room: ModuleType, name: str) -> ModuleType:
    """Import one module of a room."""
    return importlib.import_module(f"{room.__name__}.{name}")


def default(room: ModuleType, name: str, setting: str) -> object:
    """Return what a setting is that nobody sets; None where it has no such setting, or none by default."""
    parameter = inspect.signature(getattr(module(room, name), _OPENS[_word(room)])).parameters.get(setting)
    return None if parameter is None or parameter.default is inspect.Parameter.empty else parameter.default


def opening(room: ModuleType, section: Section, function: str = "") -> Callable[..., object]:
    """Return the opening function that a section names, or another; only a name that the room holds is imported.

    Raises ConfigError.
    """
    if section.type not in names(room):
        raise section.place("type").complain(
            f"there is no {_word(room).removesuffix('s')} {section.type!r}; there are: {', '.join(names(room))}"
        )
    found: Callable[..., object] | None = getattr(module(room, section.type), function or _OPENS[_word(room)], None)
    if found is None:
        raise section.place("type").complain(f"{section.type!r} keeps nothing that another process could read")
    return found


def open_section(
    function: Callable[..., object], section: Section, values: Mapping[str, object], **given: object
) -> typing.Any:
    """Call an opening function with a section's settings, and with what it takes of the rest.

    Raises what the function does; the message names the section's place.
    """
    settings = bind(function, section, values, tuple(given))
    taken = inspect.signature(function).parameters
    try:
        return function(**settings, **{name: value for name, value in given.items() if name in taken})
    except PopBeforeSmtpError as error:
        if section.where is None:
            raise
        raise type(error)(f"{section.where}: {error}") from None


def bind(
    function: Callable[..., object],
    section: Section,
    values: Mapping[str, object],
    given: tuple[str, ...],
    also: tuple[str, ...] = (),
) -> dict[str, object]:
    """Turn a section's values into an opening function's arguments, but for those given.

    ``also`` names settings of the section that others read. Raises ConfigError.
    """
    types = typing.get_type_hints(function)
    parameters = inspect.signature(function).parameters
    known = [name for name in parameters if name not in given]
    for key in values:
        if key not in known:
            raise section.place(key).complain(
                f"{section.type} has no such setting; there are: {', '.join(['type', *known, *also])}"
            )
    for name in known:
        if parameters[name].default is inspect.Parameter.empty and name not in values:
            raise section.place("type").complain(f"{section.type} needs {name}; write {name} = …")
    return {key: _convert(value, types[key], section, key) for key, value in values.items()}


def _convert(value: object, wanted: object, section: Section, key: str) -> object:
    """Turn a TOML value into what the annotation asks for."""
    choices = typing.get_args(wanted) if isinstance(wanted, UnionType) else (wanted,)
    for choice in choices:
        if choice is Path and isinstance(value, str) and value.startswith("/"):
            return Path(value)
        if choice is str and isinstance(value, str):
            return value
        if choice == tuple[str, ...] and isinstance(value, list) and all(isinstance(part, str) for part in value):
            return tuple(value)
    words = [_WORDS[choice] for choice in choices if choice in _WORDS]
    raise section.place(key).complain(f"{value!r} is not {' or '.join(words)}")


def _word(room: ModuleType) -> str:
    """Return a room's name without the package's."""
    return room.__name__.rpartition(".")[2]


_WORDS: dict[object, str] = {
    Path: 'an absolute path, as in "/var/log/mail.log"',
    str: "a text in quotes",
    tuple[str, ...]: 'a list of texts, as in ["one", "two"]',
}
