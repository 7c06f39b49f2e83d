"""Being a daemon: start and end in the right order, answer signals, and notice what changes outside."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from popbeforesmtp import __version__, detect, maillog, report, wiring
from popbeforesmtp.answers import Answers
from popbeforesmtp.audit import Audit
from popbeforesmtp.clock import Clock
from popbeforesmtp.config import Settings
from popbeforesmtp.control import ControlServer
from popbeforesmtp.errors import PopBeforeSmtpError
from popbeforesmtp.notify import Manager
from popbeforesmtp.parts import OpenLog, Parts
from popbeforesmtp.pipeline import Pipeline
from popbeforesmtp.recorder import Recorder

_OWN_ADDRESSES_EVERY = 60.0  # seconds
_RULES_EVERY, _NO_RULES_EVERY = 1.0, 5.0  # seconds; where they name no file, as nearly always, nobody need be woken


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
    """One run of the daemon, from the first signal handler to the last thing that is closed."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        load: Callable[[], Settings],
        open_log: OpenLog,
        ready: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._load = load
        self._open_log = open_log
        self._ready = ready
        self._manager = Manager()
        self._answers = Answers(clock)
        self._parts = Parts(settings, clock, self._answers)
        self._stopped = False

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
            settings, parts = self._parts.settings, self._parts
            store = wiring.open_store(settings.store, self._clock, make=True)  # first: it tells two daemons apart
            recorder = Recorder(store)
            closing.push_async_callback(self._close_recorder, recorder)
            audit = Audit(settings.audit)
            closing.callback(lambda: (audit if parts.pipeline is None else parts.pipeline.windows.audit).close())
            control = ControlServer(settings.control, self._answers.by_name(), settings.control_group)
            await control.start()
            closing.push_async_callback(control.close)
            closing.push_async_callback(parts.close_maps)
            closing.push_async_callback(parts.stop)
            await _until(stop.wait(), parts.start(store, recorder, audit))
            pipeline = parts.pipeline
            if pipeline is None or stop.is_set():
                return
            self._ready()
            self._manager.ready()
            await _until(
                stop.wait(),
                pipeline.run(),
                self._reload_when(reload),
                _watch_own_addresses(pipeline),
                _watch_rules(parts, pipeline),
                self._manager.keep_alive(
                    lambda: pipeline.turned_at, lambda: report.summary(pipeline, self._clock.now())
                ),
            )
            if not stop.is_set():
                maillog.stopping("every source has ended")

    async def _close_recorder(self, recorder: Recorder) -> None:
        """Write what is waiting into the store, and let go of it."""
        await recorder.close(self._clock.now().wall if self._stopped else None)

    def _stop(self, stop: asyncio.Event, name: str) -> None:
        if not stop.is_set():
            maillog.stopping(name)
            self._manager.stopping()
        self._stopped = True
        stop.set()

    async def _reload_when(self, reload: asyncio.Event) -> None:
        """Read the configuration again, each time SIGHUP comes."""
        while True:
            await reload.wait()
            reload.clear()
            try:
                await self._parts.reload(await asyncio.to_thread(self._load), self._open_log)
            except Exception as error:  # noqa: BLE001 - what cannot be swapped in is no reason to stop
                why = error if isinstance(error, PopBeforeSmtpError) else repr(error)
                maillog.failed(f"the configuration was not read again, and everything stays as it was: {why}")
            else:
                maillog.reloaded()


async def _until(*work: Coroutine[Any, Any, object]) -> None:
    """Do several things at once until one of them ends; what went wrong in it ends the daemon."""
    tasks = [asyncio.create_task(coroutine) for coroutine in work]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in done:
        task.result()


async def _watch_own_addresses(pipeline: Pipeline) -> None:
    """Notice when the host gets another address: from then on it is no client's."""
    while True:
        await asyncio.sleep(_OWN_ADDRESSES_EVERY)
        try:
            own = await asyncio.to_thread(detect.own_addresses)
        except OSError:
            continue  # what was known before holds on
        if own != pipeline.rules.own:
            pipeline.obey(replace(pipeline.rules, own=own))


async def _watch_rules(parts: Parts, pipeline: Pipeline) -> None:
    """Read the files of the rules again when they change; one that is wrong changes nothing, and is said once."""
    while True:
        settings = parts.settings
        if not settings.rules.files():
            await asyncio.sleep(_NO_RULES_EVERY)
            continue
        await asyncio.sleep(_RULES_EVERY)
        settings = parts.settings
        stamps = await asyncio.to_thread(settings.rules.stamps)
        if settings is not parts.settings or not parts.rules_files.changed(stamps):
            continue
        try:
            new = await asyncio.to_thread(settings.rules.rules, settings.grace, settings.hold)
        except PopBeforeSmtpError as error:
            parts.rules_files.were_read(stamps)
            maillog.trouble(f"the rules stay as they were: {error}")
            pipeline.rules_trouble = str(error)
            continue
        again = await asyncio.to_thread(settings.rules.stamps)
        # The configuration was read again meanwhile, and these files with it; or what we read may be half of one.
        if settings is not parts.settings or again != stamps:
            continue
        parts.rules_files.were_read(stamps)
        found = pipeline.rules
        pipeline.obey(replace(new, trusted=found.trusted, own=found.own, tombstones=found.tombstones))
        pipeline.rules_trouble = None
        maillog.notice("the files of [rules] were read again")
