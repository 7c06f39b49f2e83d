"""Settings into objects: the one place where a name becomes code.

A file's name is its configuration name: ``stores/sqlite.py`` is ``type = "sqlite"``. Its opening function's keyword
arguments are its settings; their annotations say what may be written.
"""

import importlib
import inspect
import os
import pkgutil
import typing
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from types import ModuleType, UnionType
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from popbeforesmtp import lookups, mtas, sources, stores
from popbeforesmtp.blocksettings import BlockSettings
from popbeforesmtp.clock import Clock, SystemClock
from popbeforesmtp.config import Section, Settings
from popbeforesmtp.entry import EntryReader
from popbeforesmtp.errors import PopBeforeSmtpError
from popbeforesmtp.following import Followed, LineReader, Reading
from popbeforesmtp.formats import Formats, _engine, _format
from popbeforesmtp.header import HeaderReader
from popbeforesmtp.lookups import Lookup
from popbeforesmtp.model import LogMessage, SessionEvent
from popbeforesmtp.mtas import AccessMap
from popbeforesmtp.rulesettings import NO_RULES, RuleSettings
from popbeforesmtp.sight import SYSLOGDS
from popbeforesmtp.sources import Source
from popbeforesmtp.stores import Progress, Store

FORMATS = Path("/etc/pop-before-smtp/formats.d")
"""The administrator's own formats."""

_GIVEN = ("clock", "restrict", "prefix")
"""What a map or a lookup is given besides its settings: the clock, and what the rules ask for."""

_FOUND_OUT = ("checkpoint", "since", "zone", "programs", "owners", "insecure")
"""What a source is given and nobody sets in its section: the place, the start of the window, the zone, the syslog tags
of the formats, who may own their logs, and whether others may."""


_OPENING = {"sources": "open_source", "stores": "open_store", "mtas": "open_map", "lookups": "open_lookup"}


def names(room: ModuleType) -> list[str]:
    """Return what a room holds."""
    return sorted(module.name for module in pkgutil.iter_modules(room.__path__) if not module.name.startswith("_"))


def default(room: ModuleType, name: str, setting: str) -> object:
    """Return what a setting is that nobody sets; None where it has no such setting, or none by default."""
    opening = getattr(importlib.import_module(f"{room.__name__}.{name}"), _OPENING[room.__name__.rpartition(".")[2]])
    parameter = inspect.signature(opening).parameters.get(setting)
    return None if parameter is None or parameter.default is inspect.Parameter.empty else parameter.default


def engine(
    units: tuple[str, ...] = (),
    *,
    host: str | None = None,
    insecure: bool = False,
    chosen: Iterable[_format.Format] | None = None,
) -> _engine.Engine:
    """Make the engine with all formats, or with those chosen.

    ``units`` are those that journal entries must come from instead, and ``host`` the host; ``insecure`` believes
    logs that can be forged.
    """
    return _engine.Engine(formats() if chosen is None else chosen, units, host=host, insecure=insecure)


def engine_of(chosen: Iterable[_format.Format]) -> Formats:
    """Make an engine of some formats."""
    return _engine.Engine(chosen)


def describe_format(known: _format.Format) -> dict[str, object]:
    """Say what a format reads, for ``formats list --json``."""
    return {
        "name": known.name,
        "title": known.title,
        "programs": [program.decode() for program in known.programs],
        "own_log": known.own_log,
        "events": sorted({pattern.event for pattern in known.patterns}),
    }


def explain(line: bytes, message: LogMessage | None, event: SessionEvent | None, engine: Formats) -> str:
    """Say why a line means what it means, or how far the nearest pattern came."""
    from popbeforesmtp.formats import _explain

    return _explain.explain(line, message, event, engine)


def read_format(name: str, text: str) -> _format.Format:
    """Read the text of a format file as one of the administrator's. Raises DataError."""
    return _format.parse_limited(name, text)


def format_text(name: str, folder: Path = FORMATS) -> str:
    """Return a format's file: the administrator's, else the packaged one."""
    own = folder / f"{name}.toml"
    return own.read_text(encoding="utf-8") if own.exists() else _format.text(name)


def formats(folder: Path = FORMATS) -> list[_format.Format]:
    """Read all formats: the packaged ones, and the administrator's own in place of those or beside them.

    Raises ConfigError where one of the administrator's is not as it must be.
    """
    known = {name: _format.load(name) for name in _format.packaged()}
    own = {path.stem: _own_format(path) for path in sorted(folder.glob("*.toml"))}
    return list((own | {name: known[name] for name in known if name not in own}).values())


def line_reader(*, journal: bool, zone: ZoneInfo | None = None, previous: datetime | None = None) -> LineReader:
    """Make what reads the headers of one log, or the entries of the journal; ``previous`` is where it was left off."""
    return EntryReader(previous) if journal else HeaderReader(zone, previous)


