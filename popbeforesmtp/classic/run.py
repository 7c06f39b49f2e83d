"""``pop-before-smtp`` without a subcommand: what the classic did, with its flags, exit status and words."""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from popbeforesmtp import __version__, config, daemon, detach, maillog, postconf, privileges, wiring
from popbeforesmtp.classic import bridge, options, words
from popbeforesmtp.classic.options import Options
from popbeforesmtp.classic.plan import PATHS, Plan, Weight
from popbeforesmtp.classic.reprocess import reprocess
from popbeforesmtp.clock import SystemClock
from popbeforesmtp.config import Settings
from popbeforesmtp.control import ask
from popbeforesmtp.errors import CannotCreateError, PopBeforeSmtpError, UnavailableError

STOPPED = 1
"""The classic's exit status after SIGTERM and SIGINT, and when its standard input ends."""


def main(arguments: Sequence[str]) -> int:
    """Do what the classic's command line asks for. Raises PopBeforeSmtpError."""
    asked = options.read(arguments)
    if asked.version:
        _print(f"version: {__version__}")
        if not asked.dumpconfig and not asked.list:
            return 0
    own = bridge.toml_path(asked)
    plan = bridge.make_plan(asked) if own is None else _plan_of_ours(asked, own)
    if asked.dumpconfig or asked.list:
        settings = None if own is None else bridge.override(config.load(own), asked)
        if asked.dumpconfig:
            _dump(asked, plan, own, settings)
        if asked.list:
            _print(words.holds(_listed(settings, plan)))
        return 0
    if plan.reprocess:
        if own is None:
            bridge.settings_of(plan)  # what cannot be run is said
        with _say(plan) as say:
            reprocess(plan, say)
        return 0
    return _run(asked, plan, own)


def _plan_of_ours(asked: Options, own: Path) -> Plan:
    """Make a plan of our own configuration with flags over it: what --reprocess and the log need to know."""
    settings = bridge.override(config.load(own), asked)
    source = next((each for each in settings.sources or () if each.type in ("file", "stdin")), None)
    formats = None if source is None else source.values.get("formats")
    return Plan(
        None,
        source=None if source is None else str(source.values.get("path", "-")),
        formats=list(map(str, formats)) if isinstance(formats, list) else None,
        logto=asked.logto,
        debug=bool(asked.debug),
        write=asked.write is not False,
        reprocess=bool(asked.reprocess),
        grace=int(settings.grace.total_seconds()),
    )


def _load(asked: Options, own: Path | None) -> tuple[Settings, Plan]:
    """Read the configuration, also again. Raises ConfigError."""
    if own is not None:
        return replace(bridge.override(config.load(own), asked), insecure_log=asked.insecure_log), _plan_of_ours(
            asked, own
        )
    plan = bridge.make_plan(asked)
    return replace(bridge.settings_of(plan), insecure_log=asked.insecure_log), plan


