"""What is done by hand: ``grant`` and ``revoke``, from the question to the disk."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from popbeforesmtp import maillog, rules
from popbeforesmtp.addresses import ClientAddress, parse_address
from popbeforesmtp.clock import Moment
from popbeforesmtp.errors import DataError
from popbeforesmtp.model import Authorization, EventKind, Reason, SessionEvent, Tombstone
from popbeforesmtp.pipeline import Pipeline
from popbeforesmtp.revocations import newest, overlap
from popbeforesmtp.rulesettings import LONGEST
from popbeforesmtp.stores import StoreError


async def grant(pipeline: Pipeline, question: Mapping[str, Any], now: Moment) -> object:
    """Let an address relay until a moment, whatever the accounts on it do; durable before it is confirmed.

    Raises DataError where it cannot be.
    """
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
    await _durable(pipeline, "granted now")
    login = SessionEvent(EventKind.LOGIN, now.wall, format="", client=client)
    asked = rules.walk(login, now, pipeline.rules, rules.ALONE, "address")
    still = Reason.REVOKED in (reason for _, reason in asked)
    return {"address": client, "expires_at": until.isoformat(), "logins_refused": still}


async def revoke(pipeline: Pipeline, question: Mapping[str, Any], now: Moment) -> object:
    """End windows; no login that was stamped before opens one again, and until a moment none at all.

    Raises DataError where it cannot be.
    """
    until = now.wall if question.get("until") is None else max(_moment(question["until"], now), now.wall)
    kind, name = _whom(question)
    if kind == "address":
        name = rules.granted_to(ClientAddress(name), pipeline.rules)
    uid, why = _uid(question), _reason(question)
    if question.get("lift"):
        return await _lift(pipeline, kind, name, uid, why, now)
    tombstone = Tombstone(kind, name, now.wall, until, uid, why)
    known = [*pipeline.rules.tombstones.values(), tombstone]
    pipeline.rules = replace(pipeline.rules, tombstones=newest(known))
    stands = pipeline.rules.tombstones[kind, name]  # an earlier revocation may last longer
    pipeline.windows.recorder.revoked(stands)
    pipeline.forget(lambda held: _is_meant(held, kind, name))
    if kind == "user":
        ended = _take_back(pipeline, await pipeline.windows.recorder.entries(now), name, uid)
    else:  # whole addresses: the store need not be asked what is left of them
        ended = {client for client in pipeline.windows.active if kind == "all" or overlap(client, name)}
        for client in ended:
            pipeline.windows.revoke(client, Reason.REVOKED, uid=uid)
    maillog.revoked_by_hand(kind, name, uid, why, len(ended))
    more = {"kind": kind, "uid": uid, "reason": why or None, "until": until.isoformat(), "ended": len(ended)}
    account = name if kind == "user" else ""
    origin = rules.hand(now)
    pipeline.windows.audit("revoke", origin, name if kind == "address" else "", account, now.wall, **more)
    await _durable(pipeline, "revoked now")
    return {"ended": sorted(ended), "until": stands.until.isoformat() if stands.until > now.wall else None}


async def _lift(pipeline: Pipeline, kind: str, name: str, uid: int | None, why: str, now: Moment) -> object:
    """Let new logins count again after a revocation that still refuses them; what it ended stays ended."""
    stand = [
        each
        for each in pipeline.rules.tombstones.values()
        if each.kind == kind and each.until > now.wall and (each.name == name or _covers(each, name))
    ]
    if not stand:
        raise DataError("no revocation of that kind refuses new logins; `explain` shows those that there are")
    lifted = {(each.kind, each.name): each._replace(until=now.wall) for each in stand}
    pipeline.rules = replace(pipeline.rules, tombstones={**pipeline.rules.tombstones, **lifted})
    for each in lifted.values():
        pipeline.windows.recorder.revoked(each)
    maillog.lifted(kind, name, uid, why)
    account, address = (name if kind == each else "" for each in ("user", "address"))
    more = {"kind": kind, "uid": uid, "reason": why or None}
    pipeline.windows.audit("lift", rules.hand(now), address, account, now.wall, **more)
    await _durable(pipeline, "lifted now")
    return {"ended": [], "until": None}


def _take_back(
    pipeline: Pipeline, entries: Iterable[Authorization], account: str, uid: int | None
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


async def _durable(pipeline: Pipeline, what: str) -> None:
    """Bring what was done by hand to the disk before it is confirmed."""
    try:
        await pipeline.windows.recorder.flush()
    except StoreError as error:
        raise DataError(f"{what}, but a restart would undo it, for the store cannot be written: {error}") from None


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
    if moment.tzinfo is None or moment > now.wall + LONGEST:
        raise DataError("65535 minutes (45 days) from now are the most; name an earlier time")
    return moment
