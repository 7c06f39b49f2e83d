"""From the classic's files and flags to our settings."""

import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from popbeforesmtp import config
from popbeforesmtp.classic.options import Options
from popbeforesmtp.classic.plan import PATHS, Plan, Weight
from popbeforesmtp.config import Section, Settings
from popbeforesmtp.errors import ConfigError


def toml_path(options: Options) -> Path | None:
    """Return our own configuration, where one is named or in its place; None where the classic's counts."""
    if options.config is not None:
        return options.config if options.config.suffix == ".toml" else None
    return config.usual_path()


def load(path: Path | None) -> Settings:
    """Read our own configuration, or where there is none the classic's: all commands go by the same settings.

    A name is the classic's where it ends in .pl, or is Debian's of the Perl daemon. Raises ConfigError.
    """
    if path is None:
        ours = config.usual_path() is not None or not any(each.is_file() for each in PATHS)
    else:
        ours = path.suffix != ".pl" and path.absolute() not in PATHS
    return config.load(path) if ours else settings_of(make_plan(Options(config=path)))


def make_plan(options: Options) -> Plan:
    """Read the classic's configuration, where there is one, and say what it comes to. Raises ConfigError."""
    from popbeforesmtp.classic import conf, meaning  # a command that needs no classic does not pay for it

    path = options.config or next((path for path in PATHS if path.is_file()), None)
    return meaning.mean(None if path is None else conf.load(path.absolute()), options)


def settings_of(plan: Plan) -> Settings:
    """Turn a plan into settings, by way of the text that ``migrate`` writes. Raises ConfigError.

    What cannot be run is said in one sentence: the first such thing, and how many more there are.
    """
    from popbeforesmtp.classic import toml

    stops = plan.of(Weight.STOP)
    if stops:
        more = f" (and {len(stops) - 1} more)" if len(stops) > 1 else ""
        every = f"; `pop-before-smtp migrate {plan.path}` tells all" if plan.path else ""
        raise ConfigError(f"{stops[0].sentence(plan.path)}{more}{every}")
    path = plan.path or Path("the classic's defaults")
    # What is complained of stands in that text, and so do the lines that are named.
    settings = config.parse(Path(f"{path} (as `migrate` writes it)"), toml.write(plan))
    return replace(settings, path=path, own_formats=plan.own)


def override(settings: Settings, options: Options) -> Settings:
    """Put flags over our own configuration. Raises ConfigError."""
    if options.grace is not None:
        if not 1 <= options.grace <= 65535 * 60:
            raise ConfigError(f"--grace={options.grace}: is out of range; write 1 to {65535 * 60} seconds")
        settings = replace(settings, grace=timedelta(seconds=options.grace))
    if options.watchlog is not None:
        settings = replace(settings, sources=(_source(settings, options.watchlog),))
    if options.dbfile is not None:
        values = next((dict(each.values) for each in settings.mtas or () if each.type == "postfix"), {})
        kind = str(values.get("map", "hash")).partition(":")[0]
        values["map"] = f"{kind}:{Path(options.dbfile).absolute()}"
        settings = replace(settings, mtas=(Section("postfix", values, {}, None),))
    if options.logto not in (None, "-"):
        settings = replace(settings, log=str(Path(str(options.logto)).absolute()))
    return settings


def _source(settings: Settings, name: str) -> Section:
    """Make a source of what --watchlog names, read by the formats of the configured one."""
    if name.strip().startswith(("|", ">", "+")) or name.strip().endswith("|"):
        raise ConfigError(f"--watchlog={name}: no command is run; pipe its output into --watchlog=-")
    first = next((each.values for each in settings.sources or () if "formats" in each.values), {})
    formats = {"formats": first["formats"]} if first else {}
    if name == "-":
        return Section("stdin", formats, {}, None)
    return Section("file", {**formats, "path": str(Path(name).absolute())}, {}, None)


def without_writing(settings: Settings) -> Settings:
    """Return settings by which nothing is written that lasts: no map, no store; any user may run them."""
    control = Path(tempfile.mkdtemp(prefix="pop-before-smtp-")) / "control"
    return replace(settings, mtas=(), lookups=(), store=Section("memory", {}, {}, None), control=control)
