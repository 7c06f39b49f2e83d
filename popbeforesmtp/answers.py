"""What the daemon answers to commands: ``check``, ``list``, ``status``, ``grant``, ``revoke``, ``explain``."""

import asyncio
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from popbeforesmtp import __version__, maillog, report, rules
from popbeforesmtp.addresses import ClientAddress, parse_address, prefix_of
from popbeforesmtp.clock import Clock, Moment
from popbeforesmtp.control import Answer
from popbeforesmtp.errors import DataError
from popbeforesmtp.lookups import Lookup
from popbeforesmtp.model import Authorization, EventKind, Reason, SessionEvent, Tombstone
from popbeforesmtp.pipeline import Pipeline
from popbeforesmtp.revocations import newest, overlap
from popbeforesmtp.stores import StoreError

_LONGEST = timedelta(minutes=65535)
_AT_ONCE = 500  # authorizations that are described in one turn
_SHOWN = 20  # logins that explain shows at most, the newest; and addresses of an account


class Answers:
    """Answers for a daemon that may still be starting."""

    def __init__(self, clock: Clock) -> None:
        self.pipeline: Pipeline | None = None
        self.lookups: Iterable[Lookup] = ()
        self.found: list[str] = []  # what was found out at the start or the last reload
        self._clock = clock
        self._started = clock.now()

    def by_name(self) -> dict[str, Answer]:
        """Return what answers each command."""
        return {
            "check": self._check,
            "list": self._list,
            "status": self._status,
            "grant": self._grant,
            "revoke": self._revoke,
            "explain": self._explain,
        }

    async def _check(self, question: Mapping[str, Any]) -> object:
        client = parse_address(str(question.get("address")))
        expires_at = None
        if client is not None and self.pipeline is not None:
            expires_at = self.pipeline.windows.expires_at(client)
        return {"expires_at": None if expires_at is None else expires_at.isoformat()}

    async def _list(self, _: Mapping[str, Any]) -> object:
        if self.pipeline is None:
            return []
        now = self._clock.now()
        windows = self.pipeline.windows
        entries = await windows.recorder.entries(now)
        described = []
        for number, entry in enumerate(entries, start=1):
            if entry.remaining(now) > 0 and windows.active.permits(entry.client, now):
                described.append(report.describe(entry, now))
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)  # mail servers have their turn
        return described

    async def _status(self, _: Mapping[str, Any]) -> object:
        common: dict[str, object] = {
            "version": __version__,
            "pid": os.getpid(),
            "started_at": self._started.wall.isoformat(),
        }
        if self.pipeline is None:
            return {**common, "state": "starting", "warnings": ["the daemon is still starting"]}
        common["found"] = self.found
        return {**common, **report.status(self.pipeline, self.lookups, self._clock.now())}

    async def _grant(self, question: Mapping[str, Any]) -> object:
        """Let an address relay until a moment, whatever the accounts on it do; durable before it is confirmed."""
        pipeline, now = self._ready(), self._clock.now()
        client, until = _address(question), _moment(question.get("until"), now)
        if until <= now.wall:
            raise DataError("the end of the window has come already")
        reason = rules.bar(client, pipeline.rules)
        if reason is not None:
            raise DataError(f"{client} cannot be authorized: {reason}")
        granted = rules.by_hand(client, until, now, _uid(question), _reason(question))
        before = await pipeline.windows.recorder.entries_of(client, now)
        pipeline.windows.grant_by_hand(granted, before, now)
        pipeline.blocking.forgive(client, "granted by hand")
        await self._durable(pipeline, "granted now")
        login = SessionEvent(EventKind.LOGIN, now.wall, format="", client=client)
        asked = rules.walk(login, now, pipeline.rules, rules.ALONE, "address")
        still = Reason.REVOKED in (reason for _, reason in asked)
        return {"address": client, "expires_at": until.isoformat(), "logins_refused": still}

    async def _revoke(self, question: Mapping[str, Any]) -> object:
        """End windows; no login that was stamped before opens one again, and until a moment none at all."""
        pipeline, now = self._ready(), self._clock.now()
        until = now.wall if question.get("until") is None else max(_moment(question["until"], now), now.wall)
        kind, name = _whom(question)
        if kind == "address":
            name = rules.granted_to(ClientAddress(name), pipeline.rules)
        uid, why = _uid(question), _reason(question)
        if question.get("lift"):
            return await self._lift(pipeline, kind, name, uid, why)
        tombstone = Tombstone(kind, name, now.wall, until, uid, why)
        known = [*pipeline.rules.tombstones.values(), tombstone]
        pipeline.rules = replace(pipeline.rules, tombstones=newest(known))
        stands = pipeline.rules.tombstones[kind, name]  # an earlier revocation may last longer
        pipeline.windows.recorder.revoked(stands)
        pipeline.forget(lambda held: _is_meant(held, kind, name))
        if kind == "user":
            ended = self._take_back(pipeline, await pipeline.windows.recorder.entries(now), name, uid)
        else:  # whole addresses: the store need not be asked what is left of them
            ended = {client for client in pipeline.windows.active if kind == "all" or overlap(client, name)}
            for client in ended:
                pipeline.windows.revoke(client, Reason.REVOKED, uid=uid)
        maillog.revoked_by_hand(kind, name, uid, why, len(ended))
        more = {"kind": kind, "uid": uid, "reason": why or None, "until": until.isoformat(), "ended": len(ended)}
        account = name if kind == "user" else ""
        origin = rules.hand(now)
        pipeline.windows.audit("revoke", origin, name if kind == "address" else "", account, now.wall, **more)
        await self._durable(pipeline, "revoked now")
        return {"ended": sorted(ended), "until": stands.until.isoformat() if stands.until > now.wall else None}

    async def _lift(self, pipeline: Pipeline, kind: str, name: str, uid: int | None, why: str) -> object:
        """Let new logins count again after a revocation that still refuses them; what it ended stays ended."""
        now = self._clock.now()
        stand = [
            each
            for each in pipeline.rules.tombstones.values()
            if each.kind == kind and each.until > now.wall and (each.name == name or _covers(each, name))
        ]
        if not stand:
            raise DataError("no revocation of that kind refuses new logins; `explain` shows those that there are")
        lifted = {(each.kind, each.name): replace(each, until=now.wall) for each in stand}
        pipeline.rules = replace(pipeline.rules, tombstones={**pipeline.rules.tombstones, **lifted})
        for each in lifted.values():
            pipeline.windows.recorder.revoked(each)
        maillog.lifted(kind, name, uid, why)
        account, address = (name if kind == each else "" for each in ("user", "address"))
        more = {"kind": kind, "uid": uid, "reason": why or None}
        pipeline.windows.audit("lift", rules.hand(now), address, account, now.wall, **more)
        await self._durable(pipeline, "lifted now")
        return {"ended": [], "until": None}

    def _take_back(
        self, pipeline: Pipeline, entries: Iterable[Authorization], account: str, uid: int | None
    ) -> set[ClientAddress]:
        """Take back what an account's logins opened; return the addresses that may not relay any more."""
        windows = pipeline.windows
        by_client: dict[ClientAddress, list[Authorization]] = {}
        for entry in entries:
            by_client.setdefault(entry.client, []).append(entry)
        ended: set[ClientAddress] = set()
        for client, theirs in by_client.items():
            gone = [entry for entry in theirs if _is_meant(entry, "user", account)]
            for entry in gone:
                windows.recorder.closed(client, entry.key)
            if gone:
                windows.settle_with(client, [entry for entry in theirs if entry not in gone], Reason.REVOKED, uid=uid)
                ended |= set() if client in windows.active else {client}
        return ended

    async def _explain(self, question: Mapping[str, Any]) -> object:
        """Say all that is known of an address or an account."""
        pipeline, now = self._ready(), self._clock.now()
        text = str(question.get("who") or "")
        client = parse_address(text)
        names = frozenset() if client is None else frozenset((client, prefix_of(client, pipeline.rules.ipv6_prefix)))
        account = None if client is not None else text
        entries = await pipeline.windows.recorder.entries(now)
        held = [
            entry
            for entry in entries
            if entry.remaining(now) > 0
            and (entry.client in names or (account is not None and entry.user.casefold() == account.casefold()))
        ]
        seen = [report.describe_seen(each) for each in islice(pipeline.history.about(names, account), _SHOWN)]
        answer: dict[str, object] = {
            "who": text,
            "address": client,
            "authorizations": [report.describe(entry, now) for entry in held],
            "seen": seen,
            "rules": self._rules(pipeline, client, account, now),
            "outputs": [
                said
                for address in ([client] if client is not None else _addresses(held))
                for said in report.outputs(pipeline, self.lookups, address, now)
            ],
            "tombstones": [
                report.describe_tombstone(each)
                for (kind, name), each in pipeline.rules.tombstones.items()
                if kind == "all"
                or (kind == "address" and client is not None and any(overlap(name, known) for known in names))
                or (kind == "user" and account is not None and name == account.casefold())
            ],
        }
        if client is not None:
            end = pipeline.windows.expires_at(client)
            answer["expires_at"] = None if end is None else end.isoformat()
        return answer

    def _rules(
        self, pipeline: Pipeline, client: ClientAddress | None, account: str | None, now: Moment
    ) -> list[dict[str, object]]:
        """Ask the rules about a login that would come now: the last one that was seen, at this time."""
        names = frozenset() if client is None else frozenset((client,))
        logins = [
            seen.event
            for seen in pipeline.history.about(names, account)
            if seen.event.user and seen.event.client is not None and seen.event.kind is EventKind.LOGIN
        ]
        last = next((event for event in logins if event.genuine), next(iter(logins), None))
        if last is None:  # nobody can say how they would log in
            last = SessionEvent(EventKind.LOGIN, None, format="", client=client, user=account)
            about = "account" if client is None else "address"
        else:
            about = ""
        event = replace(last, time=now.wall)
        standing = rules.ALONE
        if event.client is not None:
            address = rules.granted_to(event.client, pipeline.rules)
            standing = pipeline.windows.standing(address, event.user or "", now)
        return [
            {"asks": asks, "refuses": reason, "address": event.client, "user": event.user}
            for asks, reason in rules.walk(event, now, pipeline.rules, standing, about)
        ]

    async def _durable(self, pipeline: Pipeline, what: str) -> None:
        """Bring what was done by hand to the disk before it is confirmed."""
        try:
            await pipeline.windows.recorder.flush()
        except StoreError as error:
            raise DataError(f"{what}, but a restart would undo it, for the store cannot be written: {error}") from None

    def _ready(self) -> Pipeline:
        if self.pipeline is None:
            raise DataError("the daemon is still starting; ask again in a moment")
        return self.pipeline


