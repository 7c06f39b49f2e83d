"""The loop: lines in, decisions, effects. The only place that knows the order.

One thread decides. A decision takes effect in the active set first, which the live answers ask; then the maps and the
store hear of it, each in a thread of its own. Nothing here waits for either.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from popbeforesmtp import maillog, rules
from popbeforesmtp.active import ActiveSet, Change
from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.clock import Clock
from popbeforesmtp.errors import PopBeforeSmtpError
from popbeforesmtp.following import Followed
from popbeforesmtp.model import Block, EventKind, Origin, SessionEvent, Verdict
from popbeforesmtp.publisher import Publisher
from popbeforesmtp.recorder import Recorder

_LOOK = 1.0  # seconds between looks without any event: what events miss is found by then
_BLOCKS = 16  # blocks read of one source before the others have their turn


class Pipeline:
    """From the log to who may relay."""

    def __init__(
        self,
        *,
        followed: Sequence[Followed],
        rules: rules.Rules,
        active: ActiveSet,
        recorder: Recorder,
        publishers: Sequence[Publisher],
        clock: Clock,
    ) -> None:
        self.followed = followed
        self.rules = rules
        self.active = active
        self.recorder = recorder
        self.publishers = publishers
        self.counts: Counter[str] = Counter()
        self._clock = clock
        self._bell = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._check_at = 0.0
        self.turned_at = self._loop.time()  # when the loop last came round; it is alive while this is not long ago

    def permits(self, client: ClientAddress) -> bool:
        """Say whether a client may relay at this moment."""
        return self.active.permits(client, self._clock.now())

    async def run(self) -> None:
        """Follow the sources until they end, or until it is cancelled."""
        for followed in self.followed:
            followed.source.watch(self._ring)
        while not all(followed.source.ended() for followed in self.followed):
            self.turned_at = self._loop.time()
            self._bell.clear()
            more = [self._read(followed) for followed in self.followed]
            self.expire()
            self._look_after()
            if any(more):
                await asyncio.sleep(0)
                continue
            await self._wait()

    def follow(self, followed: Sequence[Followed]) -> None:
        """Follow these sources from now on, and no others; those that were followed before go on as they are."""
        for new in followed:
            if new not in self.followed:
                new.source.watch(self._ring)
        for old in self.followed:
            if old not in followed:
                old.source.close()
        self.followed = followed
        self._bell.set()

    def obey(self, new_rules: rules.Rules) -> None:
        """Decide by other rules from now on. A window keeps its end, unless its client is never authorized any more."""
        self.rules = new_rules
        for client in list(self.active):
            reason = rules.bar(client, new_rules)
            if reason is not None:
                self.active.revoke(client)
                maillog.revoked(client, reason)
                self._end(client)

    def expire(self) -> None:
        """End every window that is over."""
        for client in self.active.expire(self._clock.now()):
            self.counts["expired"] += 1
            maillog.expired(client)
            self._end(client)

    def _end(self, client: ClientAddress) -> None:
        """Tell the store and the maps that a client may no longer relay."""
        self.recorder.ended(client)
        for publisher in self.publishers:
            publisher.go(client)

    def _look_after(self) -> None:
        """See, now and then, whether the maps are still there, and whether the logs still show us anything."""
        if self._loop.time() < self._check_at:
            return
        self._check_at = self._loop.time() + _LOOK
        for publisher in self.publishers:
            publisher.check()
        for followed in self.followed:
            warnings = followed.sight.warnings(self._clock.now())
            if followed.forgeable is not None:
                warnings["forgeable"] = f"nothing is believed: {followed.forgeable}"
            for sign in warnings.keys() - followed.warned:
                maillog.warned(f"{followed.source.name}: {warnings[sign]}")
            followed.warned = set(warnings)

    def _ring(self) -> None:
        """Wake the loop, from any thread."""
        with suppress(RuntimeError):  # the loop has ended, and the watcher not yet
            self._loop.call_soon_threadsafe(self._bell.set)

    async def _wait(self) -> None:
        """Sleep until the bell rings, a window ends, or it is time to look."""
        end = self.active.next_end(self._clock.now())
        try:
            async with asyncio.timeout(_LOOK if end is None else min(end, _LOOK)):
                await self._bell.wait()
        except TimeoutError:
            pass

    def _read(self, followed: Followed) -> bool:
        """Read some of what a source has; say whether there may be more."""
        try:
            more = self._read_blocks(followed)
        except (OSError, EOFError, PopBeforeSmtpError) as error:
            why = getattr(error, "strerror", None) or str(error)
            if followed.trouble != why:
                maillog.trouble(f"{followed.source.name}: {why}")
            followed.trouble = why
            return False
        finally:
            for notice in followed.source.notices():
                maillog.notice(notice)
        if followed.trouble is not None:
            followed.trouble = None
            maillog.recovered(followed.source.name)
        return more

    def _read_blocks(self, followed: Followed) -> bool:
        for _ in range(_BLOCKS):
            block = followed.source.read()
            if block is None:
                followed.caught_up(self._clock.now())
                return False
            self._take(followed, block)
        return True

    def _take(self, followed: Followed, block: Block) -> None:
        """Decide on all that a block of lines means, and remember the place behind it."""
        reading, log, wall = followed.reading(block), block.log or followed.source.name, self._clock.now().wall
        unknown = followed.counts["unknown headers"]
        for start, end in followed.candidates(reading, block.data, wall):
            origin = Origin(log, block.offset + start)
            try:
                event = followed.read_line(reading, block.data[start:end], self._clock.now().wall)
                if event is not None:
                    self.counts[event.kind if event.genuine else "forged"] += 1
                    if event.kind is EventKind.LOGIN and event.genuine:
                        followed.sight.logged_in(self._clock.now(), live=followed.live)
                    self._decide(event, origin)
            except Exception as error:  # noqa: BLE001 - no line whatsoever may stop the daemon
                self.counts["errors"] += 1
                maillog.broken_line(origin.source, origin.offset, error)
        unknown = followed.counts["unknown headers"] - unknown
        if followed.read_to(reading, block, unknown, self._clock.now()):
            self.recorder.read_to(followed.source.name, block.checkpoint, reading.header.previous)

    def _decide(self, event: SessionEvent, origin: Origin) -> None:
        now = self._clock.now()
        decision = rules.decide(event, origin, now, self.rules)
        if decision.verdict is Verdict.REFUSE and decision.reason is not None and event.client is not None:
            self.counts[f"refused: {decision.reason}"] += 1
            maillog.refused(event.client, event.user or "", decision.reason, origin.source, origin.offset, event.time)
        authorization = decision.authorization
        if authorization is None:
            return
        change = self.active.grant(authorization, now)
        if change is Change.NONE:
            return
        self.recorder.granted(authorization)
        if change is Change.RENEWED:
            self.counts["renewed"] += 1
            maillog.renewed(authorization)
        else:
            self.counts["granted"] += 1
            maillog.granted(authorization)
        for publisher in self.publishers:
            tell = publisher.renew if change is Change.RENEWED else publisher.come
            tell(authorization.client, authorization.ends_at(now))
