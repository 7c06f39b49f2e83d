"""Why somebody may relay or may not: all that the daemon knows of an address or an account, for ``explain``."""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from popbeforesmtp import report, rules
from popbeforesmtp.addresses import ClientAddress, parse_address, prefix_of
from popbeforesmtp.clock import Moment
from popbeforesmtp.lookups import Lookup
from popbeforesmtp.model import Authorization, EventKind, SessionEvent
from popbeforesmtp.pipeline import Pipeline
from popbeforesmtp.revocations import overlap

_SHOWN = 20  # logins that explain shows at most, the newest; and addresses of an account


async def explain(pipeline: Pipeline, lookups: Iterable[Lookup], question: Mapping[str, Any], now: Moment) -> object:
    """Say all that is known of an address or an account."""
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
        "rules": _rules(pipeline, client, account, now),
        "outputs": [
            said
            for address in ([client] if client is not None else _addresses(held))
            for said in report.outputs(pipeline, lookups, address, now)
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


def _addresses(held: Iterable[Authorization]) -> list[ClientAddress]:
    """Return the addresses that somebody's logins opened, of a network its first; as many as logins are shown."""
    found = dict.fromkeys(ClientAddress(entry.client.partition("/")[0]) for entry in held)
    return list(found)[:_SHOWN]


def _rules(
    pipeline: Pipeline, client: ClientAddress | None, account: str | None, now: Moment
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
    event = last._replace(time=now.wall)
    standing = rules.ALONE
    if event.client is not None:
        address = rules.granted_to(event.client, pipeline.rules)
        standing = pipeline.windows.standing(address, event.user or "", now)
    return [
        {"asks": asks, "refuses": reason, "address": event.client, "user": event.user}
        for asks, reason in rules.walk(event, now, pipeline.rules, standing, about)
    ]
