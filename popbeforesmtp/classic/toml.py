"""Writes what a classic configuration comes to as our own: the daemon reads just what ``migrate`` writes."""

from collections.abc import Iterator
from pathlib import Path

from popbeforesmtp.classic.plan import Plan, Weight, own_rules, plain, quoted

_PROGRAMS = "/usr/local/lib/pop-before-smtp"


def write(plan: Plan) -> str:
    """Return the text of a configuration."""
    return "\n".join([*_head(plan), *_top(plan), *_rules(plan), *_source(plan), *_map(plan)]) + "\n"


def _head(plan: Plan) -> Iterator[str]:
    origin = "the classic's defaults" if plan.path is None else plan.path
    yield f"# What {plain(str(origin))} comes to, as `pop-before-smtp migrate` reads it."
    titles = {
        Weight.STOP: "Cannot be run until it is written otherwise:",
        Weight.LOST: "Not carried over:",
        Weight.NOTE: "Otherwise than in the classic:",
    }
    for weight, title in titles.items():
        findings = plan.of(weight)
        if findings:
            yield f"#\n# {title}"
        yield from (f"# - {finding.sentence(plan.path)}" for finding in findings)
    yield "#\n# In every case:"
    yield "# - a window ends when it ends, not when the next line comes; a restart changes nobody's window"
    yield "# - IPv6 clients are let in too, where the server's format knows them"
    yield ""


def _top(plan: Plan) -> Iterator[str]:
    yield f'grace = "{plan.grace}s"'
    if plan.hold is not None:
        yield f'hold = "{plan.hold}"'
    if plan.syslog:
        yield 'log = "syslog"'
    elif plan.logto not in (None, "-"):
        yield f"log = {quoted(plan.logto)}"
    yield "lookup = []                        # the classic served none; without this line a socketmap is served too"
    if not plan.write:
        yield "mta = []                           # $write = 0"


def _rules(plan: Plan) -> Iterator[str]:
    if plan.trusted is not None:
        yield ""
        yield "[rules]"
        yield f"trusted = {quoted(plan.trusted)}"


def _source(plan: Plan) -> Iterator[str]:
    if plan.source is None and plan.formats is None:
        return
    yield ""
    yield "[[source]]"
    if plan.source == "-":
        yield 'type = "stdin"'
    else:
        yield 'type = "file"'
        yield f"path = {quoted(plan.source or plan.watchlog)}"
    if plan.formats is not None:
        yield f"formats = {quoted(plan.formats)}"


def _map(plan: Plan) -> Iterator[str]:
    if not plan.write:
        return
    yield ""
    yield "[[mta]]"
    match plan.output:
        case "tcprules":
            own = own_rules(plan)
            yield 'type = "command"'
            yield f"list = {quoted([f'{_PROGRAMS}/tcp-rules', own, plan.dbfile])}"
        case "courier":
            folder = Path(plan.dbfile)
            yield 'type = "command"'
            yield f"list = {quoted([f'{_PROGRAMS}/smtpaccess', str(folder / 'pop-before-smtp')])}"
        case "sendmail":
            yield 'type = "sendmail"'
            yield f"map = {quoted(f'hash:{plan.dbfile}')}"
            yield f"result = {quoted(plan.dbvalue)}"
        case kind:
            name = f"cdb:{plan.dbfile.removesuffix('.cdb')}" if kind == "cdb" else f"hash:{plan.dbfile}"
            yield 'type = "postfix"'
            yield f"map = {quoted(name)}"
            yield f"result = {quoted(plan.dbvalue)}"
