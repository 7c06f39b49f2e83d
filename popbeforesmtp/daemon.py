"""Being a daemon: start in the right order, answer signals and commands, end in the right order.

Start: load the store, make every map equal to the active set, bind the sockets, and only then read the log. So a
mail server that asks finds the truth of before the restart, never an empty map.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from popbeforesmtp import __version__, detect, maillog, report, wiring
from popbeforesmtp.active import ActiveSet
from popbeforesmtp.addresses import parse_address
from popbeforesmtp.clock import Clock
from popbeforesmtp.config import Section, Settings
from popbeforesmtp.control import ControlServer
from popbeforesmtp.errors import ConfigError, PopBeforeSmtpError
from popbeforesmtp.following import Followed
from popbeforesmtp.lookups import Lookup
from popbeforesmtp.notify import Manager
from popbeforesmtp.pipeline import Pipeline
from popbeforesmtp.publisher import Publisher
from popbeforesmtp.recorder import Recorder
from popbeforesmtp.rules import Rules, bar
from popbeforesmtp.stores import Progress, Store

_OWN_ADDRESSES_EVERY = 60.0  # seconds
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
        self._started = clock.now()
        self._stopped = False
        self._found: list[str] = []  # what was found out at the start or the last reload, for status
        self._pipeline: Pipeline | None = None
        self._followed: dict[str, Followed] = {}
        self._publishers: dict[str, Publisher] = {}
        self._map_sections: dict[str, Section] = {}
        self._lookups: dict[str, Lookup] = {}

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
            answers = {"check": self._check, "list": self._list, "status": self._status}
            closing.callback(self._manager.close)
            store = wiring.open_store(self._settings.store, self._clock, make=True)  # first: it tells two daemons apart
            recorder = Recorder(store)
            closing.push_async_callback(self._close_recorder, recorder)
            control = ControlServer(self._settings.control, answers, self._settings.control_group)
            await control.start()
            closing.push_async_callback(control.close)
            closing.push_async_callback(self._close_publishers)
            closing.push_async_callback(self._close_parts)
            await self._until(stop.wait(), self._start(store, recorder))
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
                self._manager.keep_alive(
                    lambda: pipeline.turned_at, lambda: report.summary(pipeline, self._clock.now())
                ),
            )
            if not stop.is_set():
                maillog.stopping("every source has ended")

    def _say(self, sentence: str) -> None:
        """Say what was found out, and keep it."""
        maillog.found(sentence)
        self._found.append(sentence)

    async def _until(self, *work: Coroutine[Any, Any, object]) -> None:
        """Do several things at once until one of them ends; what went wrong in it ends the daemon."""
        tasks = [asyncio.create_task(coroutine) for coroutine in work]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in done:
            task.result()

    async def _start(self, store: Store, recorder: Recorder) -> None:
        """Put the parts together, in the order in which they may begin."""
        found = await asyncio.to_thread(detect.find, self._settings, self._say, self._clock.now().wall)
        now = self._clock.now()
        store.set_stopped(None)
        store.purge(now)
        active, rules = ActiveSet(), self._rules(self._settings, found)
        for kept in store.load(now):
            reason = bar(kept.client, rules)
            if reason is None:
                active.grant(kept, now)
            else:  # the configuration was changed while we were away
                maillog.revoked(kept.client, reason)
                recorder.ended(kept.client)
        progress = store.progress()
        since = now.wall - self._settings.grace - _EARLIER
        self._followed = {section.key: self._open_source(section, progress, since) for section in found.sources}
        recorder.start()
        self._map_sections = {section.key: section for section in found.mtas}
        self._empty_forgotten(store, found.mtas)  # before the others: two names may mean one file
        for section in found.mtas:
            self._publishers[section.key] = publisher = Publisher(wiring.open_map(section), active)
            await publisher.make_true()
            publisher.start()
            maillog.found(f"access map: {publisher.name}")
        pipeline = Pipeline(
            followed=list(self._followed.values()),
            rules=rules,
            active=active,
            recorder=recorder,
            publishers=list(self._publishers.values()),
            clock=self._clock,
        )
        for section in found.lookups:
            self._lookups[section.key] = lookup = wiring.open_lookup(section)
            await lookup.start(pipeline.permits)
        self._pipeline = pipeline
        maillog.ready(len(active))

    def _open_source(self, section: Section, progress: Mapping[str, Progress], since: datetime) -> Followed:
        return wiring.open_source(
            section, progress, since, insecure=self._settings.insecure_log, own=self._settings.own_formats
        )

    def _empty_forgotten(self, store: Store, sections: Sequence[Section]) -> None:
        """Take everybody out of the maps that were named before and are no longer, for nobody looks after them now."""
        failed = []
        for section in wiring.forgotten_maps(store.maps(), sections):
            try:
                left = wiring.open_map(section)
                left.replace([])
                left.close()
                maillog.notice(f"{left.name} is configured no longer; it was emptied")
            except PopBeforeSmtpError as error:
                failed.append(f"{section.type} {section.values['map']}")
                maillog.failed(f"{section.values['map']} is configured no longer, and could not be emptied: {error}")
        store.set_maps([*failed, *map(wiring.map_key, sections)])

    def _rules(self, settings: Settings, found: detect.Found) -> Rules:
        return Rules(settings.grace, found.trusted, settings.never, detect.own_addresses())

    async def _close_parts(self) -> None:
        """Stop answering and reading."""
        for lookup in self._lookups.values():
            await lookup.close()
        for followed in self._followed.values():
            followed.source.close()

    async def _close_publishers(self) -> None:
        """Write what is waiting into the maps, and let go of them."""
        for publisher in self._publishers.values():
            await publisher.close()

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
        self._found.clear()
        found = await asyncio.to_thread(detect.find, settings, self._say, self._clock.now().wall)
        progress = await pipeline.recorder.progress()
        since = self._clock.now().wall - settings.grace - _EARLIER
        followed = {
            section.key: self._followed.get(section.key) or self._open_source(section, progress, since)
            for section in found.sources
        }
        async with AsyncExitStack() as undo:
            publishers = await self._new_publishers(found, pipeline, undo)
            lookups = await self._new_lookups(found, pipeline, undo)
            self._open_log(settings)
            names = {publisher.name for publisher in publishers.values()}
            for publisher in self._publishers.values():
                if publisher.name not in names:  # nobody would take anybody out of it any more
                    undo.callback(publisher.owe)
                    await publisher.empty()
            undo.pop_all()
        await pipeline.recorder.keep_maps([wiring.map_key(section) for section in found.mtas])
        old_publishers, self._publishers = self._publishers, publishers
        self._map_sections = {section.key: section for section in found.mtas}
        self._settings, self._followed, self._lookups = settings, followed, lookups
        pipeline.publishers = list(publishers.values())
        pipeline.follow(list(followed.values()))
        pipeline.obey(self._rules(settings, found))
        for publisher in old_publishers.values():
            if publisher.name not in names:
                await publisher.close(empty=True)

    async def _new_publishers(
        self, found: detect.Found, pipeline: Pipeline, undo: AsyncExitStack
    ) -> dict[str, Publisher]:
        """Make the maps that are new true; who comes and goes meanwhile is told to them too."""
        publishers = {}
        for section in found.mtas:
            publisher = self._publishers.get(section.key)
            if publisher is None:
                access_map = wiring.open_map(section)
                same = next((key for key, old in self._publishers.items() if old.name == access_map.name), None)
                if same is not None:  # the same file, to be written otherwise: one publisher at a time
                    await self._publishers[same].close()
                    undo.push_async_callback(self._revive, same, pipeline)
                publisher = Publisher(access_map, pipeline.active)
                undo.push_async_callback(publisher.close, empty=same is None)
                undo.callback(setattr, pipeline, "publishers", list(self._publishers.values()))
                pipeline.publishers = [*pipeline.publishers, publisher]
                await publisher.make_true()
                publisher.start()
            publishers[section.key] = publisher
        return publishers

    async def _revive(self, key: str, pipeline: Pipeline) -> None:
        """Take a map up again that was let go for a new one that did not come to be."""
        self._publishers[key] = publisher = Publisher(wiring.open_map(self._map_sections[key]), pipeline.active)
        pipeline.publishers = list(self._publishers.values())
        await publisher.make_true()
        publisher.start()

    async def _new_lookups(self, found: detect.Found, pipeline: Pipeline, undo: AsyncExitStack) -> dict[str, Lookup]:
        """Stop the lookups that are gone, for a new one may want their sockets, and start the new ones."""
        wanted = {section.key: section for section in found.lookups}
        for key, lookup in self._lookups.items():
            if key not in wanted:
                await lookup.close()
                undo.push_async_callback(lookup.start, pipeline.permits)
        lookups = {}
        for key, section in wanted.items():
            kept = self._lookups.get(key)
            if kept is None:
                kept = wiring.open_lookup(section)
                await kept.start(pipeline.permits)
                undo.push_async_callback(kept.close)
            lookups[key] = kept
        return lookups

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

    async def _check(self, question: Mapping[str, Any]) -> object:
        client = parse_address(str(question.get("address")))
        expires_at = None
        if client is not None and self._pipeline is not None:
            expires_at = self._pipeline.active.expires_at(client, self._clock.now())
        return {"expires_at": None if expires_at is None else expires_at.isoformat()}

    async def _list(self, _: Mapping[str, Any]) -> object:
        if self._pipeline is None:
            return []
        now = self._clock.now()
        entries = await self._pipeline.recorder.entries(now)
        return [report.describe(entry) for entry in entries if self._pipeline.active.permits(entry.client, now)]

    async def _status(self, _: Mapping[str, Any]) -> object:
        common: dict[str, object] = {
            "version": __version__,
            "pid": os.getpid(),
            "started_at": self._started.wall.isoformat(),
        }
        if self._pipeline is None:
            return {**common, "state": "starting", "warnings": ["the daemon is still starting"]}
        common["found"] = self._found
        return {**common, **report.status(self._pipeline, self._lookups.values(), self._clock.now())}


def _fixed(settings: Settings) -> tuple[object, ...]:
    """Return what cannot change while the daemon runs."""
    return settings.store.key, settings.control, settings.control_group
