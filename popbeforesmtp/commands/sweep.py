"""End what has expired when no daemon runs; a timer calls it every minute.

Where the daemon answers there is nothing to do. Otherwise every access map is made equal to what the store still
allows, and where the store cannot be read, the map is emptied: in doubt nobody relays.
"""

import argparse

from popbeforesmtp.commands import add_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_config(parser)


def run(arguments: argparse.Namespace) -> int:
    """Sweep."""
    from popbeforesmtp import config, detect, wiring
    from popbeforesmtp.clock import SystemClock
    from popbeforesmtp.commands._ask import say
    from popbeforesmtp.control import ask
    from popbeforesmtp.errors import PopBeforeSmtpError, UnavailableError
    from popbeforesmtp.stores import StoreError

    settings = config.load(arguments.config)
    try:
        if ask(settings.control, "status") is not None:
            return 0
    except UnavailableError:
        pass  # it hangs: nobody ends its windows but us
    clock = SystemClock()
    trouble: PopBeforeSmtpError | None = None
    now = clock.now()
    clients = []
    try:
        store = wiring.open_store(settings.store, clock, make=False)
        try:
            store.purge(now)
            clients = [entry.client for entry in store.load(now)]
        finally:
            store.close()
    except StoreError as error:
        trouble = error
    for section in detect.find(settings, lambda _: None).mtas:
        access_map = wiring.open_map(section)
        try:
            access_map.replace(clients)
        finally:
            access_map.close()
        say(f"{access_map.name}: {len(clients)} may still relay")
    if trouble is not None:
        raise StoreError(f"{trouble}; every access map was emptied")
    return 0
