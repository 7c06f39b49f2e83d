"""Being a daemon: start in the right order, answer signals and commands, end in the right order.

Start: load the store, make every map equal to the active set, bind the sockets, and only then read the log. So a
mail server that asks finds the truth of before the restart, never an empty map.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from popbeforesmtp import __version__, detect, maillog, report, wiring
from popbeforesmtp.active import ActiveSet
from popbeforesmtp.answers import Answers
from popbeforesmtp.audit import Audit
from popbeforesmtp.blocking import Blocking
from popbeforesmtp.clock import Clock, Moment
from popbeforesmtp.config import Section, Settings
from popbeforesmtp.control import ControlServer
from popbeforesmtp.errors import ConfigError, PopBeforeSmtpError
from popbeforesmtp.following import Followed, share
from popbeforesmtp.model import Authorization, Reason, Tombstone
from popbeforesmtp.notify import Manager
from popbeforesmtp.outputs import Outputs, empty_forgotten
from popbeforesmtp.pipeline import Pipeline
from popbeforesmtp.recorder import Recorder
from popbeforesmtp.revocations import newest
from popbeforesmtp.rules import Rules, taken_back
from popbeforesmtp.rulesettings import Files
from popbeforesmtp.stores import Progress, Store
from popbeforesmtp.windows import Windows

_OWN_ADDRESSES_EVERY = 60.0  # seconds
_RULES_EVERY = 1.0  # seconds
_EARLIER = timedelta(
    minutes=5
)  # that logs are read from before the first moment that matters: lines stand out of order

OpenLog = Callable[[Settings], None]
"""Begins to log, or begins anew, as the settings say."""


def run(
    settings: Settings,
    clock: Clock,
    *,
    load: Callable[[], Settings],
    open_log: OpenLog,
    ready: Callable[[], None],
) -> None:
    """Be the daemon until SIGTERM or SIGINT, or until every source has ended.

    ``load`` reads the configuration again at SIGHUP; ``ready`` is called when the maps are true and the sockets answer.
    """
    asyncio.run(_Daemon(settings, clock, load, open_log, ready).run())


class _Daemon:
    """The parts of a running daemon, by the keys of the sections that asked for them."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        load: Callable[[], Settings],
        open_log: OpenLog,
        ready: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._load = load
        self._open_log = open_log
        self._ready = ready
        self._manager = Manager()
        self._answers = Answers(clock)
        self._stopped = False
        self._pipeline: Pipeline | None = None
        self._followed: dict[str, Followed] = {}
        self._outputs: Outputs | None = None
        self._rules_files = Files([])

    async def run(self) -> None:
        maillog.starting(__version__, os.getpid())
        if os.geteuid() == 0:
            maillog.found("running as root, which only maps in root's folders and `postfix reload` need; else --user")
        stop, reload = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, stop, signal.Signals(number).name)
        loop.add_signal_handler(signal.SIGHUP, reload.set)
        async with AsyncExitStack() as closing:
            closing.callback(self._manager.close)
            store = wiring.open_store(self._settings.store, self._clock, make=True)  # first: it tells two daemons apart
            recorder = Recorder(store)
            closing.push_async_callback(self._close_recorder, recorder)
            audit = Audit(self._settings.audit)
            closing.callback(lambda: (audit if self._pipeline is None else self._pipeline.windows.audit).close())
            control = ControlServer(self._settings.control, self._answers.by_name(), self._settings.control_group)
            await control.start()
            closing.push_async_callback(control.close)
            closing.push_async_callback(self._close_maps)
            closing.push_async_callback(self._close_parts)
            await self._until(stop.wait(), self._start(store, recorder, audit))
            pipeline = self._pipeline
            if pipeline is None or stop.is_set():
                return
            self._ready()
            self._manager.ready()
            await self._until(
                stop.wait(),
                pipeline.run(),
                self._reload_when(reload, pipeline),
                self._watch_own_addresses(pipeline),
                self._watch_rules(pipeline),
                self._manager.keep_alive(
                    lambda: pipeline.turned_at, lambda: report.summary(pipeline, self._clock.now())
                ),
            )
            if not stop.is_set():
                maillog.stopping("every source has ended")

    def _say(self, sentence: str) -> None:
        """Say what was found out, and keep it."""
        maillog.found(sentence)
        self._answers.found.append(sentence)

    async def _until(self, *work: Coroutine[Any, Any, object]) -> None:
        """Do several things at once until one of them ends; what went wrong in it ends the daemon."""
        tasks = [asyncio.create_task(coroutine) for coroutine in work]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in done:
            task.result()

    async def _start(self, store: Store, recorder: Recorder, audit: Audit) -> None:
        """Put the parts together, in the order in which they may begin."""
        found = await asyncio.to_thread(detect.find, self._settings, self._say, self._clock.now().wall)
        now = self._clock.now()
        store.set_stopped(None)
        store.purge(now)
        self._rules_files = Files(self._settings.rules.stamps())
        rules = self._rules(self._settings, found, store.tombstones())
        windows = Windows(
            active=ActiveSet(),
            recorder=recorder,
            publishers=[],
            clock=self._clock,
            audit=audit,
            limits=rules.limits,
            prefix=rules.ipv6_prefix,
        )
        held = _restore(store.load(now), windows, rules, now)
        progress = store.progress()
        self._followed = self._open_sources(self._settings, _sources(self._settings, found), progress, rules.longest)
        for lost in share(held, list(self._followed.values())):
            windows.close(lost)  # its log is followed no longer: nobody would see its session end
        recorder.start()
        empty_forgotten(store, _kept(self._settings, found))  # before the others: two names may mean one file
        blocking = Blocking(windows, self._clock)
        blocking.obey(None if self._settings.block is None else self._settings.block.limit)
        self._outputs = Outputs(self._settings, windows, blocking, self._clock)
        pipeline = Pipeline(
            followed=list(self._followed.values()),
            rules=rules,
            windows=windows,
            clock=self._clock,
            blocking=blocking,
        )
        # Another program may have kept the same map: whom the log explains does not lose a moment. And of sessions that
        # were open it tells which have ended: nobody is let in again for those, not for a moment.
        if held or not progress:
            await pipeline.catch_up()
        await self._outputs.start(found)
        self._pipeline = self._answers.pipeline = pipeline
        self._answers.lookups = self._outputs.lookups
        maillog.ready(len(windows.active))

    def _open_sources(
        self,
        settings: Settings,
        sources: Mapping[str, Section],
        progress: Mapping[str, Progress],
        longest: timedelta,
    ) -> dict[str, Followed]:
        """Open all sources that are not followed as they are, each where it was left off."""
        since = self._clock.now().wall - longest - _EARLIER
        return {
            key: self._followed.get(key)
            or wiring.open_source(section, progress, since, insecure=settings.insecure_log, own=settings.own_formats)
            for key, section in sources.items()
        }

    def _rules(self, settings: Settings, found: detect.Found, tombstones: Iterable[Tombstone]) -> Rules:
        """Put together what is configured, what was found out, and what was done by hand. Raises ConfigError."""
        written = settings.rules.rules(settings.grace, settings.hold)
        return replace(written, trusted=found.trusted, own=detect.own_addresses(), tombstones=newest(tombstones))

    async def _close_parts(self) -> None:
        """Stop answering and reading."""
        if self._outputs is not None:
            await self._outputs.stop_answering()
        for followed in self._followed.values():
            followed.source.close()

    async def _close_maps(self) -> None:
        if self._outputs is not None:
            await self._outputs.close()

    async def _close_recorder(self, recorder: Recorder) -> None:
        """Write what is waiting into the store, and let go of it."""
        await recorder.close(self._clock.now().wall if self._stopped else None)

    def _stop(self, stop: asyncio.Event, name: str) -> None:
        if not stop.is_set():
            maillog.stopping(name)
            self._manager.stopping()
        self._stopped = True
        stop.set()

    async def _reload_when(self, reload: asyncio.Event, pipeline: Pipeline) -> None:
        """Read the configuration again, each time SIGHUP comes."""
        while True:
            await reload.wait()
            reload.clear()
            try:
                await self._reload(pipeline)
            except Exception as error:  # noqa: BLE001 - what cannot be swapped in is no reason to stop
                why = error if isinstance(error, PopBeforeSmtpError) else repr(error)
                maillog.failed(f"the configuration was not read again, and everything stays as it was: {why}")
            else:
                maillog.reloaded()

    async def _reload(self, pipeline: Pipeline) -> None:
        """Build all that is new; only when all of it works, swap it in and let go of what is old."""
        settings = await asyncio.to_thread(self._load)
        settings = replace(settings, insecure_log=self._settings.insecure_log)
        wiring.check(settings)
        if _fixed(settings) != _fixed(self._settings):
            raise ConfigError(f"{settings.path}: [store] and control cannot change while the daemon runs; restart it")
        self._answers.found.clear()
        rules_files = Files(await asyncio.to_thread(settings.rules.stamps))
        found = await asyncio.to_thread(detect.find, settings, self._say, self._clock.now().wall)
        rules = self._rules(settings, found, pipeline.rules.tombstones.values())
        windows, outputs = pipeline.windows, self._outputs
        if outputs is None:
            return
        sources = await asyncio.to_thread(_sources, settings, found)
        async with AsyncExitStack() as undo:
            going = [old for key, old in self._followed.items() if key not in sources]
            pipeline.pause(going)  # what is read now would be read again
            undo.callback(pipeline.pause, going, paused=False)
            followed = self._open_sources(settings, sources, await windows.recorder.progress(), rules.longest)
            for key in followed.keys() - self._followed.keys():
                undo.callback(followed[key].source.close)
            swap = await outputs.prepare(settings, found, undo)
            audit = windows.audit if settings.audit == self._settings.audit else Audit(settings.audit)
            self._open_log(settings)
            left = await windows.recorder.entries(self._clock.now())
            await windows.recorder.keep_maps([wiring.map_key(section) for section in _kept(settings, found)])
            undo.pop_all()
        self._settings, self._followed, self._rules_files = settings, followed, rules_files
        if audit is not windows.audit:
            windows.audit.close()
            windows.audit = audit
        pipeline.follow(list(followed.values()))
        pipeline.obey(replace(rules, tombstones=pipeline.rules.tombstones), left)
        pipeline.rules_trouble = None
        await outputs.swap(swap)
        self._answers.lookups = outputs.lookups

    async def _watch_own_addresses(self, pipeline: Pipeline) -> None:
        """Notice when the host gets another address: from then on it is no client's."""
        while True:
            await asyncio.sleep(_OWN_ADDRESSES_EVERY)
            try:
                own = await asyncio.to_thread(detect.own_addresses)
            except OSError:
                continue  # what was known before holds on
            if own != pipeline.rules.own:
                pipeline.obey(replace(pipeline.rules, own=own))

    async def _watch_rules(self, pipeline: Pipeline) -> None:
        """Read the files of the rules again when they change; one that is wrong changes nothing, and is said once."""
        while True:
            await asyncio.sleep(_RULES_EVERY)
            settings = self._settings
            stamps = await asyncio.to_thread(settings.rules.stamps)
            if settings is not self._settings or not self._rules_files.changed(stamps):
                continue
            try:
                new = await asyncio.to_thread(settings.rules.rules, settings.grace, settings.hold)
            except PopBeforeSmtpError as error:
                self._rules_files.were_read(stamps)
                maillog.trouble(f"the rules stay as they were: {error}")
                pipeline.rules_trouble = str(error)
                continue
            again = await asyncio.to_thread(settings.rules.stamps)
            # The configuration was read again meanwhile, and these files with it; or what we read may be half of one.
            if settings is not self._settings or again != stamps:
                continue
            self._rules_files.were_read(stamps)
            found = pipeline.rules
            pipeline.obey(replace(new, trusted=found.trusted, own=found.own, tombstones=found.tombstones))
            pipeline.rules_trouble = None
            maillog.notice("the files of [rules] were read again")


