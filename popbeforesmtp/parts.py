"""The parts of a running daemon: put together at the start, swapped at a reload, let go of at the end.

Start: load the store, make every map equal to the active set, bind the sockets, and only then read the log. So a
mail server that asks finds the truth of before the restart, never an empty map. At the first start, and where sessions
were held, the log is read before, for five seconds at most.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from popbeforesmtp import detect, maillog, wiring
from popbeforesmtp.active import ActiveSet
from popbeforesmtp.answers import Answers
from popbeforesmtp.audit import Audit
from popbeforesmtp.blocking import Blocking
from popbeforesmtp.clock import Clock, Moment
from popbeforesmtp.config import Section, Settings
from popbeforesmtp.errors import ConfigError
from popbeforesmtp.following import Followed, share
from popbeforesmtp.model import Authorization, Reason, Tombstone
from popbeforesmtp.outputs import Outputs, empty_forgotten
from popbeforesmtp.pipeline import Pipeline
from popbeforesmtp.recorder import Recorder
from popbeforesmtp.revocations import newest
from popbeforesmtp.rules import Rules, taken_back
from popbeforesmtp.rulesettings import NO_RULES, Files
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
        self.rules_files = Files([])  # those that the rules were read from
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
        self.rules_files = Files(self.settings.rules.stamps())
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
        held = _restore(store.load(now), windows, rules, now)
        progress = store.progress()
        self._followed = self._open_sources(self.settings, _sources(self.settings, found), progress, rules.longest)
        for lost in share(held, list(self._followed.values())):
            windows.close(lost)  # its log is followed no longer: nobody would see its session end
        recorder.start()
        kept = _kept(self.settings, found)
        if set(store.maps()) != set(map(wiring.map_key, kept)):
            for section in kept:  # one that cannot be opened ends the start before anything changes
                wiring.open_map(section, self.settings.rules if section in found.mtas else NO_RULES)
        empty_forgotten(store, kept)  # before the others: two names may mean one file
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
        # Another program may have kept the same map: whom the log explains does not lose a moment. And of sessions that
        # were open it tells which have ended: nobody is let in again for those, not for a moment.
        if held or not progress:
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
        rules_files = Files(await asyncio.to_thread(settings.rules.stamps))
        found = await asyncio.to_thread(detect.find, settings, self._say, self._clock.now().wall)
        rules = self._rules(settings, found, pipeline.rules.tombstones.values())
        windows = pipeline.windows
        sources = await asyncio.to_thread(_sources, settings, found)
        async with AsyncExitStack() as undo:
            going = [old for key, old in self._followed.items() if key not in sources]
            pipeline.pause(going)  # what is read now would be read again
            undo.callback(pipeline.pause, going, paused=False)
            followed = self._open_sources(settings, sources, await windows.recorder.progress(), rules.longest)
            for key in followed.keys() - self._followed.keys():
                undo.callback(followed[key].source.close)
            swap = await outputs.prepare(settings, found, undo)
            audit = windows.audit if settings.audit == self.settings.audit else Audit(settings.audit)
            open_log(settings)
            left = await windows.recorder.entries(self._clock.now())
            await windows.recorder.keep_maps([wiring.map_key(section) for section in _kept(settings, found)])
            undo.pop_all()
        self.settings, self._followed, self.rules_files = settings, followed, rules_files
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

    def _open_sources(
        self,
        settings: Settings,
        sources: Mapping[str, Section],
        progress: Mapping[str, Progress],
        longest: timedelta,
    ) -> dict[str, Followed]:
        """Open all sources that are not followed as they are, each where it was left off."""
        since = self._clock.now().wall - longest - EARLIER
        return {
            key: self._followed.get(key)
            or wiring.open_source(section, progress, since, insecure=settings.insecure_log, own=settings.own_formats)
            for key, section in sources.items()
        }

    def _rules(self, settings: Settings, found: detect.Found, tombstones: Iterable[Tombstone]) -> Rules:
        """Put together what is configured, what was found out, and what was done by hand. Raises ConfigError."""
        written = settings.rules.rules(settings.grace, settings.hold)
        return replace(written, trusted=found.trusted, own=detect.own_addresses(), tombstones=newest(tombstones))


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
