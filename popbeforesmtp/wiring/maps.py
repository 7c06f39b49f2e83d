"""Maps that no ``[[mta]]`` names: what was left behind, and the program that hears who is blocked."""

import inspect
from collections.abc import Iterable

from popbeforesmtp import mtas
from popbeforesmtp.config import Section, Settings
from popbeforesmtp.wiring.opening import module, names
from popbeforesmtp.wiring.outputs import map_key


def existing_maps() -> tuple[Section, ...]:
    """Return the maps that a daemon without configuration left, found without asking any mail server."""
    left = []
    for name in names(mtas):
        existing = getattr(module(mtas, name), "existing", list)
        left += [_left(name, map_name) for map_name in existing()]
    return tuple(left)


def forgotten_maps(known: Iterable[str], sections: Iterable[Section]) -> tuple[Section, ...]:
    """Return the maps of those that a store knows which the configuration no longer names."""
    wanted = {map_key(section) for section in sections}
    parts = (name.partition(" ") for name in known if name not in wanted)
    return tuple(_left(kind, name) for kind, _, name in parts)


def _left(kind: str, map_name: str) -> Section:
    """Write the section of a map that no configuration names; where its mail server can be reloaded, it is not."""
    values = {"map": map_name}
    if kind in names(mtas):
        opening = module(mtas, kind).open_map
        values |= {"reload": "never"} if "reload" in inspect.signature(opening).parameters else {}
    return Section(kind, values, {}, None)


def told_of_blocked(settings: Settings) -> tuple[Section, ...]:
    """Return the section of the program that hears who is blocked, if there is one; ``open_map`` opens it.

    Whoever is told of clients must not be told of the blocked.
    """
    block = settings.block
    return () if block is None else (Section("command", block.commands, block.places, block.where),)
