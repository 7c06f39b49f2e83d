"""What gives lines their meaning: formats, packaged and the administrator's own, and who reads headers.

It is wiring too, and stands apart because `scan` needs nothing else.
"""

from collections.abc import Iterable
from datetime import datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING

from popbeforesmtp.entry import EntryReader
from popbeforesmtp.formats import Formats, _engine, _format
from popbeforesmtp.header import HeaderReader
from popbeforesmtp.model import LogMessage, SessionEvent

if TYPE_CHECKING:
    from popbeforesmtp.following import LineReader  # all that the daemon follows a log with

FORMATS = Path("/etc/pop-before-smtp/formats.d")
"""The administrator's own formats."""


def formats(folder: Path = FORMATS) -> list[_format.Format]:
    """Read all formats: the packaged ones, and the administrator's own in place of those or beside them.

    Raises ConfigError where one of the administrator's is not as it must be.
    """
    known = {name: _format.load(name) for name in _format.packaged()}
    own = {path.stem: _own_format(path) for path in sorted(folder.glob("*.toml"))}
    return list((own | {name: known[name] for name in known if name not in own}).values())


def _own_format(path: Path) -> _format.Format:
    """Read a format file of the administrator's: patterns, or Dovecot's own settings for its log (template)."""
    from popbeforesmtp.formats import _dovecot_template  # few have one

    settings = _dovecot_template.settings(path)
    return _format.load_file(path) if settings is None else _dovecot_template.load(path, settings)


def read_format(name: str, text: str) -> _format.Format:
    """Read the text of a format file as one of the administrator's. Raises DataError."""
    return _format.parse_limited(name, text)


def format_text(name: str, folder: Path = FORMATS) -> str:
    """Return a format's file: the administrator's, else the packaged one."""
    own = folder / f"{name}.toml"
    return own.read_text(encoding="utf-8") if own.exists() else _format.text(name)


def describe_format(known: _format.Format) -> dict[str, object]:
    """Say what a format reads, for ``formats list --json``."""
    return {
        "name": known.name,
        "title": known.title,
        "programs": [program.decode() for program in known.programs],
        "own_log": known.own_log,
        "events": sorted({pattern.event for pattern in known.patterns}),
    }


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


def explain(line: bytes, message: LogMessage | None, event: SessionEvent | None, engine: Formats) -> str:
    """Say why a line means what it means, or how far the nearest pattern came."""
    from popbeforesmtp.formats import _explain

    return _explain.explain(line, message, event, engine)


def line_reader(*, journal: bool, zone: tzinfo | None = None, previous: datetime | None = None) -> "LineReader":
    """Make what reads the headers of one log, or the entries of the journal; ``previous`` is where it was left off."""
    return EntryReader(previous) if journal else HeaderReader(zone, previous)
