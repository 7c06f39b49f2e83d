"""One file per subcommand: its docstring is its help, ``add_arguments`` its options, ``run`` what it does.

Imports that cost time stand inside ``run``, so that no command pays for another.
"""

import argparse
import json
from pathlib import Path


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add the option that all commands share that need a configuration."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="configuration (default: /etc/pop-before-smtp.toml, /etc/pop-before-smtp/pop-before-smtp.toml, the Perl"
        " daemon's, or none)",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add the option of all commands that list."""
    parser.add_argument("--json", action="store_true", help="write JSON instead of a table")


def write_json(value: object) -> None:
    """Write one JSON value on a line of standard output."""
    print(json.dumps(value))
