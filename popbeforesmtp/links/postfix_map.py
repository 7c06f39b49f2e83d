"""Postfix's access map: there, readable, with a result that Postfix knows, and holding just those who may relay."""

from collections.abc import Iterator
from pathlib import Path

from popbeforesmtp import wiring
from popbeforesmtp.addresses import parse_address
from popbeforesmtp.errors import PopBeforeSmtpError, UnavailableError
from popbeforesmtp.links import Finding, Machine, note, sound, wrong
from popbeforesmtp.links._access import READ, barrier
from popbeforesmtp.links._postfix import LISTS, entries
from popbeforesmtp.links._restrictions import GRANTS

PLACE = 55

_SUFFIXES = {"lmdb": ".lmdb", "cdb": ".cdb", "hash": ".db", "btree": ".db"}


def look(machine: Machine) -> Iterator[Finding]:
    """Look at each map that we keep for Postfix."""
    if machine.postfix is None:
        return
    for section in machine.found.mtas:
        result = str(section.values.get("result", "OK"))
        if section.type == "postfix" and GRANTS.fullmatch(result) is None:
            yield wrong(f'{section.place("result")}: Postfix does not take "{result}" for a leave', 'result = "OK"')
    for name in machine.map_names:
        yield from _look_at(machine, name)


def _look_at(machine: Machine, name: str) -> Iterator[Finding]:
    kind, _, place = name.partition(":")
    path = Path(f"{place}{_SUFFIXES.get(kind, '')}")
    if not path.exists():
        yield wrong(
            f"{path}: is not there: Postfix answers 451 wherever it is asked, also when it is back",
            "start the daemon, which makes it, then `postfix reload`",
        )
        return
    if path.is_symlink() or path.stat().st_nlink > 1:
        what = "a symbolic link" if path.is_symlink() else "known by a second name (hard link)"
        yield wrong(f"{path}: is {what}: Postfix would not notice that it changes", "leave one plain file")
    closed = None if machine.reader is None else barrier(machine.reader, path, READ)
    if closed is not None:
        says = (
            wrong if _through_proxymap(machine, name) else note
        )  # smtpd opens it as root, before it enters its chroot
        yield says(f"{closed}: proxymap and postmap cannot read the map", f"chmod 0644 {path}; its folders 0755")
    try:
        held = entries(name)
    except UnavailableError as error:
        if kind != "cdb":  # postmap -s knows cdb only from Postfix 3.10 on
            yield wrong(f"{path}: cannot be read: {error}", "`pop-before-smtp sweep`, or restart the daemon")
        return
    yield from _compare(machine, name, held)


def _through_proxymap(machine: Machine, name: str) -> bool:
    services = () if machine.postfix is None else machine.postfix.services
    return any(f"proxy:{name}" in service.value(f"smtpd_{each}_restrictions") for service in services for each in LISTS)


def _compare(machine: Machine, name: str, held: dict[str, str]) -> Iterator[Finding]:
    """Hold the map against what the daemon says, or else the store."""
    granted = machine.authorizations
    if granted is not None:
        allowed = {str(entry["address"]) for entry in granted}
    else:
        try:
            store = wiring.open_store(machine.settings.store, machine.clock, make=False)
        except PopBeforeSmtpError:
            return  # `store` tells
        try:
            allowed = {str(entry.client) for entry in store.load(machine.clock.now())}
        finally:
            store.close()
    # What is refused stands in it too (restrict), and IPv6 networks in a form of the map's own.
    clients = {key for key, value in held.items() if GRANTS.fullmatch(value) and parse_address(key) is not None}
    extra = sorted(clients - allowed)
    if extra:
        yield wrong(
            f"{name}: lets in {len(extra)} clients whose time is over or who never logged in, such as {extra[0]}",
            "`pop-before-smtp sweep`, and let a timer or cron run it every minute",
        )
    else:
        yield sound(f"{name}: holds {len(clients)} clients, all of whom may relay")
