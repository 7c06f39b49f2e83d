"""Who may relay, and everybody who must hear when that changes.

A change takes effect in the active set first, which the live answers ask; then the maps, the store and the audit trail
hear of it. Nothing here waits for any of them.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from datetime import datetime

from popbeforesmtp import maillog, rules
from popbeforesmtp.active import ActiveSet, Change
from popbeforesmtp.addresses import ClientAddress, prefix_of
from popbeforesmtp.audit import Audit
from popbeforesmtp.clock import Clock, Moment
from popbeforesmtp.crowds import Crowds
from popbeforesmtp.model import Authorization, Origin, Reason
from popbeforesmtp.publisher import Publisher
from popbeforesmtp.recorder import Recorder

_MINUTE = 60.0  # seconds
OWN_WILL = Origin("pop-before-smtp", 0)
"""Where a decision goes back to that no line of a log asked for."""


class Windows:
    """The active set, and what follows it."""

    def __init__(
        self,
        *,
        active: ActiveSet,
        recorder: Recorder,
        publishers: Sequence[Publisher],
        clock: Clock,
        audit: Audit,
        limits: rules.Limits = rules.NO_LIMITS,
        prefix: int = 128,
    ) -> None:
        self.active = active
        self.recorder = recorder
        self.publishers = publishers
        self.audit = audit
        self.counts: Counter[str] = Counter()
        self.crowds = Crowds(of_accounts=bool(limits.addresses_per_account))
        self._clock = clock
        self._limits = limits
        self._prefix = prefix
        self._purge_at = 0.0  # when to let go of what has ended, by CLOCK_BOOTTIME
        self._failures: Counter[ClientAddress] = Counter()  # of clients that may relay, since their last login
        self._recent: deque[float] = deque()  # when clients were let in within the last minute, by CLOCK_BOOTTIME
        self._unsettled: set[ClientAddress] = set()
        self._by_hand: dict[ClientAddress, Authorization] = {}  # that no failed login ends
        self._crowded: set[ClientAddress] = set()  # who was said to be a crowd

    def permits(self, client: ClientAddress) -> bool:
        """Say whether a client may relay at this moment."""
        now = self._clock.now()
        if self.active.permits(client, now):
            return True
        return self._prefix < 128 and self.active.permits(prefix_of(client, self._prefix), now)

    def expires_at(self, client: ClientAddress) -> datetime | None:
        """Say when a client's leave ends, by itself or as a part of its network; None where it has none."""
        now = self._clock.now()
        ends = [self.active.expires_at(name, now) for name in {client, prefix_of(client, self._prefix)}]
        return max((end for end in ends if end is not None), default=None)

    def obey(self, new: rules.Rules, left: Iterable[Authorization] = ()) -> None:
        """Count as other rules ask from now on; ``left`` are all authorizations that there are."""
        self._prefix = new.ipv6_prefix
        if bool(new.limits.addresses_per_account) != bool(self._limits.addresses_per_account):
            self.crowds.count_addresses(of_accounts=bool(new.limits.addresses_per_account))
            self._count(left)
        self._limits = new.limits

    def restore(self, kept: Authorization, now: Moment) -> None:
        """Take up an authorization of before a restart; the maps are made true from all of them."""
        before = self.active.before(kept.client, now)
        self.active.grant(kept, now)
        if kept.rule == "by hand":
            self._by_hand[kept.client] = kept
        self.crowds.granted(kept.client, kept.user, kept.expires_at.timestamp(), before)

    def standing(self, client: ClientAddress, user: str, now: Moment) -> rules.Standing:
        """Return what there is, as far as a limit asks for it."""
        limits = self._limits
        if limits == rules.NO_LIMITS:
            return rules.ALONE
        live, wall = self.active.permits(client, now), now.wall.timestamp()
        self.expire()  # who has left is in nobody's way
        while self._recent and self._recent[0] <= now.boottime - _MINUTE:
            self._recent.popleft()
        return rules.Standing(
            clients=len(self.active),
            live=live,
            accounts=self.crowds.accounts(client, user, wall, self.active.before(client, now))
            if limits.accounts_per_address
            else 0,
            addresses=self.crowds.addresses(client, user, wall) if limits.addresses_per_account else 0,
            recent=len(self._recent),
        )

    def grant(self, new: Authorization, now: Moment) -> Change:
        """Let a client relay, or longer than before; say which of them."""
        client = new.client
        self._failures.pop(client, None)
        if new.remaining(now) <= 0:
            return Change.NONE
        before = self.active.before(client, now)
        change = self.active.grant(new, now)
        self.recorder.granted(new)
        if new.rule == "by hand":
            self._by_hand[client] = new
        self.crowds.granted(client, new.user, new.expires_at.timestamp(), before)
        if new.user:
            self._warn_of_crowd(client, now)
        first = change is Change.GRANTED or new.rule == "by hand"
        (maillog.granted if first else maillog.renewed)(new)
        self.audit.granted("grant" if first else "renew", new, now.wall)
        if change is Change.NONE:
            return change
        self.counts[change.name.lower()] += 1
        if change is Change.GRANTED and self._limits.grants_per_minute:
            self._recent.append(now.boottime)
        for publisher in self.publishers:
            tell = publisher.renew if change is Change.RENEWED else publisher.come
            tell(client, new.ends_at(now))
        return change

    def grant_by_hand(self, new: Authorization, before: Iterable[Authorization], now: Moment) -> None:
        """Let a client relay in place of what was granted by hand before, which may have ended later.

        ``before`` are all authorizations that the client has.
        """
        self.recorder.closed(new.client, new.key)
        self.active.settle(new.client, [each for each in before if each.key != new.key], now)
        if self.grant(new, now) is Change.NONE:
            self._tell_end(new.client, now)

    def expire(self) -> None:
        """End every window that is over."""
        now = self._clock.now()
        if now.boottime >= self._purge_at:
            self._purge_at = now.boottime + _MINUTE
            self.crowds.purge(now.wall.timestamp())
        for client in self.active.expire(now):
            self._expired(client, now)

    def revoke(self, client: ClientAddress, reason: Reason, **more: object) -> None:
        """End all of a client's windows before their time; the audit trail is told ``more``."""
        self.active.revoke(client)
        self.counts[f"revoked: {reason}"] += 1
        maillog.revoked(client, reason)
        self.audit("revoke", OWN_WILL, client, "", self._clock.now().wall, **{"rule": reason, **more})
        self._end(client)

    def close(self, gone: Authorization) -> None:
        """Take one authorization back; its client's window ends with what is left, which ``settle`` finds out."""
        self.recorder.closed(gone.client, gone.key)
        self._unsettled.add(gone.client)

    async def settle(self) -> None:
        """End windows, or make them shorter, from which something was taken. Raises StoreError; then call again.

        What is taken meanwhile is for the next call: each costs a look at all authorizations of a client.
        """
        for client in list(self._unsettled):
            left = await self.recorder.entries_of(client, self._clock.now())
            self._unsettled.discard(client)
            self.settle_with(client, left)

    @property
    def unsettled(self) -> bool:
        """Whether ``settle`` has anything to do."""
        return bool(self._unsettled)

    def settle_with(
        self, client: ClientAddress, left: Iterable[Authorization], reason: Reason | None = None, **more: object
    ) -> None:
        """End a client's window with what is left of its authorizations; a reason says that somebody revoked."""
        now, left = self._clock.now(), list(left)
        if client not in self.active:
            return
        self.crowds.settle(client)
        self._count(left)
        if not self.active.settle(client, left, now):
            if reason is None:
                self._expired(client, now)
            else:
                self.revoke(client, reason, **more)
            return
        self._tell_end(client, now)

    def failed(self, client: ClientAddress, most: int) -> ClientAddress | None:
        """Take in a failed login; too many in a row end a window: say whose."""
        client = client if client in self.active else prefix_of(client, self._prefix)
        if client not in self.active:
            return None
        self._failures[client] += 1
        if self._failures[client] < most:
            return None
        now, by_hand = self._clock.now(), self._by_hand.get(client)
        before = self.active.expires_at(client, now)
        if by_hand is not None and before is not None and before <= by_hand.ends_at(now):
            del self._failures[client]
            return None  # somebody decided about all of it
        self.revoke(client, Reason.FAILURES)
        if by_hand is not None:
            self.grant(by_hand, now)
        return client

    def crowded(self, now: Moment) -> list[str]:
        """Say of which addresses too many accounts log in."""
        return [_crowd(client, count) for client, count in self.crowds.crowded(now.wall.timestamp())]

    def _count(self, left: Iterable[Authorization]) -> None:
        """Count accounts and addresses by authorizations that there are already."""
        for each in left:
            self.crowds.granted(each.client, each.user, each.expires_at.timestamp(), None)

    def _tell_end(self, client: ClientAddress, now: Moment) -> None:
        """Tell the maps of another end, which may be an earlier one."""
        end = self.active.expires_at(client, now)
        for publisher in self.publishers:
            publisher.renew(client, end or now.wall)

    def _expired(self, client: ClientAddress, now: Moment) -> None:
        self.counts["expired"] += 1
        maillog.expired(client)
        self.audit("expire", OWN_WILL, client, "", now.wall)
        self._end(client)

    def _warn_of_crowd(self, client: ClientAddress, now: Moment) -> None:
        count = self.crowds.crowd(client, now.wall.timestamp())
        if count and client not in self._crowded:
            self._crowded.add(client)
            maillog.warned(_crowd(client, count))

    def _end(self, client: ClientAddress) -> None:
        """Tell the store and the maps that a client may no longer relay."""
        self._failures.pop(client, None)
        self._by_hand.pop(client, None)
        self._unsettled.discard(client)
        self._crowded.discard(client)
        self.crowds.ended(client)
        self.recorder.ended(client)
        for publisher in self.publishers:
            publisher.go(client)


def _crowd(client: ClientAddress, count: int) -> str:
    return (
        f"{client}: {count} accounts log in from there; if it is a proxy, a webmail or a gateway of ours, all its users"
        " may relay with one login: put it into [rules] never"
    )