def open_source(
    section: Section,
    progress: Mapping[str, Progress],
    since: datetime,
    *,
    insecure: bool = False,
    own: Mapping[str, str] | None = None,
) -> Followed:
    """Open a source where it was left off; what was written before ``since`` is of no interest any more.

    ``timezone`` and ``formats`` are common to all sources: the zone of stamps that name none, and the only formats
    that it is read by. ``own`` are texts of further formats, by their names.
    """
    values = dict(section.values)
    zone = _zone(values.pop("timezone", None), section)
    chosen = _chosen(values.pop("formats", None), section, own or {})
    left = progress.get(str(values.get("path", section.type)))
    units = values.get("units")
    units = tuple(map(str, units)) if isinstance(units, list) else ()
    reader = engine(units, host=os.uname().nodename, insecure=insecure, chosen=chosen)
    source: Source = _open(
        sources,
        section,
        "open_source",
        values,
        checkpoint=left.checkpoint if left else None,
        since=since,
        zone=zone,
        insecure=insecure,
        owners=(*reader.owners, *reader.refused),
        programs=tuple(program.decode() for program in (*reader.programs, *SYSLOGDS)),
    )
    if source.format is not None:
        reader = _engine.Engine([_format.load(source.format)])
    previous = left.time if left else None

    def open_reading() -> Reading:
        header = line_reader(journal=source.journal, zone=zone, previous=previous)
        sieve = reader.entry_sieve(header) if isinstance(header, EntryReader) else reader.sieve(SYSLOGDS)
        return Reading(header, sieve)

    return Followed(source, reader, open_reading, reads=frozenset(each.name for each in reader.formats))


def open_store(section: Section, clock: Clock, *, make: bool) -> Store:
    """Open the store; where ``make`` is false, only one that is there."""
    store: Store = _open(stores, section, "open_store" if make else "read_store", dict(section.values), clock=clock)
    return store


def open_map(section: Section, rules: RuleSettings = NO_RULES) -> AccessMap:
    """Prepare an access map; nothing is written yet. Of one that is configured no longer the name is enough.

    Raises ConfigError where it cannot say what the rules ask for.
    """
    if section.where is None and "map" in section.values and section.type in names(mtas):
        recall = getattr(importlib.import_module(f"{mtas.__name__}.{section.type}"), "recall_map", None)
        if recall is not None:
            recalled: AccessMap = recall(str(section.values["map"]), SystemClock())
            return recalled
    _sayable(_opening(mtas, section, "open_map"), section, rules)
    access_map: AccessMap = _open(
        mtas,
        section,
        "open_map",
        dict(section.values),
        clock=SystemClock(),
        restrict=rules.restrict,
        prefix=rules.ipv6_prefix,
    )
    return access_map


def block_section(block: BlockSettings) -> Section:
    """Write the section of the program that hears who is blocked; ``open_map`` opens it, without any rules."""
    return Section("command", block.commands, block.places, block.where)


def told_of_blocked(settings: Settings) -> tuple[Section, ...]:
    """Return the section of that program where there is one; whoever is told of clients must not be told of it."""
    return () if settings.block is None else (block_section(settings.block),)


def existing_maps() -> tuple[Section, ...]:
    """Return the maps that a daemon without configuration left, found without asking any mail server."""
    left = []
    for name in names(mtas):
        existing = getattr(importlib.import_module(f"{mtas.__name__}.{name}"), "existing", list)
        left += [_left(name, map_name) for map_name in existing()]
    return tuple(left)


def _own_format(path: Path) -> _format.Format:
    """Read a format file of the administrator's: patterns, or Dovecot's own settings for its log (template)."""
    from popbeforesmtp.formats import _dovecot_template  # few have one

    settings = _dovecot_template.settings(path)
    return _format.load_file(path) if settings is None else _dovecot_template.load(path, settings)


def forgotten_maps(known: Iterable[str], sections: Iterable[Section]) -> tuple[Section, ...]:
    """Return the maps of those that a store knows which the configuration no longer names."""
    wanted = {map_key(section) for section in sections}
    parts = (name.partition(" ") for name in known if name not in wanted)
    return tuple(_left(kind, name) for kind, _, name in parts)


def _left(kind: str, map_name: str) -> Section:
    """Write the section of a map that no configuration names; where its mail server can be reloaded, it is not."""
    values = {"map": map_name}
    if kind in names(mtas):
        opening = importlib.import_module(f"{mtas.__name__}.{kind}").open_map
        values |= {"reload": "never"} if "reload" in inspect.signature(opening).parameters else {}
    return Section(kind, values, {}, None)


def map_key(section: Section) -> str:
    """Name a map as stores keep it."""
    return f"{section.type} {section.values.get('map') or open_map(section).name}"


def open_lookup(section: Section, rules: RuleSettings = NO_RULES) -> Lookup:
    """Prepare a lookup; it does not answer yet. Raises ConfigError where it cannot say what the rules ask for."""
    _sayable(_opening(lookups, section, "open_lookup"), section, rules, exact=True)
    lookup: Lookup = _open(lookups, section, "open_lookup", dict(section.values), restrict=rules.restrict)
    return lookup