def _restore(entries: Iterable[Authorization], windows: Windows, rules: Rules, now: Moment) -> list[Authorization]:
    """Take up all authorizations of before but those that hold no more; return the sessions that were held."""
    held, revoked = [], set()
    for kept in entries:
        reason = taken_back(kept, rules, now)
        if reason is Reason.REVOKED:  # cut short by a crash: other accounts on the address keep what they have
            windows.close(kept)
            revoked.add(kept.client)
        elif reason is not None:  # the configuration was changed while we were away
            windows.revoke(kept.client, reason)
        elif kept.rule == "hold" and not rules.hold:
            windows.close(kept)
        else:
            windows.restore(kept, now)
            held += [kept] if kept.rule == "hold" else []
    for client in revoked.difference(windows.active):
        windows.revoke(client, Reason.REVOKED)
    return held


def _kept(settings: Settings, found: detect.Found) -> tuple[Section, ...]:
    """Return what has to be emptied once it is configured no longer."""
    return (*found.mtas, *wiring.told_of_blocked(settings))


def _sources(settings: Settings, found: detect.Found) -> dict[str, Section]:
    """Return the sources by all that they are read by: where a format file of the administrator's changes, they do."""
    own = [f"{path.name} {_content(path)!r}" for path in sorted(wiring.FORMATS.glob("*.toml"))]
    return {f"{section.key} {own} {settings.own_formats}": section for section in found.sources}


def _content(path: Path) -> bytes:
    """Return what is in a file; nothing where it cannot be read, which whoever needs it says."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _fixed(settings: Settings) -> tuple[object, ...]:
    """Return what cannot change while the daemon runs."""
    return settings.store.key, settings.control, settings.control_group
