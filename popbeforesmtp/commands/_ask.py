"""What commands ask of the daemon, or of the store where no daemon runs."""

import sys
from typing import Any

from popbeforesmtp.config import Settings
from popbeforesmtp.control import ask


def authorizations(settings: Settings) -> list[dict[str, Any]]:
    """Return who may relay now, in the form of ``list --json``. Raises StoreError where neither can be asked."""
    answer: list[dict[str, Any]] | None = ask(settings.control, "list")
    if answer is not None:
        return answer
    from popbeforesmtp import report, wiring
    from popbeforesmtp.clock import SystemClock

    clock = SystemClock()
    store = wiring.open_store(settings.store, clock, make=False)
    try:
        print("pop-before-smtp: no daemon is running; this is what the store holds", file=sys.stderr)  # noqa: T201
        now = clock.now()
        return [report.describe(entry, now) for entry in store.load(now)]
    finally:
        store.close()


def say(sentence: str) -> None:
    """Write a line for people on standard output."""
    print(sentence)  # noqa: T201