def _sayable(opening: Callable[..., object], section: Section, rules: RuleSettings, *, exact: bool = False) -> None:
    """See that an output can say what the rules ask for; ``exact`` ones ask for each address. Raises ConfigError."""
    can = inspect.signature(opening).parameters
    if rules.restrict and "restrict" not in can:
        raise section.place("type").complain(
            f"{section.type} cannot refuse the networks of [rules] restrict; leave restrict or this output out"
        )
    if rules.ipv6_prefix < 128 and not exact and "prefix" not in can:
        raise section.place("type").complain(
            f"{section.type} cannot say an IPv6 prefix exactly; use a lookup (socketmap, policy) without this map,"
            " or leave [rules] ipv6_prefix out"
        )


def check(settings: Settings) -> None:
    """See that every section names something that exists, and sets only what can be set. Raises ConfigError."""
    for section in settings.sources or ():
        values = dict(section.values)
        _zone(values.pop("timezone", None), section)
        _chosen(values.pop("formats", None), section, settings.own_formats)
        _bind(_opening(sources, section, "open_source"), section, values, _FOUND_OUT, ("timezone", "formats"))
    _bind(_opening(stores, settings.store, "open_store"), settings.store, settings.store.values, ("clock",))
    for section in settings.mtas or ():
        _bind(_opening(mtas, section, "open_map"), section, section.values, _GIVEN)
        _sayable(_opening(mtas, section, "open_map"), section, settings.rules)
    for section in settings.lookups or ():
        _bind(_opening(lookups, section, "open_lookup"), section, section.values, _GIVEN)
        _sayable(_opening(lookups, section, "open_lookup"), section, settings.rules, exact=True)
    for section in told_of_blocked(settings):
        _bind(_opening(mtas, section, "open_map"), section, section.values, _GIVEN)
        _refuse_shared(section, settings.mtas or ())
    settings.rules.rules(settings.grace, settings.hold)  # the files that they name


def _refuse_shared(block: Section, sections: Iterable[Section]) -> None:
    """See that no map is told of the blocked: to it they would be clients that may relay. Raises ConfigError."""
    for section in sections:
        for key, value in block.values.items():
            if section.type == block.type and value in section.values.values():
                raise block.place(key).complain(
                    "an [[mta]] is told by the same command, so who is blocked could relay; give each a set of its own"
                )


def _open(
    room: ModuleType, section: Section, function: str, values: Mapping[str, object], **given: object
) -> typing.Any:
    """Call the opening function that a section names, with its settings, and with what it takes of the rest."""
    opening = _opening(room, section, function)
    settings = _bind(opening, section, values, tuple(given))
    taken = inspect.signature(opening).parameters
    try:
        return opening(**settings, **{name: value for name, value in given.items() if name in taken})
    except PopBeforeSmtpError as error:
        if section.where is None:
            raise
        raise type(error)(f"{section.where}: {error}") from None


def _opening(room: ModuleType, section: Section, function: str) -> Callable[..., object]:
    """Import one module of a room, and return its opening function; only a name that the room holds is imported."""
    kind = room.__name__.rpartition(".")[2].removesuffix("s")
    if section.type not in names(room):
        raise section.place("type").complain(
            f"there is no {kind} {section.type!r}; there are: {', '.join(names(room))}"
        )
    opening = getattr(importlib.import_module(f"{room.__name__}.{section.type}"), function, None)
    if opening is None:
        raise section.place("type").complain(f"{section.type!r} keeps nothing that another process could read")
    found: Callable[..., object] = opening
    return found


def _bind(
    opening: Callable[..., object],
    section: Section,
    values: Mapping[str, object],
    given: tuple[str, ...],
    also: tuple[str, ...] = (),
) -> dict[str, object]:
    """Turn a section's values into the opening function's arguments, but for those given.

    ``also`` names settings of the section that others read. Raises ConfigError.
    """
    types = typing.get_type_hints(opening)
    parameters = inspect.signature(opening).parameters
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


_WORDS: dict[object, str] = {
    Path: 'an absolute path, as in "/var/log/mail.log"',
    str: "a text in quotes",
    tuple[str, ...]: 'a list of texts, as in ["one", "two"]',
}


def _chosen(value: object, section: Section, own: Mapping[str, str]) -> list[_format.Format] | None:
    """Return the formats that a source is to be read by; None for all. Raises ConfigError."""
    if value is None:
        return None
    if not isinstance(value, list) or not value or not all(isinstance(name, str) for name in value):
        raise section.place("formats").complain(f'{value!r} is no list of formats; write one, as in ["dovecot"]')
    known = {each.name: each for each in formats()} | {name: read_format(name, text) for name, text in own.items()}
    for name in value:
        if name not in known:
            raise section.place("formats").complain(
                f"there is no format {name!r}; there are: {', '.join(sorted(known))}"
            )
    return [known[name] for name in value]


def _zone(value: object, section: Section) -> ZoneInfo | None:
    if value is None:
        return None
    try:
        return ZoneInfo(str(value))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise section.place("timezone").complain(
            f'{value!r} is no time zone of this machine; write one, as in "Europe/Berlin" or "UTC"'
        ) from None
