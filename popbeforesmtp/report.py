"""How the daemon is doing, for ``list``, ``status`` and the service manager: what is read there is made here."""

from collections.abc import Iterable
from dataclasses import asdict

from popbeforesmtp.clock import Moment
from popbeforesmtp.following import Followed
from popbeforesmtp.lookups import Lookup
from popbeforesmtp.model import Authorization
from popbeforesmtp.pipeline import Pipeline
from popbeforesmtp.text import utc


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
    return {
        "state": "running",
        "authorizations": len(pipeline.active),
        "counts": dict(pipeline.counts),
        "sources": [_source(followed) for followed in pipeline.followed],
        "maps": [{"name": publisher.name, "trouble": publisher.trouble} for publisher in pipeline.publishers],
        "lookups": [asdict(lookup.report()) for lookup in lookups],
        "warnings": warnings(pipeline, now),
    }


def warnings(pipeline: Pipeline, now: Moment) -> list[str]:
    """Say what the administrator should look at."""
    found = [] if pipeline.recorder.trouble is None else [pipeline.recorder.trouble]
    for followed in pipeline.followed:
        source = followed.source.report()
        if followed.trouble is not None:
            found.append(f"{source.name}: {followed.trouble}")
        elif source.waiting:
            found.append(f"{source.name}: {source.state}")
        if followed.forgeable is not None:
            found.append(f"{source.name}: nothing is believed: {followed.forgeable}")
        found += [f"{source.name}: {warning}" for warning in followed.sight.warnings(now).values()]
    found += [f"{publisher.name}: {publisher.trouble}" for publisher in pipeline.publishers if publisher.trouble]
    return found


def summary(pipeline: Pipeline, now: Moment) -> str:
    """Say in a line how it goes, for ``systemctl status``."""
    first = next(iter(warnings(pipeline, now)), None)
    trouble = "" if first is None else f"; look at: {first}"
    return f"{len(pipeline.active)} clients may relay{trouble}"
