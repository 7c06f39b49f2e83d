"""What is granted, and until when: by a login, for its open session, or by hand."""

from datetime import datetime

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.clock import Moment
from popbeforesmtp.model import Authorization, Origin, SessionEvent
from popbeforesmtp.rules.bars import granted_to
from popbeforesmtp.rules.ruleset import Rules, grace_for


def authorize(event: SessionEvent, client: ClientAddress, now: Moment, rules: Rules, origin: Origin) -> Authorization:
    """Return what a login lets its client do; a stamp ahead of us counts as now."""
    login_at = min(event.time or now.wall, now.wall)
    expires_at = login_at + grace_for(event.user or "", event.service, rules)
    return Authorization(
        client=granted_to(client, rules),
        expires_at=expires_at,
        deadline=_deadline(expires_at, now),
        user=event.user or "",
        service=event.service or "",
        login_at=login_at,
        format=event.format,
        origin=origin,
    )


def hold(authorization: Authorization, session: str, now: Moment, rules: Rules) -> Authorization:
    """Return what a login's session authorizes besides, while it is open: until ``hold`` after the login."""
    expires_at = authorization.login_at + rules.hold
    return authorization._replace(
        expires_at=expires_at, deadline=_deadline(expires_at, now), rule="hold", session=session
    )


def by_hand(client: ClientAddress, until: datetime, now: Moment, uid: int | None, why: str) -> Authorization:
    """Return what somebody grants by hand."""
    return Authorization(
        client=client,
        expires_at=until,
        deadline=_deadline(until, now),
        user="",
        service="",
        login_at=now.wall,
        format="",
        origin=hand(now),
        rule="by hand",
        session="by hand",
        uid=uid,
        why=why,
    )


def hand(now: Moment) -> Origin:
    """Return what something goes back to that is done by hand: there is no line, so its time names it."""
    return Origin("by hand", 0, now.wall.isoformat())


def _deadline(expires_at: datetime, now: Moment) -> float:
    """Return when the time that is left has run, in seconds of ``CLOCK_BOOTTIME``."""
    return now.boottime + (expires_at - now.wall).total_seconds()
