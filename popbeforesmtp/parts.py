"""The parts of a running daemon: put together at the start, swapped at a reload, let go of at the end.

Start: load the store, make every map equal to the active set, bind the sockets, and only then read the log. So a
mail server that asks finds the truth of before the restart, never an empty map.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime, timedelta

from popbeforesmtp import detect, maillog, wiring
from popbeforesmtp.active import ActiveSet
from popbeforesmtp.answers import Answers
from popbeforesmtp.audit import Audit
from popbeforesmtp.blocking import Blocking
from popbeforesmtp.clock import Clock, Moment
from popbeforesmtp.config import Section, Settings
from popbeforesmtp.errors import ConfigError
from popbeforesmtp.following import Followed, share
from popbeforesmtp.model import Authorization, Tombstone
from popbeforesmtp.outputs import Outputs, empty_forgotten
from popbeforesmtp.pipeline import Pipeline
from popbeforesmtp.recorder import Recorder
from popbeforesmtp.revocations import newest
from popbeforesmtp.rules import Rules, taken_back
from popbeforesmtp.rulesettings import Stamps
from popbeforesmtp.stores import Progress, Store
from popbeforesmtp.windows import Windows

EARLIER = timedelta(minutes=5)
"""How long before the first moment that matters logs are read from: lines stand out of order."""

OpenLog = Callable[[Settings], None]
"""Begins to log, or begins anew, as the settings say."""


class Parts:
    """What a daemon consists of, by the keys of the sections that asked for it."""

    def __init__(self, settings: Settings, clock: Clock, answers: Answers) -> None:
        self.settings = settings
        self.rules_known: Stamps = []  # of the files that the rules were read from
        self.pipeline: Pipeline | None = None  # None until all have been put together
        self._clock = clock
        self._answers = answers
        self._followed: dict[str, Followed] = {}
        self._outputs: Outputs | None = None

    async def start(self, store: Store, recorder: Recorder, audit: Audit) -> None:
        """Put the parts together, in the order in which they may begin."""
        found = await asyncio.to_thread(detect.find, self.settings, self._say, self._clock.now().wall)
        now = self._clock.now()
        store.set_stopped(None)
        store.purge(now)
        self.rules_known = self.settings.rules.stamps()
        rules = self._rules(self.settings, found, store.tombstones())
        windows = Windows(
            active=ActiveSet(),
            recorder=recorder,
            publishers=[],
            clock=self._clock,
            audit=audit,
            limits=rules.limits,
            prefix=rules.ipv6_prefix,
        )
        held = _restore(store, windows, rules, now)
        progress = store.progress()
        since = now.wall - rules.longest - EARLIER
        self._followed = {section.key: self._open_source(section, progress, since) for section in found.sources}
        for lost in share(held, list(self._followed.values())):
            windows.close(lost)  # its log is followed no longer: nobody would see its session end
        recorder.start()
        empty_forgotten(store, _kept(self.settings, found))  # before the others: two names may mean one file
        blocking = Blocking(windows, self._clock)
        blocking.obey(None if self.settings.block is None else self.settings.block.limit)
        self._outputs = Outputs(self.settings, windows, blocking, self._clock)
        pipeline = Pipeline(
            followed=list(self._followed.values()),
            rules=rules,
            windows=windows,
            clock=self._clock,
            blocking=blocking,
        )
        if not progress:  # another program may have kept the same map: whom the log explains does not lose a moment
            await pipeline.catch_up()
        await self._outputs.start(found)
        self.pipeline = self._answers.pipeline = pipeline
        self._answers.lookups = self._outputs.lookups
        maillog.ready(len(windows.active))

    async def reload(self, settings: Settings, open_log: OpenLog) -> None:
        """Build all that is new; only when all of it works, swap it in and let go of what is old.

        Raises what cannot be built; then everything is as it was.
        """
        pipeline, outputs = self.pipeline, self._outputs
        if pipeline is None or outputs is None:
            return
        settings = replace(settings, insecure_log=self.settings.insecure_log)
        wiring.check(settings)
        if _fixed(settings) != _fixed(self.settings):
            raise ConfigError(f"{settings.path}: [store] and control cannot change while the daemon runs; restart it")
        self._answers.found.clear()
        rules_known = await asyncio.to_thread(settings.rules.stamps)
        found = await asyncio.to_thread(detect.find, settings, self._say, self._clock.now().wall)
        rules = self._rules(settings, found, pipeline.rules.tombstones.values())
        windows = pipeline.windows
        progress = await windows.recorder.progress()
        since = self._clock.now().wall - rules.longest - EARLIER
        followed = {
            section.key: self._followed.get(section.key) or self._open_source(section, progress, since)
            for section in found.sources
        }
        async with AsyncExitStack() as undo:
            swap = await outputs.prepare(settings, found, undo)
            audit = windows.audit if settings.audit == self.settings.audit else Audit(settings.audit)
            open_log(settings)
            left = await windows.recorder.entries(self._clock.now())
            await windows.recorder.keep_maps([wiring.map_key(section) for section in _kept(settings, found)])
            undo.pop_all()
        self.settings, self._followed, self.rules_known = settings, followed, rules_known
        if audit is not windows.audit:
            windows.audit.close()
            windows.audit = audit
        pipeline.follow(list(followed.values()))
        pipeline.obey(replace(rules, tombstones=pipeline.rules.tombstones), left)
        pipeline.rules_trouble = None
        await outputs.swap(swap)
        self._answers.lookups = outputs.lookups

    async def stop(self) -> None:
        """Stop answering and reading."""
        if self._outputs is not None:
            await self._outputs.stop_answering()
        for followed in self._followed.values():
            followed.source.close()

    async def close_maps(self) -> None:
        """Write what is waiting into the maps, and let go of them."""
        if self._outputs is not None:
            await self._outputs.close()

    def _say(self, sentence: str) -> None:
        """Say what was found out, and keep it for ``status``."""
        maillog.found(sentence)
        self._answers.found.append(sentence)

    def _open_source(self, section: Section, progress: Mapping[str, Progress], since: datetime) -> Followed:
        return wiring.open_source(
            section, progress, since, insecure=self.settings.insecure_log, own=self.settings.own_formats
        )

    def _rules(self, settings: Settings, found: detect.Found, tombstones: Iterable[Tombstone]) -> Rules:
        """Put together what is configured, what was found out, and what was done by hand. Raises ConfigError."""
        written = settings.rules.rules(settings.grace, settings.hold)
        return replace(written, trusted=found.trusted, own=detect.own_addresses(), tombstones=newest(tombstones))


def _restore(store: Store, windows: Windows, rules: Rules, now: Moment) -> list[Authorization]:
    """Take up what the store kept, as far as it still holds; return those of sessions that were open."""
    held = []
    for kept in store.load(now):
        reason = taken_back(kept, rules, now)
        if reason is not None:  # the configuration was changed while we were away, or a revocation was cut short
            windows.revoke(kept.client, reason)
        elif kept.rule == "hold" and not rules.hold:
            windows.recorder.closed(kept.client, kept.key)
        else:
            windows.restore(kept, now)
            held += [kept] if kept.rule == "hold" else []
    return held


def _kept(settings: Settings, found: detect.Found) -> tuple[Section, ...]:
    """Return what has to be emptied once it is configured no longer."""
    return (*found.mtas, *wiring.told_of_blocked(settings))


def _fixed(settings: Settings) -> tuple[object, ...]:
    """Return what cannot change while the daemon runs."""
    return settings.store.key, settings.control, settings.control_group
