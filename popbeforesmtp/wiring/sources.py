"""Opens sources, each with what reads its lines."""

import os
from collections.abc import Mapping
from datetime import datetime, tzinfo

from popbeforesmtp import sources
from popbeforesmtp.config import Section
from popbeforesmtp.entry import EntryReader
from popbeforesmtp.following import Followed, Reading, read_place
from popbeforesmtp.formats import _engine, _format
from popbeforesmtp.reading import engine, formats, line_reader, read_format
from popbeforesmtp.sight import SYSLOGDS
from popbeforesmtp.sources import Source
from popbeforesmtp.stores import Progress
from popbeforesmtp.wiring.opening import open_section, opening

FOUND_OUT = ("checkpoint", "since", "zone", "programs", "marks", "owners", "insecure")
"""What a source is given and nobody sets in its section: the place, the start of the window, the zone, the syslog tags
of the formats, who may own their logs, and whether others may."""


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
    zone = zone_of(values.pop("timezone", None), section)
    chosen = chosen_formats(values.pop("formats", None), section, own or {})
    left = progress.get(str(values.get("path", section.type)))
    place, doubted = (None, {}) if left is None else read_place(left.checkpoint)
    units = values.get("units")
    units = tuple(map(str, units)) if isinstance(units, list) else ()
    reader = engine(units, host=os.uname().nodename, insecure=insecure, chosen=chosen)
    source: Source = open_section(
        opening(sources, section),
        section,
        values,
        checkpoint=place,
        since=since,
        zone=zone,
        insecure=insecure,
        owners=(*reader.owners, *reader.refused),
        programs=tuple(program.decode() for program in (*reader.programs, *SYSLOGDS)),
        marks=reader.marks,
    )
    if source.format is not None:
        reader = _engine.Engine([_format.load(source.format)])
    previous = left.time if left else None

    def open_reading() -> Reading:
        header = line_reader(journal=source.journal, zone=zone, previous=previous)
        sieve = reader.entry_sieve(header) if isinstance(header, EntryReader) else reader.sieve(SYSLOGDS)
        return Reading(header, sieve)

    return Followed(
        source, reader, open_reading, reads=frozenset(each.name for each in reader.formats), doubted=doubted
    )


def chosen_formats(value: object, section: Section, own: Mapping[str, str]) -> list[_format.Format] | None:
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


def zone_of(value: object, section: Section) -> tzinfo | None:
    """Return the zone of stamps that name none; None for this machine's. Raises ConfigError."""
    if value is None:
        return None
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # takes its time, and few logs need it

    try:
        return ZoneInfo(str(value))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise section.place("timezone").complain(
            f'{value!r} is no time zone of this machine; write one, as in "Europe/Berlin" or "UTC"'
        ) from None
