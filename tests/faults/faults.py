"""What else is done to a daemon: it is killed, stopped, stalled; clocks jump; the disk fills; rights are taken away."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

from popbeforesmtp.control import ask
from tests.faults.compare import Comparer
from tests.faults.daemon import POINTS
from tests.faults.moves import MOVES, Log
from tests.faults.world import World

_CLOCK = ("time passes", "clock set forward", "clock set back", "suspended")


class Faults:
    """Does faults to one world, and counts them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.log = Log(world)
        self.comparer = Comparer(world)
        self._rng = world.rng

    def one(self) -> None:
        """Do some fault, and then see whether all is as it must be."""
        kinds: dict[Callable[[], None], int] = {
            self.move: 66,
            self.away: 12,
            self.stall: 4,
            self.step_clock: 10,
            self.kill_twice: 1,
            self.break_map: 3,
            self.lock_map: 2,
            self.fill_disk: 1 if self.world.small else 0,
            self.without_events: 1,
        }
        self._rng.choices(list(kinds), list(kinds.values()))[0]()
        self.world.settle()
        self.comparer.all(whole=self._rng.random() < 0.1)

    def count(self, name: str) -> None:
        """Note and count a fault."""
        when = ", stalled" if self.world.stalled else "" if self.world.daemon is not None else ", while down"
        self.world.note(f"{name}{when}")
        self.world.figures.faults[f"{name}{when}"] += 1

    def move(self) -> None:
        """Move the log in some way."""
        weights = [weight for weight, _ in MOVES.values()]
        name = self._rng.choices(list(MOVES), weights)[0]
        self.count(name)
        MOVES[name][1](self.log)

    def away(self) -> None:
        """End the daemon in some way, do something while it is down, and start it again."""
        self._end()
        for _ in range(self._rng.choice((0, 1, 1, 2, 2, 3))):
            if self.world.rng.random() < 0.2:
                self._jump(self._rng.choice(_CLOCK))
            elif self._rng.random() < 0.1:
                self.count("map removed")
                (self.world.state / "clients.lmdb").unlink(missing_ok=True)
            else:
                self.move()
        if self._rng.random() < 0.1:
            self.count("machine started anew")
            self.world.model.rebooted = True
            self.world.clock.reboot()
        self.world.start()

    def _end(self) -> None:
        """End the daemon: killed while lines are written, at a point of its own, or as it wants."""
        world = self.world
        kind = self._rng.random()
        if kind < 0.15:
            self.count("stopped")
            if self._rng.random() < 0.5:
                self.log.say_some()
            world.end(signal.SIGTERM)
        elif kind < 0.6:
            self.count("killed at random")
            self.log.say_some()
            delay = self._rng.random() * 0.15
            world.until(lambda: False, delay)
            assert world.daemon is not None
            world.say(self._rng.randrange(1, 6), during=world.daemon.kill)
            world.end(signal.SIGKILL)
        else:
            point = self._rng.randrange(1, len(POINTS))
            self.count(f"killed {POINTS[point]}")
            world.die_at(point)

    def kill_twice(self) -> None:
        """Kill it again while it catches up."""
        self._end()
        self.move()
        self.world.start()
        self.world.until(lambda: False, self._rng.random() * 0.1)
        self.count("killed while catching up")
        self.world.end(signal.SIGKILL)
        self.world.start()

    def stall(self) -> None:
        """Keep it from running while the log is rotated."""
        world = self.world
        assert world.daemon is not None
        world.daemon.send_signal(signal.SIGSTOP)
        world.stalled = True
        for _ in range(self._rng.randrange(1, 4)):
            self.move()
        if self._rng.random() < 0.2:
            self.count("killed")
            world.end(signal.SIGKILL)
            world.start()
            return
        world.daemon.send_signal(signal.SIGCONT)
        world.stalled = False

    def without_events(self) -> None:
        """Follow on a file system without events for a while."""
        world = self.world
        world.events = False
        self.count("restarted without events")
        world.end(signal.SIGKILL)
        world.start()
        for _ in range(4):
            self.move()
            if self._rng.random() < 0.5:
                world.settle()
                self.comparer.all(whole=False)
        world.events = True
        world.settle()
        self.comparer.all(whole=False)  # what was acted on twice is told by the crash before this one
        self.away()

    # The clocks

    def step_clock(self) -> None:
        """Let a clock jump under the running daemon, which must notice by itself or at the next line."""
        world = self.world
        self._jump(self._rng.choice(_CLOCK))
        if self._rng.random() < 0.7:
            world.settle()
        self.comparer.all(whole=True)
        world.settle()

    def _jump(self, kind: str) -> None:
        self.count(kind)
        seconds = self._rng.choice((self._rng.random() * 5, self._rng.random() * 30))
        move = {
            "time passes": (seconds, seconds),
            "suspended": (seconds * 3, seconds * 3),
            "clock set forward": (seconds, 0.0),
            "clock set back": (-seconds, 0.0),
        }[kind]
        self.world.note(f"clock: {move}")
        self.world.may_have_looked()
        self.world.clock.move(*move)

    # Disk and rights

    def break_map(self) -> None:
        """Remove the map, or put an empty one in its place, while the daemon runs."""
        map_file = self.world.state / "clients.lmdb"
        if self._rng.random() < 0.5:
            self.count("map removed")
            map_file.unlink(missing_ok=True)
        else:
            self.count("map emptied")
            empty = self.world.state / ".clients.lmdb.nobody"
            if empty.exists():
                new = self.world.state / "other"
                new.write_bytes(empty.read_bytes())
                new.rename(map_file)

    def lock_map(self) -> None:
        """Take away the right to write the map; the live answers go on."""
        world = self.world
        self.count("map may not be written")
        map_file = world.state / "clients.lmdb"
        map_file.chmod(0o444)
        self.log.say_some()
        world.settle()
        self.comparer.all(whole=False, with_map=False)
        map_file.chmod(0o644)
        world.until(lambda: not self._trouble(), 12.0)

    def fill_disk(self) -> None:
        """Fill the disk that store and map lie on; live answers go on, and all is written when there is room again."""
        world = self.world
        self.count("disk full")
        world.settle()
        world.model.frozen_at = time.monotonic()
        ballast = world.state / "ballast"
        _fill(ballast)
        for _ in range(self._rng.randrange(1, 4)):
            world.say(self._rng.randrange(2, 9))
            self._rng.choice((self.log.rename_and_create, self.log.say_some))()
            world.settle()
            self.comparer.all(whole=False, with_map=False)
        if self._rng.random() < 0.4:
            self.count("killed while the disk is full")
            world.end(signal.SIGKILL)
            ballast.unlink()
            world.start()
        else:
            ballast.unlink()
            world.until(lambda: not self._trouble(), 15.0)
        world.model.frozen_at = None
        world.settle()
        self.comparer.all(whole=True)

    def _trouble(self) -> bool:
        """Say whether the daemon still waits for something to work again."""
        status = ask(self.world.state / "control", "status")
        words = (f"{self.world.state}/clients", f"{self.world.state}/state.sqlite")
        return status is None or any(word in warning for warning in status["warnings"] for word in words)


def _fill(path: Path) -> None:
    """Write until there is no room for a single byte."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 512, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
