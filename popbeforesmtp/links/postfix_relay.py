"""A stranger cannot send to others: no list lets everybody in, and one refuses."""

from collections.abc import Iterator

from popbeforesmtp.links import Finding, Machine, sound, wrong
from popbeforesmtp.links._ours import ours
from popbeforesmtp.links._postfix import LISTS, Service
from popbeforesmtp.links._restrictions import Fate, claims, fate, mend_relay, shown

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
    yield from found
    if not found:
        yield sound("a stranger's mail to others is refused by every smtpd")


def _problem(service: Service) -> str | None:
    """Say how a stranger gets through."""
    refusing = []
    for name in LISTS:
        restrictions = service.restrictions(name)
        what, by = fate(restrictions)
        if what is Fate.REFUSED:
            refusing.append(restrictions)
        elif what is Fate.LET_IN and name == "relay":
            open_by = f": {by} in smtpd_relay_restrictions lets everybody in"
            if not any(fate(service.restrictions(other))[0] is Fate.REFUSED for other in LISTS):
                return f"{service.name} is an open relay{open_by}"
    if not refusing:
        if any(each.name in _WANTED for name in ("relay", "recipient") for each in service.restrictions(name)):
            return f"{service.name} is an open relay: no list refuses strangers"
        return (
            f"{service.name} takes no mail: Postfix insists on reject or reject_unauth_destination in one of its lists"
        )
    forgeable = [claims(restrictions) for restrictions in refusing]
    if all(forgeable):
        return (
            f"{service.name}: {forgeable[0]} stands in front of all that refuses strangers, and believes what"
            " any client says of itself"
        )
    return None
