"""No blocklist, PTR check or greylisting stands between a roaming client and its leave."""

from collections.abc import Iterator

from popbeforesmtp.links import Finding, Machine, sound, wrong
from popbeforesmtp.links._ours import Ours, is_asked, ours
from popbeforesmtp.links._postfix import LISTS, Service
from popbeforesmtp.links._restrictions import before, is_strict, mend_checks, shown

PLACE = 70


def look(machine: Machine) -> Iterator[Finding]:
    """Look at the lists of each smtpd that asks us, for what would refuse roaming clients all the same."""
    if machine.postfix is None:
        return
    us = ours(machine)
    services = [service for service in machine.postfix.services if is_asked(us, service)]
    found = [finding for service in services for finding in _check(us, service)]
    yield from dict.fromkeys(found)  # what main.cf says holds for several
    if services and not found:
        yield sound("no blocklist, PTR check or greylisting stands in front of us")


def _check(us: Ours, service: Service) -> Iterator[Finding]:
    for name in LISTS:
        restrictions = service.restrictions(name)
        parameter = f"smtpd_{name}_restrictions"
        strict = [place for place, each in enumerate(restrictions) if is_strict(each, us.means)]
        if not strict:
            continue
        first = restrictions[strict[0]]
        way_out = service.setting(parameter, shown(mend_checks(restrictions, us.spare(), us.means)))
        if not any(us.asks(each, service) for each in restrictions[: strict[0]]):
            yield wrong(
                f"{service.place(parameter)}: {first} refuses or delays roaming clients before we are asked", way_out
            )
        elif name != "relay" and "rbl" in first.name and before(restrictions, "permit_auth_destination", strict[0]):
            yield wrong(
                f"{service.place(parameter)}: permit_auth_destination in front of {first} switches it off for all"
                " inbound mail",
                way_out,
            )
