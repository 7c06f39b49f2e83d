"""List the formats that are known, show one in full, or run their samples.

`list` (the default) names each with its programs; `show NAME` writes its file, which is how to write one of your own;
`test [NAME ...]` reads the labelled logs that belong to them, and ends with 1 if any line means something else than
its label says.
"""

import argparse
import sys
from pathlib import Path

from popbeforesmtp.commands import add_json, write_json

_SAMPLES = (Path(__file__).parents[2] / "sample_logs", Path(__file__).parents[1] / "sample_logs")
"""Where labelled logs lie: in the source tree, or in an installed package."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_json(parser)
    parser.add_argument("--formats-dir", type=Path, metavar="DIR", help="more formats, in place of /etc/…/formats.d")
    parser.add_argument("--samples", type=Path, metavar="DIR", help="labelled logs (default: those that come with us)")
    parser.add_argument("action", metavar="list|show|test", nargs="?", choices=("list", "show", "test"), default="list")
    parser.add_argument("names", metavar="NAME", nargs="*", help="formats (default: all)")


def run(arguments: argparse.Namespace) -> int:
    """List, show or test."""
    from popbeforesmtp import wiring
    from popbeforesmtp.errors import UsageError

    known = {each.name: each for each in wiring.formats(arguments.formats_dir or wiring.FORMATS)}
    for name in arguments.names:
        if name not in known:
            raise UsageError(f"there is no format {name!r}; there are: {', '.join(sorted(known))}")
    names = arguments.names or sorted(known)
    if arguments.action == "test":
        return _test(names, arguments.samples, arguments.formats_dir)
    if arguments.action == "show":
        for name in names:
            print(wiring.format_text(name, arguments.formats_dir or wiring.FORMATS), end="")
    elif arguments.json:
        write_json([wiring.describe_format(known[name]) for name in names])
    else:
        for name in names:
            programs = (
                " ".join(program.decode() for program in known[name].programs) or "a log of its own, without programs"
            )
            print(f"{name:14} {known[name].title}\n{'':14} {programs}")
    return 0


def _test(names: list[str], folder: Path | None, formats: Path | None) -> int:
    """Read the samples of these formats, and say what each line should have meant and did not."""
    from popbeforesmtp.errors import UnavailableError

    folder = folder or next((path for path in _SAMPLES if path.is_dir()), None)
    samples = [] if folder is None else sorted(path for path in folder.glob("*.log") if _belongs(path, names))
    if not samples:
        raise UnavailableError(f"there are no samples of {', '.join(names)}; name their folder with --samples")
    wrong = 0
    for sample in samples:
        complaints = _complaints(sample, formats)
        wrong += bool(complaints)
        print(f"{sample.name}: {'as labelled' if not complaints else f'{len(complaints)} lines differ'}")
        for complaint in complaints:
            print(f"  {complaint}", file=sys.stderr)
    return 1 if wrong else 0


def _belongs(sample: Path, names: list[str]) -> bool:
    return sample.with_suffix(".expect.tsv").exists() and any(sample.name.startswith(f"{name}-") for name in names)


def _complaints(sample: Path, formats: Path | None) -> list[str]:
    """Compare logins, which must be exact, and logouts, by their lines."""
    from datetime import UTC, datetime

    from popbeforesmtp import survey, wiring
    from popbeforesmtp.commands.scan import read_events

    engine, header = wiring.engine(), wiring.line_reader(journal=False)
    believed = survey.look(survey.tail(sample), header, engine, datetime.now(UTC)).forgeable is None
    found = {
        (
            line,
            event.kind.value,
            event.client if event.kind == "login" else None,
            event.user if event.kind == "login" else None,
        )
        for line, event in read_events(str(sample), formats)
        if event.kind in ("login", "logout")
    }
    rows = (
        row.split("\t") for row in sample.with_suffix(".expect.tsv").read_text("utf-8", "surrogateescape").split("\n")
    )
    wanted = {
        (int(row[0]), row[1], row[2] if row[1] == "login" else None, row[3] if row[1] == "login" else None)
        for row in rows
        if believed and len(row) >= 4 and row[1] in ("login", "logout")  # of a log that strangers write, nothing
    }
    missing = [f"line {row[0]}: no {row[1]}" for row in sorted(wanted - found, key=str)]
    return missing + [f"line {row[0]}: a {row[1]} that is none" for row in sorted(found - wanted, key=str)]
