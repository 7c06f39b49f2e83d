"""Compares what the daemon answers with what the model says: the socketmap, `list`, the map, and the trace."""

import time
from collections import Counter

import lmdb

from tests.faults import asking
from tests.faults.model import SLACK
from tests.faults.world import World

_LATE = 1.0  # seconds by which a window may be longer or shorter than it says, or the map behind
_MAP_WAIT = 2.5  # seconds for which the map is looked at again, where it is not as it must be


class Comparer:
    """Looks at one world again and again."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._trace = (world.folder / "trace").open("rb")
        self._acted: dict[str, str] = {}  # login -> the process that acted on it last
        self._map_said: Counter[str] = Counter()

    def all(self, *, whole: bool, with_map: bool = True) -> None:
        """Compare everything; ``whole`` asks for every address there ever was, else for those of late."""
        world = self._world
        if world.figures.failed or not world.answering or not world.alive():
            return  # one fault is enough: what follows from it would only be counted again
        world.figures.checks += 1
        self._socketmap(whole=whole)
        self._list()
        if with_map:
            self._map()
        self._read_trace()

    def _socketmap(self, *, whole: bool) -> None:
        world = self._world
        clients = world.model.clients if whole else dict(list(world.model.clients.items())[-60:])
        never = [*world.author.decoys[-300 if whole else -20 :], *(world.dead if whole else ())]
        never = [address for address in never if address not in world.model.clients]
        before = world.clock.now()
        found = asking.permitted(world.state / "map", [*clients, *never])
        after = world.clock.now()
        world.figures.answers += len(clients) + len(never)
        for address, client in clients.items():
            if address in found:
                self.over(address, -client.most(before), "socketmap")
            else:
                self.short(address, client.least(after), "socketmap")
        for address in never:
            if address in found:
                self._forged(address, "socketmap")

    def _list(self) -> None:
        world = self._world
        before = world.clock.now()
        try:
            found = asking.listed(world.state / "control")
        except OSError as error:
            if world.model.frozen_at is None:
                world.problem(f"list: {error}")
            return
        after = world.clock.now()
        for address, expires in found.items():
            client = world.model.clients.get(address)
            if client is None:
                self._forged(address, "list")
                continue
            self.over(address, -client.most(before), "list")
            ends = [state.shown(before) for state in client.states if state is not None]
            if ends and min(abs(end - expires) for end in ends) > SLACK:
                self.over(address, min(expires - end for end in ends), "list's end")
                if None not in client.states:
                    self.short(address, min(end - expires for end in ends), "list's end")
        for address, client in world.model.clients.items():
            if address not in found:
                self.short(address, client.least(after), "list")

    def _map(self) -> None:
        """The map may be behind, by a second at an end: look again for a while before that is a fault."""
        began = time.monotonic()
        while True:
            missing, surplus, unknown = self._map_differs()
            if not missing and not surplus and not unknown:
                return
            took = time.monotonic() - began
            if took > _MAP_WAIT:
                break
            time.sleep(0.005)
        for address, seconds in missing.items():
            self.short(address, max(seconds, took), "map")
        for address, seconds in surplus.items():
            self.over(address, max(seconds, took), "map")
        for address in unknown:
            self._forged(address, "map")

    def _map_differs(self) -> tuple[dict[str, float], dict[str, float], list[str]]:
        world = self._world
        before = world.clock.now()
        try:
            keys = asking.mapped(world.state / "clients.lmdb")
        except (OSError, lmdb.Error) as error:
            keys = set()
            self._map_said[str(error)] += 1
        after = world.clock.now()
        clients = world.model.clients
        missing = {
            address: client.least(after)
            for address, client in clients.items()
            if client.in_map and address not in keys and client.least(after) > SLACK
        }
        over = {address: -clients[address].most(before) for address in keys if address in clients}
        surplus = {address: seconds for address, seconds in over.items() if seconds > SLACK}
        return missing, surplus, [address for address in keys if address not in clients]

    def over(self, address: str, seconds: float, where: str) -> None:
        """An address is live; its window ended so many seconds ago, if that is above zero."""
        figures = self._world.figures
        if seconds > 1e8:
            self._forged(address, where)
            return
        if where != "map" and seconds > 0:
            figures.stretched_most = max(figures.stretched_most, seconds)
        if seconds > _LATE:
            figures.stretched += 1
            figures.stretched_most = max(figures.stretched_most, seconds)
            self._world.problem(f"stretched: {address} by {seconds:.3f} s in {where}: {self._about(address)}", address)

    def short(self, address: str, seconds: float, where: str) -> None:
        """An address is not live; so many seconds of its window are left, if that is above zero."""
        figures = self._world.figures
        if where != "map" and seconds > 0:
            figures.cut_most = max(figures.cut_most, seconds)
        if seconds > _LATE:
            figures.cut += 1
            figures.cut_most = max(figures.cut_most, seconds)
            self._world.problem(f"cut: {address} by {seconds:.3f} s in {where}: {self._about(address)}", address)

    def _forged(self, address: str, where: str) -> None:
        world = self._world
        if address in world.dead:
            world.figures.stretched += 1
            world.problem(f"stretched: {address} is live again in {where}, its window was long over", address)
            world.dead.remove(address)
            return
        world.figures.forged += 1
        world.problem(f"forged: {address} in {where}, by {world.author.claims.get(address)!r}", address)
        if address in world.author.decoys:
            world.author.decoys.remove(address)

    def _about(self, address: str) -> str:
        client, now = self._world.model.clients.get(address), self._world.clock.now()
        return "" if client is None else f"{client.states} now {now}"

    def _read_trace(self) -> None:
        """Count what was acted on more than once."""
        figures = self._world.figures
        for line in self._trace:
            process, client, offset, name = line.decode().split(" ", 3)
            user = name.strip().strip("'\"").partition(">")[0]
            before = self._acted.get(user)
            self._acted[user] = process
            if before is None or not user.startswith("u"):
                continue
            if before != process and user in self._world.again:
                figures.read_again += 1
            else:
                figures.repeated += 1
                if figures.repeated <= 3:
                    why = f"repeated: {user}, by process {before} and {process}, at {offset}"
                    self._world.problem(why, client)
