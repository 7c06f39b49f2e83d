"""Mail for our own domains comes in also when the daemon is dead."""

import re
from collections.abc import Iterator

from popbeforesmtp.links import Finding, Machine, sound, wrong
from popbeforesmtp.links._ours import Ours, ours, policy_options
from popbeforesmtp.links._postfix import LISTS, Service
from popbeforesmtp.links._restrictions import Restriction, before, mend_checks, mend_relay, shown

PLACE = 90

_LONGEST = 10.0  # seconds that a hung daemon may hold a stranger's mail up
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def look(machine: Machine) -> Iterator[Finding]:
    """Look at what asks the daemon where strangers' mail passes by."""
    if machine.postfix is None or not machine.postfix.public:
        return
    us = ours(machine)
    found = [finding for service in machine.postfix.public for finding in _check(us, service)]
    yield from dict.fromkeys(found)
    if not found:
        yield sound("inbound mail does not depend on the daemon")


def _check(us: Ours, service: Service) -> Iterator[Finding]:
    for name in LISTS:
        restrictions = service.restrictions(name)
        for place, each in enumerate(restrictions):
            if not us.means(each) or before(restrictions, "permit_auth_destination", place):
                continue
            problem = _problem(each, service, relay=name == "relay")
            if problem is not None:
                mended = (
                    mend_relay(restrictions, us.check(), us.means)
                    if name == "relay"
                    else mend_checks(restrictions, us.spare(), us.means)
                )
                parameter = f"smtpd_{name}_restrictions"
                yield wrong(f"{service.place(parameter)}: {problem}", service.setting(parameter, shown(mended)))


def _problem(each: Restriction, service: Service, *, relay: bool) -> str | None:
    """Say what becomes of inbound mail when nobody answers."""
    if each.argument.startswith("socketmap:"):
        where = "; put permit_auth_destination in front of it" if relay else "; only a map may be asked here"
        return f"with the daemon dead {each} answers 451 to all inbound mail{where}"
    if each.name != "check_policy_service":
        return None
    options = policy_options(each.argument)
    action = options.get("default_action") or service.value("smtpd_policy_service_default_action")
    if action.split()[0].upper() not in ("DUNNO", "OK"):
        return f"with the daemon dead {each.name} answers {action} to all inbound mail; write default_action=DUNNO"
    timeout = options.get("timeout") or service.value("smtpd_policy_service_timeout") or "100s"
    if _seconds(timeout) > _LONGEST:
        return f"a daemon that hangs would hold all inbound mail up for {timeout} at {each.name}; write timeout=2s"
    return None


def _seconds(text: str) -> float:
    match = re.fullmatch(r"([0-9]+)([smhdw]?)", text)
    return float("inf") if match is None else int(match[1]) * _UNITS[match[2] or "s"]
