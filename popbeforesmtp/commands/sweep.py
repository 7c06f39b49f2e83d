"""End what has expired when no daemon runs; a timer calls it every minute.

It says nothing where all is well.

Where the daemon answers there is nothing to do. Otherwise every access map is made equal to what the store still
allows; where the store cannot be read, or the daemon was stopped for good and the configuration says stop = "close",
the maps are emptied: in doubt nobody relays.
"""

import argparse
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from popbeforesmtp.commands import add_config

if TYPE_CHECKING:
    from datetime import datetime

    from popbeforesmtp.addresses import ClientAddress
    from popbeforesmtp.config import Settings
    from popbeforesmtp.mtas import AccessMap
    from popbeforesmtp.rules import Rules

_RESTART = 30.0  # seconds that a restart may take; a daemon that was stopped longer ago was stopped for good


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_config(parser)
    parser.add_argument(
        "--empty", action="store_true", help="let nobody in, whatever the store says: the daemon is being removed"
    )


def run(arguments: argparse.Namespace) -> int:
    """Make every map true where no daemon does. Raises the first error, with the sentences of all."""
    from popbeforesmtp import config, wiring
    from popbeforesmtp.classic import bridge
    from popbeforesmtp.control import ask
    from popbeforesmtp.errors import DataError, NotPermittedError, PopBeforeSmtpError, UnavailableError
    from popbeforesmtp.rulesettings import NO_RULES
    from popbeforesmtp.stores import StoreError

    errors: list[PopBeforeSmtpError] = []
    try:
        settings = bridge.load(arguments.config)
    except PopBeforeSmtpError as error:
        # A daemon that was started before somebody broke the configuration has left its maps all the same.
        settings = config.Settings()
        errors.append(error)
    try:  # a daemon that is being removed has been stopped
        if not arguments.empty and ask(settings.control, "status") is not None:
            return 0
    except (UnavailableError, NotPermittedError, DataError):
        pass  # it hangs, or died as another user: nobody ends its windows but us
    maps = wiring.existing_maps() if settings.mtas is None else settings.mtas
    blocked = wiring.told_of_blocked(settings)  # kept by no store: who is blocked without a daemon is let out
    left = _Left()
    try:
        left = _left(settings)
        if arguments.empty:
            left = _Left(maps=left.maps)
    except PopBeforeSmtpError as error:
        if not maps and not blocked:
            return 0  # no daemon has run here yet
        if maps:
            errors.append(StoreError(f"{error}; so nobody may relay any more"))
    # Without a configuration only a map that a daemon kept last is filled: nobody would look after another later.
    kept = [section for section in maps if settings.mtas is not None or wiring.map_key(section) in left.maps]
    try:
        forgotten = wiring.forgotten_maps(left.maps, (*maps, *blocked))
    except PopBeforeSmtpError as error:
        forgotten = ()
        errors.append(error)
    for section in (*forgotten, *blocked, *maps):  # in this order: two names may mean one file
        rules = settings.rules if section in maps else NO_RULES  # a forgotten one may be unable to say them
        try:
            _make_true(wiring.open_map(section, rules), left.clients if section in kept else {})
        except PopBeforeSmtpError as error:  # the other maps are swept all the same
            errors.append(error)
    if errors:
        raise type(errors[0])("; ".join(map(str, errors)))
    return 0


def _make_true(access_map: "AccessMap", clients: "dict[ClientAddress, datetime]") -> None:
    """Make a map equal to what is left, or else let nobody in. Raises MapError.

    A map that was ours is shut too where somebody has put an entry of theirs beside our clients: who would end those?
    One that never was is left alone: DataError.
    """
    from popbeforesmtp.errors import DataError, PopBeforeSmtpError
    from popbeforesmtp.mtas import MapError

    try:
        access_map.replace(clients)
    except PopBeforeSmtpError as error:
        try:
            access_map.shut()
        except MapError as worse:
            if isinstance(error, DataError):  # never ours: there is no empty map kept ready for it
                raise error from None
            raise MapError(f"{error}; and it cannot be emptied either: {worse}") from None
        raise MapError(f"{error}; now it holds nobody") from None
    finally:
        access_map.close()


@dataclass(frozen=True, slots=True)
class _Left:
    """What a store still knows."""

    clients: "dict[ClientAddress, datetime]" = field(default_factory=dict)
    maps: list[str] = field(default_factory=list)


def _rules(settings: "Settings") -> "Rules":
    """Read the rules; where a file that they name cannot be read, at least what was done by hand counts."""
    from popbeforesmtp.errors import ConfigError
    from popbeforesmtp.rules import Rules

    try:
        return settings.rules.rules(settings.grace, settings.hold)
    except ConfigError:
        return Rules(settings.grace, ipv6_prefix=settings.rules.ipv6_prefix)


def _left(settings: "Settings") -> _Left:
    """Return whose windows are still open and which maps there are, and forget all else. Raises StoreError."""
    from dataclasses import replace

    from popbeforesmtp import wiring
    from popbeforesmtp.clock import SystemClock
    from popbeforesmtp.revocations import newest
    from popbeforesmtp.rules import taken_back

    clock = SystemClock()
    now = clock.now()
    store = wiring.open_store(settings.store, clock, make=False)
    try:
        store.purge(now)
        stopped = store.stopped_at()
        if settings.stop == "close" and stopped is not None:
            ago = (now.wall - stopped).total_seconds()
            if not 0 <= ago <= _RESTART:  # a time that is yet to come was written by a clock that was wrong
                return _Left(maps=store.maps())
        written = replace(_rules(settings), tombstones=newest(store.tombstones()))
        times = [progress.time for progress in store.progress().values() if progress.time is not None]
        blind = all(time + settings.grace <= now.wall for time in times)
        ends: dict[ClientAddress, datetime] = {}
        for entry in store.load(now):
            if taken_back(entry, written, now) is not None:  # a revocation was cut short, or never has grown
                continue
            if entry.rule == "hold" and blind:  # nobody has looked for a grace period whether its session has ended
                continue
            ends[entry.client] = max(entry.ends_at(now), ends.get(entry.client, now.wall))
        return _Left(ends, store.maps())
    finally:
        store.close()
