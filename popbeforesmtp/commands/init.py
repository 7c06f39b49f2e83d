"""Write a configuration for what is found on this machine, and print the lines that its mail server needs.

The configuration goes to FILE (default: /etc/pop-before-smtp.toml), never over one that is there unless --force is
given, and works as it is. With - it is printed instead, the mail server's lines behind it as a comment. Nothing is
changed in the mail server's own configuration.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from popbeforesmtp.config import Section
    from popbeforesmtp.snippets import Snippets


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("--force", action="store_true", help="overwrite a configuration that is there")
    parser.add_argument("file", metavar="FILE", nargs="?", help="where to write it, or - to print it")


def run(arguments: argparse.Namespace) -> int:
    """Find out, write and print."""
    from popbeforesmtp import config, snippets, wiring
    from popbeforesmtp.clock import SystemClock
    from popbeforesmtp.commands._ask import say
    from popbeforesmtp.links import Machine

    path = config.PATHS[0] if arguments.file in (None, "-") else Path(arguments.file).absolute()
    server = snippets.found()
    text = _configuration(server)
    settings = config.parse(path, text)  # what we write we can read
    wiring.check(settings)
    lines = "" if server is None else server.lines(Machine(settings, SystemClock()))
    if arguments.file == "-":
        commented = "".join(f"#   {line}".rstrip() + "\n" for line in lines.splitlines())
        say(text + (f"\n# {server.TITLE} needs these lines:\n#\n{commented}" if server else ""))
        return 0
    _write(path, text, force=arguments.force)
    option = "" if path in config.PATHS else f" --config {path}"
    say(f"{path} is written; `pop-before-smtp run{option}` uses it, and `pop-before-smtp doctor{option}` proves it.")
    if server is None:
        say("No mail server was found that could be told anything: see [[mta]] in pop-before-smtp.toml(5).")
    else:
        say(f"{server.TITLE} needs these lines:\n\n{lines}")
    return 0


def _write(path: Path, text: str, *, force: bool) -> None:
    """Write it whole, for root and the daemon's user alone. Raises CannotCreateError."""
    from popbeforesmtp.atomicfile import replacing
    from popbeforesmtp.errors import CannotCreateError
    from popbeforesmtp.privileges import USER, group_number

    if path.exists() and not force:
        raise CannotCreateError(f"{path}: is there already; --force overwrites it, and - prints instead")
    try:
        group = group_number(USER)
        with replacing(path, None if group is None else (0, group)) as new:
            new.write_text(text, encoding="utf-8")
            new.chmod(0o640 if group is not None else 0o644)
    except OSError as error:
        raise CannotCreateError(f"{path}: cannot be written: {error.strerror}; name another place") from None


def _configuration(server: "Snippets | None") -> str:
    """Make the text, with what was found as comments."""
    from datetime import UTC, datetime

    from popbeforesmtp import detect
    from popbeforesmtp.config import Settings
    from popbeforesmtp.text import escape

    said: list[str] = []
    found = detect.find(Settings(), said.append, datetime.now(UTC))
    comments = "".join(f"#   {escape(sentence)}\n" for sentence in said if not sentence.startswith("no configuration"))
    return f"""\
# Configuration of pop-before-smtp, as `pop-before-smtp init` made it; all settings: pop-before-smtp.toml(5).
# What was found on this machine:
{comments}
# How long after a login its client address may relay.
grace = "30m"

[rules]
{_TRUSTED if server is None else server.TRUSTED}
# Never authorized, besides the built-in ones: proxies, gateways and webmails that stand for many people.
never = []

# Where the logins are written to.
{"".join(map(_source, found.sources))}
# Who may relay is kept here across restarts.
[store]
type = "sqlite"

{_NO_SERVER if server is None else server.configuration()}"""


_TRUSTED = """\
# These need no authorization: the networks that the mail server lets relay anyway.
# trusted = ["192.0.2.0/24"]"""
_NO_SERVER = """\
# No mail server was found that could be told who may relay. What is there when the daemon starts is found then; or
# write what pop-before-smtp.toml(5) says of [[mta]] and [[lookup]].
"""


def _source(section: "Section") -> str:
    """Write a source's table."""
    import json

    values = "".join(f"{key} = {json.dumps(value)}\n" for key, value in section.values.items())  # TOML's too
    return f'[[source]]\ntype = "{section.type}"\n{values}'
