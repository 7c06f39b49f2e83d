"""Being a daemon: start in the right order, answer signals and commands, end in the right order.

Start: load the store, make every map equal to the active set, bind the sockets, and only then read the log. So a
mail server that asks finds the truth of before the restart, never an empty map.
"""

import asyncio
import os
import signal
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, replace
from typing import Any

from popbeforesmtp import __version__, detect, maillog, wiring
from popbeforesmtp.active import ActiveSet, restore
from popbeforesmtp.addresses import parse_address
from popbeforesmtp.clock import Clock
from popbeforesmtp.config import Settings
from popbeforesmtp.control import ControlServer
from popbeforesmtp.lookups import Lookup
from popbeforesmtp.model import Authorization
from popbeforesmtp.pipeline import Followed, Pipeline
from popbeforesmtp.publisher import Publisher
from popbeforesmtp.recorder import Recorder
from popbeforesmtp.rules import Rules
from popbeforesmtp.text import utc

_OWN_ADDRESSES_EVERY = 60.0  # seconds


def run(settings: Settings, clock: Clock) -> None:
    """Be the daemon until SIGTERM or SIGINT, or until every source has ended."""
    asyncio.run(_Daemon(settings, clock).run())


class _Daemon:
    """The parts of a running daemon."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._started = clock.now()
        self._pipeline: Pipeline | None = None
        self._lookups: list[Lookup] = []

    async def run(self) -> None:
        maillog.starting(__version__, os.getpid())
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, stop, signal.Signals(number).name)
        async with AsyncExitStack() as closing:
            control = ControlServer(
                self._settings.control, {"check": self._check, "list": self._list, "status": self._status}
            )
            await control.start()  # first: it tells two daemons apart
            closing.push_async_callback(control.close)
            pipeline = await self._start(closing)
            tasks = [
                asyncio.create_task(stop.wait(), name="stop"),
                asyncio.create_task(pipeline.run(), name="pipeline"),
                asyncio.create_task(self._watch_own_addresses(pipeline), name="own addresses"),
            ]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not stop.is_set():
                maillog.stopping("every source has ended")
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for task in done:
                task.result()  # what went wrong inside ends the daemon; the service manager starts it again

    async def _start(self, closing: AsyncExitStack) -> Pipeline:
        """Put the parts together, in the order in which they may begin."""
        found = detect.find(self._settings, maillog.found)
        now = self._clock.now()
        store = wiring.open_store(self._settings.store, self._clock, make=True)
        recorder = Recorder(store)
        closing.push_async_callback(recorder.close)
        store.purge(now)
        active = ActiveSet(now)
        restore(active, store.load(now), now)
        progress = store.progress()
        followed = [wiring.open_source(section, progress) for section in found.sources]
        recorder.start()

        publishers = []
        for section in found.mtas:
            publisher = Publisher(wiring.open_map(section), active)
            closing.push_async_callback(publisher.close)
            await publisher.make_true()
            publisher.start()
            publishers.append(publisher)

        pipeline = Pipeline(
            followed=followed,
            read_event=wiring.engine().read,
            rules=Rules(self._settings.grace, found.trusted, self._settings.never, detect.own_addresses()),
            active=active,
            recorder=recorder,
            publishers=publishers,
            clock=self._clock,
        )
        closing.callback(pipeline.close)
        for section in found.lookups:
            lookup = wiring.open_lookup(section)
            await lookup.start(pipeline.permits)
            closing.push_async_callback(lookup.close)
            self._lookups.append(lookup)
        self._pipeline = pipeline
        maillog.ready(len(active))
        return pipeline

    def _stop(self, stop: asyncio.Event, name: str) -> None:
        if not stop.is_set():
            maillog.stopping(name)
        stop.set()

    async def _watch_own_addresses(self, pipeline: Pipeline) -> None:
        """Notice when the host gets another address: from then on it is no client's."""
        while True:
            await asyncio.sleep(_OWN_ADDRESSES_EVERY)
            own = await asyncio.to_thread(detect.own_addresses)
            pipeline.rules = replace(pipeline.rules, own=own)

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
        return [describe(entry) for entry in entries if self._pipeline.active.permits(entry.client, now)]

    async def _status(self, _: Mapping[str, Any]) -> object:
        pipeline = self._pipeline
        common = {"version": __version__, "pid": os.getpid(), "started_at": self._started.wall.isoformat()}
        if pipeline is None:
            return {**common, "state": "starting", "warnings": ["the daemon is still starting"]}
        troubles = [f"{followed.source.name}: {followed.trouble}" for followed in pipeline.followed if followed.trouble]
        troubles += [f"{publisher.name}: {publisher.trouble}" for publisher in pipeline.publishers if publisher.trouble]
        troubles += [pipeline.recorder.trouble] if pipeline.recorder.trouble else []
        sources = [_describe_source(followed) for followed in pipeline.followed]
        troubles += [
            f"{source['name']}: {source['state']}"
            for source in sources
            if source["size"] is None and source["state"] != "reading"
        ]
        return {
            **common,
            "state": "running",
            "authorizations": len(pipeline.active),
            "counts": dict(pipeline.counts),
            "sources": sources,
            "maps": [{"name": publisher.name, "trouble": publisher.trouble} for publisher in pipeline.publishers],
            "lookups": [asdict(lookup.report()) for lookup in self._lookups],
            "warnings": troubles,
        }


def describe(entry: Authorization) -> dict[str, object]:
    """Say all about an authorization, for ``list --json``."""
    return {
        "address": entry.client,
        "expires_at": entry.expires_at.isoformat(),
        "user": entry.user,
        "service": entry.service,
        "login_at": entry.login_at.isoformat(),
        "rule": entry.rule,
        "format": entry.format,
        "file": entry.origin.source,
        "offset": entry.origin.offset,
    }


def _describe_source(followed: Followed) -> dict[str, object]:
    report = followed.source.report()
    return {
        **asdict(report),
        "lines": followed.lines,
        "unknown_headers": followed.unknown_headers,
        "last_line_at": None if followed.last_line_at is None else utc(followed.last_line_at),
        "trouble": followed.trouble,
    }
