"""``type = "command"``: a program of the administrator's tells the mail server, a firewall, or anything else.

Either it is handed all clients whenever that changes, or it is run for each that comes and each that goes. Nobody can
ask it what it still holds, so everything is told again now and then: a firewall may have been loaded anew.
"""

import os
import shlex
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from itertools import islice

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.clock import Clock
from popbeforesmtp.errors import ConfigError, NotPermittedError
from popbeforesmtp.mtas import MapError
from popbeforesmtp.mtas._program import ProgramHangsError, require_program, run

_SECOND = timedelta(seconds=1)
_AGAIN = 600.0  # seconds of CLOCK_BOOTTIME after which all is told again
_MOST = 20  # runs of a program in one go, of those that only say again what was said
_ENDS = ("{seconds}", "{until}")
_WORDS = ("{address}", "{family}", *_ENDS)


def open_map(
    *,
    clock: Clock,
    list: tuple[str, ...] = (),
    grant: tuple[str, ...] = (),
    expire: tuple[str, ...] = (),
    clear: tuple[str, ...] = (),
) -> "ListCommand | ClientCommand":
    """Tell a program who may relay: the program's absolute path and its arguments, as lists; no shell reads them.

    ``list`` is run with all clients on its standard input, one address a line, at the start and whenever they change.
    Or else ``grant`` is run for each client that comes and ``expire`` for each that goes, once or again, and ``clear``
    to take out everybody, at the start too. In their arguments {address} stands for the client, {family} for 4 or 6,
    and in those of ``grant`` {seconds} for what is left of its window and {until} for its end in seconds since 1970;
    with one of these two, ``grant`` is run again when the end moves.
    """
    one_by_one = {"grant": grant, "expire": expire, "clear": clear}
    if list and not any(one_by_one.values()):
        require_program("list", list)
        _refuse_words("list", list, _WORDS)
        return ListCommand(clock, list)
    missing = [f'{name} = ["/path", …]' for name, command in one_by_one.items() if not command]
    if list or len(missing) == len(one_by_one):
        raise ConfigError('write either list = ["/path", …], or grant, expire and clear')
    if missing:
        raise ConfigError(f"grant, expire and clear go together; write {' and '.join(missing)} too")
    for name, command in one_by_one.items():
        require_program(name, command)
        if name != "clear" and "{address}" not in " ".join(command[1:]):
            raise ConfigError(f'{name}: says no client; write "{{address}}" where its address belongs')
    _refuse_words("expire", expire, _ENDS)
    _refuse_words("clear", clear, _WORDS)
    return ClientCommand(clock, grant, expire, clear)


def recall_map(name: str, clock: Clock) -> "ListCommand":
    """Return what empties a map of which only the name is left, that a store kept; both kinds are run alike for that.

    Raises NotPermittedError for root: a store may be somebody else's, and root runs only what the configuration says.
    """
    if os.geteuid() == 0:
        raise NotPermittedError(
            "root runs only what the configuration names; put its section back, start, then take it out and reload"
        )
    command = tuple(shlex.split(name))
    require_program("list", command)
    return ListCommand(clock, command)


def _refuse_words(name: str, command: tuple[str, ...], words: tuple[str, ...]) -> None:
    for word in words:
        if word in " ".join(command):
            raise ConfigError(f"{name}: {word} has no meaning here; leave it out")


class ListCommand:
    """A program that is handed all clients."""

    interval = 1.0  # seconds; it may rebuild a table each time
    timed = False

    def __init__(self, clock: Clock, command: tuple[str, ...]) -> None:
        self.name = shlex.join(command)
        self._clock = clock
        self._command = command
        self._clients: set[ClientAddress] = set()
        self._true = False  # the program knows these, and no others
        self._told_at = 0.0  # seconds of CLOCK_BOOTTIME

    def replace(self, clients: Mapping[ClientAddress, datetime]) -> None:
        """Hand over these clients, unless it was them that the program was given last."""
        now = self._clock.now().wall
        self._hand_over({client for client, end in clients.items() if end > now})

    def change(self, come: Mapping[ClientAddress, datetime], go: Collection[ClientAddress]) -> None:
        """Hand over all clients with some more, and without others."""
        now = self._clock.now().wall
        self._hand_over((self._clients - set(go)) | {client for client, end in come.items() if end > now})

    def shut(self) -> None:
        """Hand over an empty list."""
        self._hand_over(set())
        self._true = False

    def lost(self) -> bool:
        """Say that the program has to be told anew, where it was last told of nobody; else tell it now and then."""
        if self._true and self._clock.now().boottime - self._told_at >= _AGAIN:
            self._true = False
            self._hand_over(self._clients)
        return not self._true

    def cannot_hold(self, client: ClientAddress) -> None:
        """Hold every client: what becomes of it is the program's business."""

    def close(self) -> None:
        """Leave everything as it is."""

    def _hand_over(self, clients: set[ClientAddress]) -> None:
        if self._true and clients == self._clients:
            return
        self._true = False
        run(self._command, "".join(f"{client}\n" for client in sorted(clients)))
        self._clients, self._true, self._told_at = clients, True, self._clock.now().boottime


