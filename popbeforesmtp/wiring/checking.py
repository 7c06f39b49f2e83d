"""Sees, before anything is opened, that the configuration can be used."""

from collections.abc import Iterable

from popbeforesmtp import lookups, mtas, sources, stores
from popbeforesmtp.config import Section, Settings
from popbeforesmtp.wiring.maps import told_of_blocked
from popbeforesmtp.wiring.opening import bind, opening
from popbeforesmtp.wiring.outputs import GIVEN, see_sayable
from popbeforesmtp.wiring.sources import FOUND_OUT, chosen_formats, zone_of


def check(settings: Settings) -> None:
    """See that every section names something that exists, and sets only what can be set. Raises ConfigError."""
    for section in settings.sources or ():
        values = dict(section.values)
        zone_of(values.pop("timezone", None), section)
        chosen_formats(values.pop("formats", None), section, settings.own_formats)
        bind(opening(sources, section), section, values, FOUND_OUT, ("timezone", "formats"))
    bind(opening(stores, settings.store), settings.store, settings.store.values, ("clock",))
    for section in settings.mtas or ():
        function = opening(mtas, section)
        bind(function, section, section.values, GIVEN)
        see_sayable(function, section, settings.rules)
    for section in settings.lookups or ():
        function = opening(lookups, section)
        bind(function, section, section.values, GIVEN)
        see_sayable(function, section, settings.rules, exact=True)
    for section in told_of_blocked(settings):
        bind(opening(mtas, section), section, section.values, GIVEN)
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
