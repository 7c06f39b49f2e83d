"""The command line: one sentence and an exit status for every error. Each subcommand is a file of ``commands``."""

import argparse
import errno
import importlib
import io
import os
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from popbeforesmtp import __version__, commands
from popbeforesmtp.classic import options as classic
from popbeforesmtp.errors import PopBeforeSmtpError, UsageError
from popbeforesmtp.text import visible

_DESCRIPTION = """\
Lets a client address relay mail for a while after its user logged in to the POP or IMAP server.

Follows the mail log or the journal, and keeps the mail server informed through live answers and access maps. Without
any configuration it uses what it finds on this machine, and says so.

Without a command it is the Perl daemon of this name, with its flags: pop-before-smtp-classic(7)."""

_EPILOG = """\
exit status: 0 done; 1 a question answered with no; 64 usage; 65 data; 69 something is not there or not available;
70 a fault of the program; 73 cannot create; 74 the store cannot be read or written; 77 not permitted;
78 configuration (sysexits(3))."""


class _Parser(argparse.ArgumentParser):
    """Complains in one sentence, with the exit status of sysexits(3)."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; try `{self.prog} --help`")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command ``pop-before-smtp`` and return its exit status."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # it was closed by whoever ran us
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - it takes a stream's place
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal may not know a letter of somebody's name
        sys.stdout.reconfigure(errors="backslashreplace")
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        if classic.is_classic(words):
            from popbeforesmtp.classic import run

            return run.main(words)
        parsed = _parser(words).parse_args(words)
        status: int = parsed.run(parsed)
        sys.stdout.flush()
    except PopBeforeSmtpError as error:
        print(f"pop-before-smtp: {visible(str(error))}", file=sys.stderr)  # noqa: T201
        return error.exit_status
    except BrokenPipeError:  # whoever read our output has enough
        _drop_output()
        return 0
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename is not None:
            return _fault(error, words)
        _drop_output()
        print("pop-before-smtp: standard output is full; write it elsewhere", file=sys.stderr)  # noqa: T201 - ours to say
        return os.EX_IOERR
    except Exception as error:  # noqa: BLE001 - a fault of the program: its users get a sentence too
        return _fault(error, words)
    return status


def _fault(error: Exception, words: Sequence[str]) -> int:
    if "--debug" in words:
        raise error
    print(f"pop-before-smtp: internal error: {error!r}; please report it", file=sys.stderr)  # noqa: T201
    return os.EX_SOFTWARE


def _drop_output() -> None:
    """Let what is still to be written go nowhere, or Python complains about it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """Make the parser: of one command, where the first word names one, for the others take their time."""
    parser = _Parser(
        prog="pop-before-smtp",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"version: {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    modules = (module.name for module in pkgutil.iter_modules(commands.__path__))
    names = sorted(name for name in modules if not name.startswith("_"))
    for name in words[:1] if words[:1] and words[0] in names else names:
        command = importlib.import_module(f"popbeforesmtp.commands.{name}")
        first, _, _ = (command.__doc__ or "").partition("\n")
        sub = subparsers.add_parser(
            name,
            help=first.rstrip("."),
            description=command.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.add_arguments(sub)
        sub.set_defaults(run=command.run)
    return parser
