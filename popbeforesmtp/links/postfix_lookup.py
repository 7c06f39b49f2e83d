"""Postfix asks us, in the list that decides, and nothing in front of it decides already."""

from collections.abc import Iterator

from popbeforesmtp.links import Finding, Machine, note, sound, wrong
from popbeforesmtp.links._ours import Ours, hurdles, is_asked, ours
from popbeforesmtp.links._postfix import LISTS, Service
from popbeforesmtp.links._restrictions import mend_checks, mend_relay, shown

PLACE = 60


def look(machine: Machine) -> Iterator[Finding]:
    """See which smtpd asks us, and why another does not."""
    if machine.postfix is None or not machine.postfix.services:
        return
    us = ours(machine)
    services = [service for service in machine.postfix.services if not service.private]
    asked = [service for service in services if is_asked(us, service)]
    for service in asked:
        lists = " and ".join(f"smtpd_{name}_restrictions" for name, _ in hurdles(us, service)[0])
        yield sound(f"{service.name} asks us, in {lists}")
    for service in services:
        broken = list(_broken(us, service))
        yield from broken
        if service in asked or broken:
            continue
        needed = not asked or service in machine.postfix.public
        if needed and _mentions(us, service):
            yield _shadowed(us, service)
        elif asked:
            yield note(
                f"{service.name} does not ask us: who sends there must authenticate",
                f"if roaming clients send there too: {_mended(us, service)}",
            )
    if not asked and not any(_mentions(us, service) for service in services):
        service = next(iter(machine.postfix.public), machine.postfix.services[0])
        yield wrong("no smtpd of this Postfix asks us: a login lets nobody in", _mended(us, service))


def _mentions(us: Ours, service: Service) -> bool:
    return any(us.means(each) for name in LISTS for each in service.restrictions(name))


def _broken(us: Ours, service: Service) -> Iterator[Finding]:
    """Give what means to ask us and cannot."""
    for name in LISTS:
        restrictions = service.restrictions(name)
        for each in restrictions:
            problem = us.problem(each, service) if us.means(each) else None
            if problem is not None:
                parameter = f"smtpd_{name}_restrictions"
                mended = (mend_relay if name == "relay" else mend_checks)(
                    restrictions, us.check() if name == "relay" else us.spare(), us.means
                )
                yield wrong(f"{service.place(parameter)}: {problem}", service.setting(parameter, shown(mended)))


def _shadowed(us: Ours, service: Service) -> Finding:
    """Say what decides before we are asked."""
    closed = hurdles(us, service)[1]
    if not closed:
        return wrong(
            f"{service.name} asks us, but nothing there refuses strangers, so that it makes no difference",
            _mended(us, service),
        )
    name, end = closed[0]
    parameter = f"smtpd_{name}_restrictions"
    return wrong(
        f"{service.place(parameter)}: {end} decides before we are asked: a login lets nobody in", _mended(us, service)
    )


def _mended(us: Ours, service: Service) -> str:
    """Return the commands that let a service ask us."""
    closed = [name for name, _ in hurdles(us, service)[1]] or ["relay"]
    commands = []
    for name in closed:
        mend, check = (mend_relay, us.check()) if name == "relay" else (mend_checks, us.spare())
        commands.append(
            service.setting(f"smtpd_{name}_restrictions", shown(mend(service.restrictions(name), check, us.means)))
        )
    return " && ".join(commands)
