"""Settings into objects: the one place where a name becomes code, and the only one that looks inside rooms."""

from popbeforesmtp.reading import (
    FORMATS,
    describe_format,
    engine,
    explain,
    format_text,
    formats,
    line_reader,
    read_format,
)
from popbeforesmtp.wiring.checking import check
from popbeforesmtp.wiring.maps import existing_maps, forgotten_maps, told_of_blocked
from popbeforesmtp.wiring.opening import default, names
from popbeforesmtp.wiring.outputs import GIVEN, map_key, open_lookup, open_map, open_store
from popbeforesmtp.wiring.sources import FOUND_OUT, open_source

__all__ = [
    "FORMATS",
    "FOUND_OUT",
    "GIVEN",
    "check",
    "default",
    "describe_format",
    "engine",
    "existing_maps",
    "explain",
    "forgotten_maps",
    "format_text",
    "formats",
    "line_reader",
    "map_key",
    "names",
    "open_lookup",
    "open_map",
    "open_source",
    "open_store",
    "read_format",
    "told_of_blocked",
]
