"""What becomes of a login, and of what was granted before."""

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.clock import Moment
from popbeforesmtp.model import Authorization, Decision, EventKind, Origin, Reason, SessionEvent, Verdict
from popbeforesmtp.rules.bars import bar, tombstones_of
from popbeforesmtp.rules.checks import CHECKS, PROOF, WITHOUT_LIMITS, Case
from popbeforesmtp.rules.grants import authorize
from popbeforesmtp.rules.limits import ALONE, Standing
from popbeforesmtp.rules.ruleset import NO_LIMITS, Rules

_IGNORE = Decision(Verdict.IGNORE)


def decide(
    event: SessionEvent,
    origin: Origin,
    now: Moment,
    rules: Rules,
    standing: Standing = ALONE,
    *,
    held: bool = False,
) -> Decision:
    """Say what becomes of an event: only a login can authorize, and only its own address.

    ``held`` says that the login's session is known to be open and that its end will be seen.
    """
    if event.kind is not EventKind.LOGIN or event.client is None:
        return _IGNORE
    case = Case(event, event.client, event.user or "", now, rules, standing, held)
    for check in WITHOUT_LIMITS if rules.limits == NO_LIMITS else CHECKS:
        reason = check.refuses(case)
        if reason is not None:
            return Decision(Verdict.REFUSE, reason)
    return Decision(Verdict.GRANT, authorization=authorize(event, case.client, now, rules, origin))


def walk(
    event: SessionEvent, now: Moment, rules: Rules, standing: Standing, about: str = ""
) -> list[tuple[str, Reason | None]]:
    """Return each check in its order, and why it refuses a login, or None where it lets it pass.

    ``about`` leaves out all but those that ask about an "address" or an "account", where no more is known of the login.
    """
    case = Case(event, event.client or ClientAddress(""), event.user or "", now, rules, standing, held=False)
    return [(check.asks, check.refuses(case)) for check in CHECKS if not about or about in check.about]


def proves(event: SessionEvent, now: Moment, rules: Rules) -> bool:
    """Say that an event is somebody's proof of who they are, of a time that can be; whether it opens relay or not."""
    if event.kind is not EventKind.LOGIN or event.client is None:
        return False
    case = Case(event, event.client, event.user or "", now, rules, ALONE, held=False)
    return all(check.refuses(case) is None for check in PROOF)


def taken_back(kept: Authorization, rules: Rules, now: Moment) -> Reason | None:
    """Say why an authorization that was given before holds no more: its network, or a revocation."""
    reason = bar(kept.client, rules)
    if reason is not None:
        return reason
    by_hand = kept.rule == "by hand"  # that holds also while logins are refused
    for tombstone in tombstones_of(kept.client, kept.user, rules):
        if kept.login_at <= tombstone.at or (now.wall < tombstone.until and not by_hand):
            return Reason.REVOKED
    return None
