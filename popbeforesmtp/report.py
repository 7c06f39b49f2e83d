"""How the daemon is doing, for ``list``, ``status`` and the service manager: what is read there is made here."""

from collections.abc import Iterable
from dataclasses import asdict

from popbeforesmtp.addresses import ClientAddress, prefix_of
from popbeforesmtp.audit import decision_id
from popbeforesmtp.blocking import Blocking
from popbeforesmtp.clock import Moment
from popbeforesmtp.following import Followed
from popbeforesmtp.history import Seen
from popbeforesmtp.lookups import Lookup
from popbeforesmtp.model import Authorization, Tombstone
from popbeforesmtp.pipeline import Pipeline
from popbeforesmtp.text import utc


def describe(entry: Authorization, now: Moment) -> dict[str, object]:
    """Say all about an authorization, for ``list --json``."""
    return {
        "id": decision_id(entry.origin, entry.client, entry.user),
        "address": entry.client,
        "expires_at": entry.ends_at(now).isoformat(),
        "user": entry.user,
        "service": entry.service,
        "login_at": entry.login_at.isoformat(),
        "rule": entry.rule,
        "format": entry.format,
        "file": entry.origin.source,
        "offset": entry.origin.offset,
        "cursor": entry.origin.cursor or None,
        "session": entry.session or None,
        "uid": entry.uid,
        "reason": entry.why or None,
    }


def describe_seen(seen: Seen) -> dict[str, object]:
    """Say all about a login that was seen, for ``explain``."""
    event = seen.event
    return {
        "address": event.client,
        "user": event.user,
        "service": event.service,
        "format": event.format,
        "time": None if event.time is None else event.time.isoformat(),
        "file": seen.origin.source,
        "offset": seen.origin.offset,
        "cursor": seen.origin.cursor or None,
        "outcome": seen.outcome,
    }


def describe_tombstone(tombstone: Tombstone) -> dict[str, object]:
    """Say all about a revocation, for ``explain``."""
    return {
        "kind": tombstone.kind,
        "name": tombstone.name,
        "at": tombstone.at.isoformat(),
        "until": tombstone.until.isoformat(),
        "uid": tombstone.uid,
        "reason": tombstone.why or None,
    }


def outputs(
    pipeline: Pipeline, lookups: Iterable[Lookup], client: ClientAddress, now: Moment
) -> list[dict[str, object]]:
    """Say what each output says of an address now, for ``explain``."""
    windows, rules = pipeline.windows, pipeline.rules
    otherwise = "refused, for its network is restricted" if client in rules.restricted else "not found"
    live = "may relay" if windows.permits(client) else otherwise
    said: list[dict[str, object]] = [{"name": lookup.report().name, "says": live} for lookup in lookups]
    key = client if client in windows.active else prefix_of(client, rules.ipv6_prefix)
    said += [{"name": each.name, "says": each.says(key, otherwise)} for each in windows.publishers]
    told = pipeline.blocking.told
    said += [] if told is None else [{"name": told.name, "says": pipeline.blocking.says(client, now)}]
    return [{"address": client, **each} for each in said]


def _source(followed: Followed) -> dict[str, object]:
    return {
        **asdict(followed.source.report()),
        "lines": followed.counts["lines"],
        "unknown_headers": followed.counts["unknown headers"],
        "last_line_at": None if followed.last_line_at is None else utc(followed.last_line_at),
        "trouble": followed.trouble,
    }


def status(pipeline: Pipeline, lookups: Iterable[Lookup], now: Moment) -> dict[str, object]:
    """Say how each part is doing, for ``status``."""
    live, told = [asdict(lookup.report()) for lookup in lookups], pipeline.windows.publishers
    nobody = "no mail server is told who may relay; `pop-before-smtp init` writes what this machine's needs"
    return {
        "state": "running",
        "authorizations": len(pipeline.windows.active),
        "counts": dict(pipeline.windows.counts),
        "sources": [_source(followed) for followed in pipeline.followed],
        "maps": [{"name": publisher.name, "trouble": publisher.trouble} for publisher in told],
        "block": _block(pipeline.blocking),
        "lookups": live,
        "warnings": [*warnings(pipeline, now), *(() if live or told or pipeline.blocking.told else (nobody,))],
    }


def _block(blocking: Blocking) -> dict[str, object] | None:
    told = blocking.told
    return None if told is None else {"blocked": len(blocking.blocked), "name": told.name, "trouble": told.trouble}


def warnings(pipeline: Pipeline, now: Moment) -> list[str]:
    """Say what the administrator should look at."""
    troubles = (pipeline.windows.recorder.trouble, pipeline.windows.audit.trouble, pipeline.rules_trouble)
    found = [trouble for trouble in troubles if trouble is not None]
    for followed in pipeline.followed:
        source = followed.source.report()
        if followed.trouble is not None:
            found.append(f"{source.name}: {followed.trouble}")
        elif source.waiting:
            found.append(f"{source.name}: {source.state}")
        if followed.forgeable is not None:
            found.append(f"{source.name}: nothing is believed: {followed.forgeable}")
        found += [f"{source.name}: {warning}" for warning in followed.sight.warnings(now).values()]
    found += [f"{each.name}: {each.trouble}" for each in pipeline.windows.publishers if each.trouble]
    return found + pipeline.blocking.warnings() + pipeline.windows.crowded(now) + pipeline.unheld()


def summary(pipeline: Pipeline, now: Moment) -> str:
    """Say in a line how it goes, for ``systemctl status``."""
    first = next(iter(warnings(pipeline, now)), None)
    trouble = "" if first is None else f"; look at: {first}"
    return f"{len(pipeline.windows.active)} clients may relay{trouble}"
