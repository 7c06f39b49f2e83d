"""Programs of an administrator's, as the tests make them."""

from collections.abc import Callable
from pathlib import Path

from popbeforesmtp.mtas.command import ClientCommand, ListCommand, open_map
from tests.clocks import FakeClock
from tests.site import ROOT

WRITE_LIST = str(ROOT / "contrib" / "command" / "write-list")

Write = Callable[..., tuple[str, ...]]


def open_list(clock: FakeClock, *command: str) -> ListCommand:
    """Open a map that hands over all clients."""
    made = open_map(clock=clock, list=command)
    assert isinstance(made, ListCommand)
    return made


class Told:
    """A program that keeps what it is told: a line for each run, and a file for each client that is in."""

    def __init__(self, clock: FakeClock, folder: Path, *words: str) -> None:
        self.clock = clock
        self.folder = folder
        self._words = words
        (folder / "in").mkdir(parents=True, exist_ok=True)
        self.broken = folder / "broken"
        self._path = folder / "told"
        self._path.write_text(
            '#!/bin/sh\ncd "${0%/*}" || exit\necho "$*" >>log\n! grep -sqxF -e "$2" broken || '
            '{ echo no >&2; exit 3; }\ncase $1 in in) : >"in/$2" ;; out) rm -f "in/$2" ;; none) rm -f in/* ;; esac\n'
        )
        self._path.chmod(0o755)

    def open(self) -> ClientCommand:
        """Open a map that tells it."""
        path = str(self._path)
        made = open_map(
            clock=self.clock,
            grant=(path, "in", "{address}", *self._words),
            expire=(path, "out", "{address}"),
            clear=(path, "none"),
        )
        assert isinstance(made, ClientCommand)
        return made

    def holds(self) -> set[str]:
        """Return who is in."""
        return {path.name for path in (self.folder / "in").iterdir()}

    def lose(self) -> None:
        """Forget who is in, as a firewall does that is loaded anew."""
        for path in (self.folder / "in").iterdir():
            path.unlink()

    def runs(self) -> list[str]:
        """Return the arguments of all runs since the last question."""
        log = self.folder / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        log.write_text("")
        return lines
