"""Opens what tells others who may relay: the store, access maps and lookups."""

import inspect
from collections.abc import Callable

from popbeforesmtp import lookups, mtas, stores
from popbeforesmtp.clock import Clock, SystemClock
from popbeforesmtp.config import Section
from popbeforesmtp.lookups import Lookup
from popbeforesmtp.mtas import AccessMap
from popbeforesmtp.rulesettings import NO_RULES, RuleSettings
from popbeforesmtp.stores import Store
from popbeforesmtp.wiring.opening import module, names, open_section, opening

GIVEN = ("clock", "restrict", "prefix")
"""What a map or a lookup is given besides its settings: the clock, and what the rules ask for."""


def open_store(section: Section, clock: Clock, *, make: bool) -> Store:
    """Open the store; where ``make`` is false, only one that is there."""
    function = opening(stores, section, "open_store" if make else "read_store")
    store: Store = open_section(function, section, section.values, clock=clock)
    return store


def open_map(section: Section, rules: RuleSettings = NO_RULES) -> AccessMap:
    """Prepare an access map; nothing is written yet. Of one that is configured no longer the name is enough.

    Raises ConfigError where it cannot say what the rules ask for.
    """
    if section.where is None and "map" in section.values and section.type in names(mtas):
        recall = getattr(module(mtas, section.type), "recall_map", None)
        if recall is not None:
            recalled: AccessMap = recall(str(section.values["map"]), SystemClock())
            return recalled
    function = opening(mtas, section)
    see_sayable(function, section, rules)
    access_map: AccessMap = open_section(
        function,
        section,
        section.values,
        clock=SystemClock(),
        restrict=rules.restrict,
        prefix=rules.ipv6_prefix,
    )
    return access_map


def open_lookup(section: Section, rules: RuleSettings = NO_RULES) -> Lookup:
    """Prepare a lookup; it does not answer yet. Raises ConfigError where it cannot say what the rules ask for."""
    function = opening(lookups, section)
    see_sayable(function, section, rules, exact=True)
    lookup: Lookup = open_section(function, section, section.values, restrict=rules.restrict)
    return lookup


def map_key(section: Section) -> str:
    """Name a map as stores keep it."""
    return f"{section.type} {section.values.get('map') or open_map(section).name}"


def see_sayable(function: Callable[..., object], section: Section, rules: RuleSettings, *, exact: bool = False) -> None:
    """See that an output can say what the rules ask for; ``exact`` ones ask for each address. Raises ConfigError."""
    can = inspect.signature(function).parameters
    if rules.restrict and "restrict" not in can:
        raise section.place("type").complain(
            f"{section.type} cannot refuse the networks of [rules] restrict; leave restrict or this output out"
        )
    if rules.ipv6_prefix < 128 and not exact and "prefix" not in can:
        raise section.place("type").complain(
            f"{section.type} cannot say an IPv6 prefix exactly; use a lookup (socketmap, policy) without this map"
            " (`mta = []` for none at all), or leave [rules] ipv6_prefix out"
        )