def _run(asked: Options, plan: Plan, own: Path | None) -> int:
    """Be the daemon, in the foreground or detached."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to read again
    settings, plan = _load(asked, own)
    for name in ("config", "daemon"):  # a detached daemon stands elsewhere
        path = getattr(asked, name)
        setattr(asked, name, path and path.absolute())
    for name in ("watchlog", "dbfile", "logto"):
        value = getattr(asked, name)
        if value not in (None, "-"):
            setattr(asked, name, str(Path(value).absolute()))
    own = own and own.absolute()
    if not plan.write:
        settings = bridge.without_writing(settings)
    fixed = settings.control
    try:
        wiring.check(settings)
        os.umask(detach.UMASK)
        if asked.daemon is not None:
            detach.refuse_stdin(settings)
            return detach.detached(asked.daemon, lambda ready: _be(asked, settings, plan, own, ready))
        _be(asked, settings, plan, own, lambda: None)
        return STOPPED
    finally:
        if not plan.write:
            with suppress(OSError):
                shutil.rmtree(fixed.parent)


def _be(asked: Options, settings: Settings, plan: Plan, own: Path | None, ready: Callable[[], None]) -> None:
    """Log as asked, say what is otherwise here, and be the daemon."""

    def load() -> Settings:
        again, _ = _load(asked, own)
        if not plan.write:
            return replace(again, mtas=(), lookups=(), store=settings.store, control=settings.control)
        return again

    def open_log(again: Settings) -> None:
        target = again.log
        if plan.logto == "-":
            target = "stdout"
        if asked.daemon is not None and target in ("stdout", "stderr"):
            target = "syslog"  # nobody reads what a detached process prints
        if plan.logto is None and not plan.syslog:
            maillog.open_log(target, debug=plan.debug)
        else:
            words.open_log(target, debug=plan.debug, count=int(plan.hold is not None))

    def is_ready() -> None:
        for weight in (Weight.LOST, Weight.NOTE):
            for finding in plan.of(weight):
                (maillog.warned if weight is Weight.LOST else maillog.found)(finding.sentence(plan.path))
        ready()

    if asked.user is not None:
        privileges.become(asked.user)
    open_log(settings)
    daemon.run(settings, SystemClock(), load=load, open_log=open_log, ready=is_ready)


def _dump(asked: Options, plan: Plan, own: Path | None, settings: Settings | None) -> None:
    """Answer --dumpconfig."""
    path = own or asked.config or next((path for path in PATHS if path.is_file()), PATHS[0])
    _print(f"config file: {path}")
    if settings is not None:
        for section in settings.sources or ():
            _print(f"watchlog: {section.values.get('path', '-')}")
        for section in settings.mtas or ():
            _print(f"dbfile: {str(section.values.get('map', section.type)).partition(':')[2]}")
        if plan.logto is not None or settings.log != "stderr":
            _print(f"logto: {plan.logto or settings.log}")
        return
    _print(f"watchlog: {plan.watchlog}")
    _print(f"dbfile: {plan.dbfile}")
    if plan.logto is not None:
        _print(f"logto: {plan.logto}")
    if plan.custom:
        _print("Using custom_match() subroutine for watchlog matching.")
    else:
        for name in ("pat", "out_pat"):
            text = plan.shown.get(f"${name}")
            if text is not None:
                _print(f'{name}: "{text}"')
    _print(f'logtime_pat: "{plan.logtime}"')


def _listed(settings: Settings | None, plan: Plan) -> list[str]:
    """Say who is let in: what the map holds, else what the daemon or the store know."""
    if settings is None:
        try:
            settings = bridge.settings_of(plan)
        except PopBeforeSmtpError:
            settings = Settings()
    for section in settings.mtas or ():
        name = str(section.values.get("map", ""))
        kind, _, path = name.partition(":")
        if section.type in ("postfix", "sendmail") and kind in ("hash", "btree", "lmdb"):
            ask_map = ("postmap", "-s", name) if section.type == "postfix" else ("makemap", "-u", kind, path)
            with suppress(UnavailableError):
                rows = postconf.run(*ask_map, seconds=30.0).splitlines()
                return [row.partition("\t")[0] for row in rows]
    answer = ask(settings.control, "list")
    if answer is not None:
        return [str(entry["address"]) for entry in answer]
    clock = SystemClock()
    try:
        store = wiring.open_store(settings.store, clock, make=False)
    except PopBeforeSmtpError:
        return []  # nothing was ever written
    try:
        return [str(entry.client) for entry in store.load(clock.now())]
    finally:
        store.close()


@contextmanager
def _say(plan: Plan) -> Iterator[Callable[[str], object]]:
    """Give what writes a line to where the plan's log goes. Raises CannotCreateError."""
    if plan.logto in (None, "-"):
        yield _print if plan.logto or plan.debug else lambda _: None
        return
    try:
        log = open(str(plan.logto), "a", encoding="utf-8", buffering=1)  # noqa: PTH123, SIM115
    except OSError as error:
        raise CannotCreateError(f"{plan.logto}: cannot be written: {error.strerror}; name another --logto") from None
    with log:
        yield lambda line: log.write(f"{line}\n")


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
