"""The loop: lines in, decisions, effects. The only place that knows the order.

One thread decides. A decision takes effect in the active set first, which the live answers ask; then the maps and the
store hear of it, each in a thread of its own. Nothing here waits for either.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from popbeforesmtp import maillog, rules
from popbeforesmtp.active import Change
from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.blocking import Blocking
from popbeforesmtp.clock import Clock, Moment
from popbeforesmtp.errors import PopBeforeSmtpError
from popbeforesmtp.following import Followed, share
from popbeforesmtp.history import History, Seen
from popbeforesmtp.holds import session_name
from popbeforesmtp.model import Authorization, Block, EventKind, Origin, Reason, SessionEvent, Verdict
from popbeforesmtp.windows import Windows

_OUTCOMES = {Change.GRANTED: "granted", Change.RENEWED: "renewed", Change.NONE: "granted; a later end was known"}
_OVER = "its grace period is over; its session may be open"
_CATCHING_UP = 5.0  # seconds for which the first start reads before there are maps and answers
_LOOK = 1.0  # seconds between looks without any event: what events miss is found by then
_BLOCKS = 16  # blocks read of one source before the others have their turn
_REST = 4.0  # times as long as settling took is how long it rests then
_TURN = 0.5  # seconds of reading after which no other block is begun: patterns that are not ours may take their time


class Pipeline:
    """From the log to who may relay."""

    def __init__(
        self,
        *,
        followed: Sequence[Followed],
        rules: rules.Rules,
        windows: Windows,
        clock: Clock,
        blocking: Blocking | None = None,
    ) -> None:
        self.followed = followed
        self.rules = rules
        self.windows = windows
        self.blocking = blocking or Blocking(windows, clock)
        self.history = History()
        self.rules_trouble: str | None = None  # a file of the rules that cannot be read again
        self._clock = clock
        self._mind_ends()
        self._bell = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._check_at = 0.0
        self._settling: asyncio.Task[None] | None = None
        self.turned_at = self._loop.time()  # when the loop last came round; it is alive while this is not long ago

    async def run(self) -> None:
        """Follow the sources until they end, or until it is cancelled."""
        for followed in self.followed:
            followed.source.watch(self._ring)
        while not all(followed.source.ended() for followed in self.followed):
            self.turned_at = self._loop.time()
            self._bell.clear()
            more = [self._read(followed) for followed in self.followed]
            self._settle()
            self.windows.expire()
            self.blocking.expire()
            self._look_after()
            if any(more):
                await asyncio.sleep(0)
                continue
            await self._wait()

    async def catch_up(self) -> None:
        """Read what the logs hold already, for a few seconds at most; what is left is read by ``run``."""
        until = self._loop.time() + _CATCHING_UP
        while self._loop.time() < until:
            more = [self._read(followed) for followed in self.followed]
            if not any(more):
                break
            await asyncio.sleep(0)
        with suppress(PopBeforeSmtpError):  # it is tried again by ``run``
            await self.windows.settle()

    def follow(self, followed: Sequence[Followed]) -> None:
        """Follow these sources from now on, and no others; those that were followed before go on as they are.

        A new one that reads an old one's log takes over the sessions that are open there.
        """
        new = [each for each in followed if each not in self.followed]
        held: list[Authorization] = []
        for old in self.followed:
            if old not in followed:
                old.source.close()
                held += [*old.holds.all(), *old.held]
                old.held = ()
        for lost in share(held, new):  # nobody sees these sessions end any more
            self.windows.close(lost)
        for each in new:
            each.source.watch(self._ring)
        self.followed = followed
        self._mind_ends()
        self._bell.set()

    def pause(self, followed: Iterable[Followed], *, paused: bool = True) -> None:
        """Read no more of these sources, for others go on where they stand; or do so again."""
        for each in followed:
            each.paused = paused
        self._bell.set()

    def obey(self, new_rules: rules.Rules, left: Iterable[Authorization] = ()) -> None:
        """Decide by other rules from now on. A window keeps its end, unless its client is never authorized any more.

        ``left`` are all authorizations there are, for limits that were not asked before.
        """
        if not new_rules.hold:
            for followed in self.followed:
                self._let_go(followed)
        self.rules = new_rules
        self._mind_ends()
        self.windows.obey(new_rules, left)
        for client in list(self.windows.active):
            reason = rules.bar(client, new_rules)
            if reason is not None:
                self.windows.revoke(client, reason)
        self.blocking.spare(new_rules)

    def _let_go_of_unseen(self, followed: Followed) -> None:
        """Take back what a source's sessions hold once it could not be read for a grace period; no end is seen."""
        blind = followed.blind(self._clock.now()) >= self.rules.grace.total_seconds()
        if blind and (len(followed.holds) or followed.held):
            maillog.warned(f"{followed.source.name}: cannot be read; its open sessions are held no longer")
            self._let_go(followed)

    def _let_go(self, followed: Followed) -> None:
        """Take back what the open sessions of a source hold."""
        for held in (*followed.holds.all(), *followed.held):
            self.windows.close(held)
        followed.held = ()

    def forget(self, ended: Callable[[Authorization], bool]) -> None:
        """Forget the open sessions of windows that were ended before their time."""
        for followed in self.followed:
            followed.holds.forget(ended)
            followed.held = [held for held in followed.held if not ended(held)]

    def _look_after(self) -> None:
        """See, now and then, whether the maps are still there, and whether the logs still show us anything."""
        if self._loop.time() < self._check_at:
            return
        self._check_at = self._loop.time() + _LOOK
        for publisher in self.windows.publishers:
            publisher.check()
        self.blocking.look()
        for followed in self.followed:
            self._let_go_of_unseen(followed)
            warnings = followed.sight.warnings(self._clock.now())
            if followed.forgeable is not None:
                warnings["forgeable"] = f"nothing is believed: {followed.forgeable}"
            for sign in warnings.keys() - followed.warned:
                maillog.warned(f"{followed.source.name}: {warnings[sign]}")
            followed.warned = set(warnings)

    def unheld(self) -> list[str]:
        """Say where ``hold`` is asked for and not in force."""
        if not self.rules.hold:
            return []
        return [
            f"{followed.source.name}: hold is not in force for {name}: no logouts are seen among its logins"
            for followed in self.followed
            for name in followed.holds.unheld()
        ]

    def _mind_ends(self) -> None:
        for followed in self.followed:
            followed.mind_ends(ends=bool(self.rules.hold))

    def _ring(self) -> None:
        """Wake the loop, from any thread."""
        with suppress(RuntimeError):  # the loop has ended, and the watcher not yet
            self._loop.call_soon_threadsafe(self._bell.set)

    async def _wait(self) -> None:
        """Sleep until the bell rings, a window ends, or it is time to look."""
        end = self.windows.active.next_end(self._clock.now())
        try:
            async with asyncio.timeout(_LOOK if end is None else min(end, _LOOK)):
                await self._bell.wait()
        except TimeoutError:
            pass

    def _read(self, followed: Followed) -> bool:
        """Read some of what a source has; say whether there may be more."""
        if followed.paused:
            return False
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
        until = self._loop.time() + _TURN
        for _ in range(_BLOCKS):
            if self._loop.time() >= until:
                break
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
            offset = block.offset + start
            try:
                event = followed.read_line(reading, block.data[start:end], self._clock.now().wall)
                if event is not None:
                    self._hear(followed, event, Origin(log, offset, reading.header.cursor))
            except Exception as error:  # noqa: BLE001 - no line whatsoever may stop the daemon
                self.windows.counts["errors"] += 1
                maillog.broken_line(log, offset, error)
        unknown = followed.counts["unknown headers"] - unknown
        place = followed.read_to(reading, block, unknown, self._clock.now())
        if place:
            self.windows.recorder.read_to(followed.source.name, place, reading.header.previous)

    def _hear(self, followed: Followed, event: SessionEvent, origin: Origin) -> None:
        """Take in what a server reports of a session."""
        now = self._clock.now()
        self.windows.counts[event.kind if event.genuine else "forged"] += 1
        self.blocking.hear(event, origin, self.rules)
        if event.kind is EventKind.LOGIN:
            if event.genuine:
                followed.sight.logged_in(now, live=followed.live)
            self._decide(followed, event, origin, now)
        elif not event.genuine:
            return
        elif event.kind is EventKind.LOGOUT and self.rules.hold and event.key is not None:
            session = session_name(event.format, event.key)
            held = followed.holds.logout(origin.source, event.format, session, known=event.known)
            if held is not None:
                self.windows.close(held)
        elif event.kind is EventKind.FAILURE and event.client is not None:
            self.history.add(Seen(event, origin, "failed login"))
            if self.rules.revoke_after_failures:
                ended = self.windows.failed(event.client, self.rules.revoke_after_failures)
                if ended is not None:
                    self.forget(lambda held: held.client == ended)

    def _decide(self, followed: Followed, event: SessionEvent, origin: Origin, now: Moment) -> None:
        client, user = event.client, event.user or ""
        held = bool(self.rules.hold) and event.key is not None and event.genuine
        if client is not None and held:
            for gone in followed.holds.login(event.format, user):
                self.windows.close(gone)
            if event.ended and event.key is not None:
                followed.holds.logout(origin.source, event.format, session_name(event.format, event.key))
            held = followed.holds.in_force(event.format, user) and not event.ended
            self._take_name(followed, event, origin, client)
        standing = rules.ALONE
        if client is not None:
            standing = self.windows.standing(rules.granted_to(client, self.rules), user, now)
        decision = rules.decide(event, origin, now, self.rules, standing, held=held)
        if decision.verdict is Verdict.REFUSE and decision.reason is not None and client is not None:
            self.windows.counts[f"refused: {decision.reason}"] += 1
            maillog.refused(client, user, decision.reason, origin.source, origin.offset, event.time)
            if decision.reason is not Reason.STALE:  # an old log is full of them
                self.history.add(Seen(event, origin, f"refused: {decision.reason}"))
                more = {"format": event.format, "service": event.service, "reason": decision.reason}
                self.windows.audit("refuse", origin, client, user, now.wall, **more)
        authorization = decision.authorization
        if authorization is None:
            return
        over = authorization.remaining(now) <= 0  # only its session may still open something
        outcome = _OVER if over else _OUTCOMES[self.windows.grant(authorization, now)]
        self.history.add(Seen(event, origin, outcome, authorization.expires_at))
        if held and event.key is not None:
            self._hold(followed, rules.hold(authorization, session_name(event.format, event.key), now, self.rules), now)

    def _take_name(self, followed: Followed, event: SessionEvent, origin: Origin, client: ClientAddress) -> None:
        """End the session that had this login's name: its process serves somebody else now."""
        session = origin.source, session_name(event.format, event.key or "")
        gone = followed.holds.taken(session, rules.granted_to(client, self.rules), event.user or "")
        if gone is not None:
            self.windows.close(gone)

    def _hold(self, followed: Followed, held: Authorization, now: Moment) -> None:
        """Keep a session's client authorized while it is open."""
        gone = followed.holds.hold(held, now, live=followed.live)
        if gone is not None:
            self.windows.close(gone)
        if followed.live:
            self.windows.grant(held, now)

    def _settle(self) -> None:
        """Let windows end from which something was taken back; the store is asked what is left of them."""
        for followed in self.followed:
            if followed.live:
                for held in followed.holds.due():
                    self._take_up(held)
        if self.windows.unsettled and (self._settling is None or self._settling.done()):
            self._settling = asyncio.create_task(self._settle_them(), name="settle")

    def _take_up(self, held: Authorization) -> None:
        """Let in the client of a session that was found open; much may have been decided since its login was read."""
        now = self._clock.now()
        standing = self.windows.standing(held.client, held.user, now)
        reason = rules.taken_back(held, self.rules, now) or rules.limited(standing, self.rules.limits)
        if reason is None:
            self.windows.grant(held, now)
            return
        self.windows.counts[f"refused: {reason}"] += 1
        maillog.refused(held.client, held.user, reason, held.origin.source, held.origin.offset, held.login_at)
        more = {"format": held.format, "service": held.service or None, "reason": reason}
        self.windows.audit("refuse", held.origin, held.client, held.user, now.wall, **more)

    async def _settle_them(self) -> None:
        """Settle windows, and rest: with many sessions on an address each logout costs, and others wait."""
        began = self._loop.time()
        with suppress(PopBeforeSmtpError):  # the recorder has said it; it is tried again at the next turn
            await self.windows.settle()
        await asyncio.sleep(min(_REST * (self._loop.time() - began), _LOOK))
        self._bell.set()
