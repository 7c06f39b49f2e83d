"""Turn the classic Perl daemon's configuration into ours, and say what is otherwise.

Reads pop-before-smtp-conf.pl without running Perl and writes TOML on standard output, with a comment for all that is
otherwise; an own pattern becomes a format file, which --into writes beside it. --check reads a log as the classic did
and as we do, and prints each line that is read differently. Exit status 0 if all was carried over, or all is read
alike; 1 if not.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from popbeforesmtp.classic.plan import Plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "--check", metavar="LOG", action="append", help="compare on a log, packed or not, or - for standard input"
    )
    parser.add_argument("--classic-patterns", action="store_true", help="keep patterns for which there is a format")
    parser.add_argument("--into", type=Path, metavar="DIR", help="write pop-before-smtp.toml and formats.d/ there")
    parser.add_argument("file", type=Path, metavar="FILE", help="the classic's configuration")


def run(arguments: argparse.Namespace) -> int:
    """Write what the configuration comes to, and say what is not carried over; return 1 if anything is not."""
    from popbeforesmtp.classic import conf, meaning, toml
    from popbeforesmtp.classic.options import Options
    from popbeforesmtp.classic.plan import Weight

    options = Options(classic_patterns=arguments.classic_patterns)
    plan = meaning.mean(conf.load(arguments.file.absolute()), options)
    if arguments.check:
        return sum(_check(log, plan) for log in arguments.check) > 0
    text = toml.write(plan)
    if arguments.into is None:
        sys.stdout.write(text)
        for name, own in plan.own.items():
            sys.stdout.write(f"\n# formats.d/{name}.toml, a file of its own:\n")
            sys.stdout.write("".join(f"#   {line}".rstrip() + "\n" for line in own.splitlines()))
    else:
        _write(arguments.into, text, plan)
    for weight in (Weight.STOP, Weight.LOST):
        for finding in plan.of(weight):
            print(f"pop-before-smtp: {finding.sentence(plan.path)}", file=sys.stderr)
    return 1 if plan.of(Weight.STOP) or plan.of(Weight.LOST) else 0


def _write(folder: Path, text: str, plan: "Plan") -> None:
    """Write the configuration and its formats; nothing that is there is written over. Raises CannotCreateError."""
    from popbeforesmtp.errors import CannotCreateError

    files = {folder / "pop-before-smtp.toml": text}
    files |= {folder / "formats.d" / f"{name}.toml": own for name, own in plan.own.items()}
    for path in files:
        if os.path.lexists(path):
            raise CannotCreateError(f"{path}: is there already; remove it, or write into another folder")
    for path, content in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:  # a link that leads nowhere would be followed otherwise
                file.write(content)
        except OSError as error:
            raise CannotCreateError(f"{path}: cannot be written: {error.strerror}; name another place") from None
        print(path)


def _check(log: str, plan: "Plan") -> int:
    """Print each line of a log that is read differently; return how many there are. Raises UnavailableError."""
    from popbeforesmtp.classic import bridge, reading
    from popbeforesmtp.text import escape

    bridge.settings_of(plan)  # raises, where the meaning cannot be run
    classic = reading.ClassicReader(plan)
    different = logins = number = 0
    for line in reading.read(log, plan):
        number = line.number
        theirs = classic.read(line.text)
        difference = reading.difference(line, theirs)
        logins += line.event is not None and line.event.kind.value == "login"
        if difference is not None:
            different += 1
            shown = escape(line.text.decode("utf-8", "surrogateescape"))
            print(f"{log}:{line.number}: {difference}: {shown}")
    print(f"pop-before-smtp: {log}: {number} lines, {logins} logins, {different} read differently", file=sys.stderr)
    return different
