"""What commands ask of the daemon, or of the store where no daemon runs."""

import sys
from datetime import UTC, datetime
from typing import Any

from popbeforesmtp.addresses import ClientAddress, parse_address
from popbeforesmtp.config import Settings
from popbeforesmtp.control import ask
from popbeforesmtp.errors import UnavailableError, UsageError
from popbeforesmtp.places import duration_of
from popbeforesmtp.text import escape


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
        print("pop-before-smtp: no daemon is running; this is what the store holds", file=sys.stderr)
        now = clock.now()
        return [report.describe(entry, now) for entry in store.load(now)]
    finally:
        store.close()


def order(settings: Settings, command: str, **details: object) -> Any:
    """Have the daemon do something, and return its answer. Raises UnavailableError where none runs."""
    answer = ask(settings.control, command, **details)
    if answer is None:
        raise UnavailableError(
            "no daemon is running; start it first (what it left behind, `pop-before-smtp sweep` ends at its time)"
        )
    return answer


def address(text: str) -> ClientAddress:
    """Read an address from the command line. Raises UsageError."""
    client = parse_address(text)
    if client is None:
        raise UsageError(f"'{escape(text)}' is no IPv4 or IPv6 address; write one, as in 192.0.2.10")
    return client


def moment(span: str | None, until: str | None) -> str | None:
    """Read when something ends, from ``--for`` or ``--until``, as RFC 3339; None where neither is given.

    Raises UsageError.
    """
    now = datetime.now(UTC)
    if span is not None:
        length = duration_of(span)
        if not length:
            raise UsageError(f"'{escape(span)}' is no duration; write a number and a unit, as in 2h (s, m, h, d)")
        try:
            return (now + length).isoformat()
        except OverflowError:
            raise UsageError(f"'{escape(span)}' is too long; 65535m is the longest") from None
    if until is None:
        return None
    try:
        end = datetime.fromisoformat(until).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(f"'{escape(until)}' is no time; write it as in 2026-12-24T18:00") from None
    if end <= now:
        raise UsageError(f"'{escape(until)}' has passed; write a time to come")
    return end.isoformat()


def say(sentence: str) -> None:
    """Write a line for people on standard output."""
    print(sentence)
