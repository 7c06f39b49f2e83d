"""A stranger cannot send to others: no list lets everybody in, and one refuses."""

from collections.abc import Iterator

from popbeforesmtp.errors import UnavailableError
from popbeforesmtp.links import Finding, Machine, sound, wrong
from popbeforesmtp.links._ours import Ours, ours
from popbeforesmtp.links._postfix import LISTS, Service, query
from popbeforesmtp.links._rehearsal import stranger
from popbeforesmtp.links._restrictions import GRANTS, Fate, Restriction, claims, fate, mend_relay, shown

PLACE = 80

_WANTED = ("reject", "defer", "reject_unauth_destination", "defer_unauth_destination", "defer_if_permit")


def look(machine: Machine) -> Iterator[Finding]:
    """Follow a stranger's mail to somebody outside through the lists of each smtpd."""
    if machine.postfix is None or not machine.postfix.services:
        return
    us = ours(machine)
    found = []
    for service in machine.postfix.services:
        problem = _problem(service)
        if problem is not None:
            mended = mend_relay(service.restrictions("relay"), us.check(), us.means)
            found.append(wrong(problem, service.setting("smtpd_relay_restrictions", shown(mended))))
            continue
        found += _mapped(us, service, stranger(machine))
    yield from found
    if not found:
        yield sound("a stranger's mail to others is refused by every smtpd")


def _problem(service: Service) -> str | None:
    """Say how a stranger gets through."""
    lists = [service.restrictions(name) for name in LISTS]
    refusing = [each for each in lists if fate(each)[0] is Fate.REFUSED]
    if not refusing:
        if not any(_insisted(service.restrictions(name)) for name in ("relay", "recipient")):
            return f"{service.name} takes no mail: Postfix insists on reject or reject_unauth_destination in a list"
        by = next((by for what, by in map(fate, lists) if what is Fate.LET_IN), None)
        return f"{service.name} is an open relay: " + (f"{by} lets everybody in" if by else "no list refuses strangers")
    forgeable = [claims(restrictions) for restrictions in refusing]
    if all(forgeable):
        return (
            f"{service.name}: {forgeable[0]} stands in front of all that refuses strangers, and believes what"
            " any client says of itself"
        )
    return None


def _mapped(us: Ours, service: Service, client: str) -> Iterator[Finding]:
    """Find maps of the administrator's that let a stranger in, where no list refuses him then."""
    found = []
    for name in LISTS:
        restrictions = service.restrictions(name)
        what, end = fate(restrictions)
        if what is Fate.REFUSED and end is not None:
            front = restrictions[: restrictions.index(end)]
            by = next((each for each in front if not us.means(each) and _holds(each, client)), None)
            if by is None:
                return
            left = shown(each for each in restrictions if each != by)
            way_out = service.setting(f"smtpd_{name}_restrictions", left)
            found.append(wrong(f"{service.name} is an open relay: {by} lets in {client}, a stranger", way_out))
    yield from found


def _holds(each: Restriction, client: str) -> bool:
    """Say whether an access map lets a client in."""
    if each.name != "check_client_access" or each.argument.startswith("socketmap:"):
        return False
    try:
        return GRANTS.fullmatch(query(each.argument, client) or "") is not None
    except UnavailableError:
        return False  # Postfix says so in its log, and asks for it again


def _insisted(restrictions: tuple[Restriction, ...]) -> bool:
    """Say whether a list has what Postfix dies without (smtpd_check.c, has_required)."""
    permit = next((place for place, each in enumerate(restrictions) if each.name == "permit"), len(restrictions))
    return any(each.name in _WANTED and not each.warns for each in restrictions[:permit])
