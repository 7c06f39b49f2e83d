#!/usr/bin/env python3
"""How long do map writes take, beside postmap(1) alone with the same entries as text? Needs Postfix, but no root.

For each lookup table type and size: all entries into a new map; all entries into a map that differs in one; one client
more or less. Runs of both alternate, in pairs. Every sample is kept in benchmarks/results/maps.json.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from popbeforesmtp import postconf
from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.mtas.postfix import PostfixMap, open_map

RESULTS = Path(__file__).parent / "results" / "maps.json"
KINDS = {"lmdb": ".lmdb", "cdb": ".cdb", "hash": ".db"}
PAIRS = {1_000: 15, 10_000: 9, 100_000: 5, 1_000_000: 2}
NEWCOMER = ClientAddress("203.0.113.77")
ENTRY = f"{NEWCOMER}\tOK\n"


@dataclass
class Row:
    """Ours beside postmap's, milliseconds, in pairs."""

    kind: str
    size: int
    operation: str
    peer: str
    ours: list[float] = field(default_factory=list)
    postmap: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """How many times postmap's median ours is."""
        return statistics.median(self.ours) / statistics.median(self.postmap)


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(PAIRS), metavar="N", help="grants in the map")
    parser.add_argument("--pairs", type=int, help="of each measurement (default: more of the short ones)")
    parser.add_argument("--folder", type=Path, help="where the maps are written: on a disk, not in memory")
    arguments = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        # Postfix's own programs want a main.cf; an empty one makes them the same on every machine.
        (Path(folder) / "main.cf").write_text("compatibility_level = 3.6\n")
        os.environ["MAIL_CONFIG"] = folder
        print(f"{'type':5} {'grants':>8}  {'what':28} {'ours ms':>9} {'postmap ms':>10} {'ratio':>6}  postmap does")
        for size in arguments.sizes:
            clients = addresses(size)
            pairs = arguments.pairs or PAIRS.get(size, 3)
            for kind in KINDS:
                for row in Bench(Path(folder), kind, clients, pairs).rows():
                    rows.append(row)
                    print(
                        f"{kind:5} {size:8}  {row.operation:28} {statistics.median(row.ours):9.1f}"
                        f" {statistics.median(row.postmap):10.1f} {row.ratio:6.2f}  {row.peer}",
                        flush=True,
                    )
    RESULTS.parent.mkdir(exist_ok=True)
    kept = [{**vars(row), "ratio": round(row.ratio, 3)} for row in rows]
    RESULTS.write_text(json.dumps({"unit": "milliseconds", "rows": kept}, indent=1) + "\n")


class Bench:
    """The measurements of one type and size."""

    def __init__(self, folder: Path, kind: str, clients: Sequence[ClientAddress], pairs: int) -> None:
        self._kind = kind
        self._clients = clients
        self._pairs = pairs
        self._ours = folder / "ours"
        self._theirs = folder / "theirs"

    def rows(self) -> list[Row]:
        """Measure all."""
        self._theirs.write_text("".join(f"{client}\tOK\n" for client in self._clients))
        rows = [self._new(), self._nearly_equal(), *self._one()]
        for file in self._files():
            file.unlink(missing_ok=True)
        return rows

    def _new(self) -> Row:
        """All entries into a new map."""
        row = Row(self._kind, len(self._clients), "all, new map", "all")
        clients = ends(self._clients)

        def ours() -> float:
            access_map = self._open()
            return timed(lambda: access_map.replace(clients), access_map.close)

        for number in range(self._pairs):
            for file in self._files():
                file.unlink(missing_ok=True)
            self._pair(row, number, ours, lambda: timed(self._postmap))
        return row

    def _nearly_equal(self) -> Row:
        """All entries into a map that differs in one: the newcomer is there and not wanted, or wanted and not there."""
        row = Row(self._kind, len(self._clients), "all, one differs", "all, over the old map")
        clients, more = ends(self._clients), ends([*self._clients, NEWCOMER])

        def ours(wanted: Mapping[ClientAddress, datetime]) -> float:
            access_map = self._open()
            return timed(lambda: access_map.replace(wanted), access_map.close)

        for number in range(self._pairs):
            wanted = clients if number % 2 else more
            self._pair(row, number, lambda wanted=wanted: ours(wanted), lambda: timed(self._postmap))
        return row

    def _one(self) -> list[Row]:
        """One client comes, or goes again; postmap writes all anew, or in place where the type allows it."""
        peers = {"whole rewrite": self._postmap}
        if self._kind != "cdb":
            peers["-i, in place"] = self._postmap_in_place
        access_map = self._open()
        access_map.replace(ends(self._clients))

        def ours(number: int) -> float:
            come, go = (ends([NEWCOMER]), []) if number % 2 == 0 else ({}, [NEWCOMER])
            return timed(lambda: access_map.change(come, go))

        rows = []
        for peer, postmap in peers.items():
            rows.append(row := Row(self._kind, len(self._clients), "one client comes or goes", peer))
            for number in range(self._pairs):
                self._pair(row, number, lambda number=number: ours(number), lambda postmap=postmap: timed(postmap))
        access_map.close()
        return rows

    def _pair(self, row: Row, number: int, ours: Callable[[], float], theirs: Callable[[], float]) -> None:
        """Run both, now one and now the other first."""
        turns = [(row.ours, ours), (row.postmap, theirs)]
        for samples, run in turns if number % 2 == 0 else reversed(turns):
            samples.append(run() * 1000)

    def _open(self) -> PostfixMap:
        return open_map(map=f"{self._kind}:{self._ours}", reload="never")

    def _files(self) -> list[Path]:
        return [Path(f"{name}{KINDS[self._kind]}") for name in (self._ours, self._theirs)]

    def _postmap(self) -> None:
        postmap(f"{self._kind}:{self._theirs}")

    def _postmap_in_place(self) -> None:
        postmap("-r", "-i", f"{self._kind}:{self._theirs}", entries=ENTRY)


def postmap(*arguments: str, entries: str = "") -> None:
    """Run postmap as anybody would."""
    program = postconf.find("postmap")
    assert program is not None, "Postfix is not on this machine"
    environment = postconf.environment()
    subprocess.run([program, *arguments], input=entries, text=True, check=True, env=environment)


def timed(work: Callable[[], object], after: Callable[[], object] = lambda: None) -> float:
    """Return how many seconds something took; what is done after it does not count."""
    began = time.perf_counter()
    work()
    taken = time.perf_counter() - began
    after()
    return taken


def ends(clients: Iterable[ClientAddress]) -> dict[ClientAddress, datetime]:
    """Say that these may relay; until when, these maps do not ask."""
    return dict.fromkeys(clients, datetime(2026, 11, 22, tzinfo=UTC))


def addresses(number: int) -> list[ClientAddress]:
    """Return so many client addresses, the same every time: half IPv4, half IPv6 without a group of zeros."""
    chance = random.Random(1)
    found: dict[ClientAddress, None] = {}
    while len(found) < number // 2:
        found[ClientAddress(".".join(str(chance.randrange(1, 224)) for _ in range(4)))] = None
    while len(found) < number:
        groups = ("2001", "db8", *(f"{chance.randrange(1, 1 << 16):x}" for _ in range(6)))
        found[ClientAddress(":".join(groups))] = None
    return list(found)


if __name__ == "__main__":
    main()