def _addresses(held: Iterable[Authorization]) -> list[ClientAddress]:
    """Return the addresses that somebody's logins opened, of a network its first; as many as logins are shown."""
    found = dict.fromkeys(ClientAddress(entry.client.partition("/")[0]) for entry in held)
    return list(found)[:_SHOWN]


def _covers(tombstone: Tombstone, name: str) -> bool:
    """Say whether an address's revocation concerns another client too: prefixes of another length were granted then."""
    return tombstone.kind == "address" and overlap(tombstone.name, name)


def _is_meant(entry: Authorization, kind: str, name: str) -> bool:
    if kind == "all":
        return True
    return overlap(entry.client, name) if kind == "address" else entry.user.casefold() == name


def _whom(question: Mapping[str, Any]) -> tuple[str, str]:
    """Return what is revoked: kind and name, as a tombstone has them."""
    if question.get("all"):
        return "all", ""
    if question.get("user") is not None:
        name = str(question["user"]).casefold()
        if not name.strip() or not _is_storable(name):
            raise DataError("that is no account's name")
        return "user", name
    return "address", _address(question)


def _address(question: Mapping[str, Any]) -> ClientAddress:
    client = parse_address(str(question.get("address")))
    if client is None:
        raise DataError("that is no IPv4 or IPv6 address")
    return client


def _reason(question: Mapping[str, Any]) -> str:
    """Return the reason that somebody gave, with bytes that are no UTF-8 written out."""
    text = str(question.get("reason") or "")
    if not _is_storable(text):
        raise DataError("that reason is no text")
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _is_storable(text: str) -> bool:
    """Say whether text comes from bytes, as all of a command line does; JSON can say more."""
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _uid(question: Mapping[str, Any]) -> int | None:
    """Return who asks, as the kernel told the control socket."""
    uid = question.get("uid")
    return uid if isinstance(uid, int) else None


def _moment(text: object, now: Moment) -> datetime:
    """Read a time that a command sent. Raises DataError."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        raise DataError("that is no time") from None
    if moment.tzinfo is None or moment > now.wall + _LONGEST:
        raise DataError("a window can be 65535 minutes long at most")
    return moment
