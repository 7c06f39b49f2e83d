"""The sockets that Postfix asks: there, within its reach, and answering."""

from collections.abc import Iterator
from pathlib import Path

from popbeforesmtp.errors import UnavailableError
from popbeforesmtp.links import Finding, Machine, note, sound, wrong
from popbeforesmtp.links._access import WRITE, barrier
from popbeforesmtp.links._postfix import query

PLACE = 56

_NOBODY = "0.0.0.0"  # noqa: S104 - never authorized, so the answer is known
_SHOWN = 5  # clients that are asked for


def look(machine: Machine) -> Iterator[Finding]:
    """Look at each socket as Postfix's user, and ask it as postmap(1) does."""
    if machine.postfix is None or machine.status is None:  # `daemon` tells
        return
    reader = machine.reader
    for name in machine.lookup_names:
        _, unix, place = name.partition(":unix:")
        path = Path(place)
        if unix and not path.is_socket():
            yield wrong(f"{path}: there is no socket, although the daemon runs", "restart the daemon")
            continue
        closed = None if reader is None or not unix else barrier(reader, path, WRITE)
        if closed is not None:
            yield wrong(
                f"{closed}: smtpd cannot ask",
                f"chgrp {reader.name if reader else ''} {path.parent} && chmod 2750 {path.parent},"
                " and restart the daemon",
            )
            continue
        if unix and not path.is_relative_to(machine.postfix.queue):
            yield note(
                f"{path}: is outside of {machine.postfix.queue}: an smtpd in its chroot cannot reach it",
                f'listen = "unix:{machine.postfix.queue}/pop-before-smtp/{path.name}"',
            )
        if name.startswith("socketmap:"):
            yield from _ask(machine, f"{name}:clients")


def _ask(machine: Machine, table: str) -> Iterator[Finding]:
    """Ask for somebody who may never relay, and for some who may."""
    try:
        if query(table, _NOBODY) is not None:
            yield wrong(f"{table}: lets in {_NOBODY}, who may never relay: it is not ours", "see who listens there")
            return
        for entry in (machine.authorizations or [])[:_SHOWN]:
            if query(table, str(entry["address"])) is None:
                yield wrong(f"{table}: does not let in {entry['address']}, who may relay", "restart the daemon")
                return
    except UnavailableError as error:
        yield wrong(f"{table}: does not answer: {error}", "restart the daemon")
        return
    yield sound(f"{table}: answers as the daemon decides")