class ClientCommand:
    """A program that is run for each client; where one run fails, the others are made all the same."""

    interval = 1.0  # seconds; who comes and goes meanwhile waits, and is told then

    def __init__(self, clock: Clock, grant: tuple[str, ...], expire: tuple[str, ...], clear: tuple[str, ...]) -> None:
        self.name = shlex.join(clear)
        self.timed = any(word in argument for argument in grant for word in _ENDS)
        self._clock = clock
        self._grant, self._expire, self._clear = grant, expire, clear
        # Who may be in, and nobody else is, once it was cleared; with the end that was told, None where that failed.
        self._told: dict[ClientAddress, datetime | None] = {}
        self._told_at: dict[ClientAddress, float] = {}  # seconds of CLOCK_BOOTTIME; who was told first is the first
        self._cleared = False
        self._shut = False

    def replace(self, clients: Mapping[ClientAddress, datetime]) -> None:
        """Begin with nobody where it is not known who is in; let these in, and all others out."""
        if not self._cleared:
            self._take_out_all()
        self.change(clients, self._told.keys() - clients.keys())
        self._shut = False

    def change(self, come: Mapping[ClientAddress, datetime], go: Collection[ClientAddress]) -> None:
        """Let some out and others in."""
        errors: list[MapError] = []
        for client in go:
            self._let_out(client, errors)
        for client, end in come.items():
            seconds = int((end - self._clock.now().wall).total_seconds())
            if seconds < 1:  # to some programs no seconds are no limit
                self._let_out(client, errors)
            elif not self._knows(client, end):
                self._let_in(client, end, seconds, errors)
        _complain(errors)

    def shut(self) -> None:
        """Take everybody out at once."""
        self._take_out_all()
        self._shut = True

    def lost(self) -> bool:
        """Say that the program has to be told anew, where everybody was taken out; else tell it now and then."""
        if not self._cleared or self._shut:
            return True
        self._say_again()
        return False

    def cannot_hold(self, client: ClientAddress) -> None:
        """Hold every client: what becomes of it is the program's business."""

    def close(self) -> None:
        """Leave everything as it is."""

    def _knows(self, client: ClientAddress, end: datetime) -> bool:
        """Say whether the program was told of a client, and of this end where it wants to know."""
        told = self._told.get(client)
        return told is not None and (not self.timed or abs(end - told) < _SECOND)

    def _let_in(self, client: ClientAddress, end: datetime, seconds: int, errors: list[MapError]) -> None:
        self._told[client] = None
        if _done(_fill(self._grant, client, end, seconds), errors):
            self._told[client] = end
            self._told_at.pop(client, None)
            self._told_at[client] = self._clock.now().boottime

    def _let_out(self, client: ClientAddress, errors: list[MapError]) -> None:
        if client in self._told:
            self._told[client] = None
            if _done(_fill(self._expire, client), errors):
                del self._told[client]
                self._told_at.pop(client, None)

    def _say_again(self) -> None:
        """Let some in that were let in long ago. Raises MapError; nobody knows then who is still in."""
        now, errors = self._clock.now(), list[MapError]()
        try:
            for client, at in list(islice(self._told_at.items(), _MOST)):
                end = self._told.get(client)
                if now.boottime - at < _AGAIN or end is None:
                    continue
                seconds = int((end - now.wall).total_seconds())
                if seconds >= 1 or not self.timed:  # else it is let out presently
                    self._let_in(client, end, seconds, errors)
            _complain(errors)
        except MapError:
            self._told = dict.fromkeys(self._told)
            raise

    def _take_out_all(self) -> None:
        self._cleared = False
        run(self._clear)
        self._told, self._told_at = {}, {}
        self._cleared = True


def _complain(errors: list[MapError]) -> None:
    """Say the first error, and how many more there are. Raises MapError."""
    if errors:
        raise MapError(str(errors[0]) + (f"; and {len(errors) - 1} more" if errors[1:] else ""))


def _done(command: tuple[str, ...], errors: list[MapError]) -> bool:
    """Run a program, and say whether it did what it was to; one that hangs would hang again. Raises MapError."""
    try:
        run(command)
    except ProgramHangsError:
        raise
    except MapError as error:
        errors.append(error)
        return False
    return True


def _fill(
    command: tuple[str, ...], client: ClientAddress, end: datetime | None = None, seconds: int = 0
) -> tuple[str, ...]:
    """Put a client in place of the words; everything else in braces stays as it is."""
    values = {"{address}": client, "{family}": "6" if ":" in client else "4"}
    if end is not None:
        values |= {"{seconds}": str(seconds), "{until}": str(int(end.timestamp()))}
    filled = list(command[1:])
    for word, value in values.items():
        filled = [argument.replace(word, value) for argument in filled]
    return command[0], *filled
