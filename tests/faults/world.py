"""One worker's world: a daemon, a writer, the clocks, and what the model says of them."""

import math
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tests.faults import asking
from tests.faults.clock import SharedClock
from tests.faults.daemon import POINTS
from tests.faults.figures import Figures
from tests.faults.home import CONFIG, Home, read_text
from tests.faults.lines import Author, Login, known_styles
from tests.faults.model import Model
from tests.faults.writer import Writer

GRACE = 20.0  # seconds
LATE_AFTER, LOST_AFTER = 2.5, 12.0  # seconds
LOOKS_WITHIN = 1.0  # seconds in which a running daemon notices an end
STARTS_WITHIN = 60.0  # seconds: on a machine that is busy, Python takes its time
_MAY_ALL = "-dac_override,-dac_read_search"
_POWERLESS = ["setpriv", f"--bounding-set={_MAY_ALL}", f"--inh-caps={_MAY_ALL}"]
"""Root's right to open any file is taken away, so that a mode means something to a daemon of root's too."""

_BEHIND = 6 * 3600.0  # seconds
_EVERYDAY = ("granted", "renewed", "expired", "published", "left-out", "root mode", "configuration", "whoever can")


class World:
    """All that a fault can be done to."""

    def __init__(self, folder: Path, seed: str, *, small: bool) -> None:
        self.folder, self.small = folder, small
        self.rng = random.Random(seed)
        self.dice = random.Random(f"{seed} dice")  # for what hangs on the moment, so that the others stay in step
        self.figures = Figures()
        self.history: deque[str] = deque(maxlen=25)
        self.clock = SharedClock(folder / "clock", make=True)
        # The system stamps files with its own clock. Ours stays behind it, or old files would seem older than they are.
        self.clock.move(wall=-_BEHIND)
        self.author = Author(self.rng, known_styles())
        self.model = Model(GRACE, self.clock.now())
        self.writer = Writer()
        self.state, self.log = folder / "state", folder / "log" / "mail.log"
        self.state.mkdir(exist_ok=True)
        self.log.parent.mkdir(mode=0o755)
        self.powerless = [] if os.getuid() else _POWERLESS
        (folder / "trace").touch()
        pattern = self.rng.random() < 0.25  # the log is found by a pattern, else by its name
        named = self.log.with_name("m?il.log") if pattern else self.log
        (folder / "config.toml").write_text(CONFIG.format(grace=GRACE, state=self.state, log=named))
        self.note(f"follows {named.name}")
        self.home = Home()  # of the file that the writer has open
        self.daemon: subprocess.Popen[bytes] | None = None
        self.stalled = False
        self.events = True
        self._half: tuple[bytes, Login] | None = None
        self.again: set[str] = set()  # logins that may be acted on twice: a crash came before the commit
        self.said: dict[str, list[str]] = {}  # what was written of an address
        self.dead: deque[str] = deque(maxlen=200)  # addresses that were live once
        if self.rng.random() < 0.3:  # the path is a symbolic link to the file of the day
            self.log.symlink_to(self.log.with_name("mail-20261122.log"))
        self.writer.open(self.log)

    @property
    def answering(self) -> bool:
        """Whether the daemon can be asked."""
        return self.daemon is not None and not self.stalled

    def note(self, what: str) -> None:
        """Keep what was done, for the case that something goes wrong."""
        self.history.append(f"{time.monotonic():.3f} {what}")

    def problem(self, what: str, address: str = "") -> None:
        """Something is not as it must be, perhaps with one address."""
        if len(self.figures.problems) < 12:
            said = (self.folder / "daemon.log").read_text(errors="replace").splitlines()[-400:]
            said = [line[:400] for line in said if not any(word in line for word in _EVERYDAY)][-12:]
            parts = [f"PROBLEM {what}", *self._story(address), *self.history, "and the daemon:", *said]
            self.figures.problems.append("\n  ".join(parts))

    def _story(self, address: str) -> list[str]:
        """Tell all that was written, read and said of an address."""
        if not address:
            return []
        texts = [
            line
            for name in ("trace", "daemon.log")
            for line in (self.folder / name).read_text(errors="replace").splitlines()
        ]
        word = re.compile(rf"(?<![\w:.]){re.escape(address)}(?![\w:.])")
        return [*self.said.get(address, ()), *(line[:400] for line in texts if word.search(line)), "and before it:"]

    # The daemon

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.clock.set_death(0)
        first = self.clock.now()
        events = "yes" if self.events else "no"
        arguments = ["run", "--json", "--debug", "--config", str(self.folder / "config.toml")]
        with (self.folder / "daemon.log").open("ab") as output:
            self.daemon = subprocess.Popen(
                [*self.powerless, sys.executable, "-m", "tests.faults.daemon", str(self.folder), events, *arguments],
                stderr=output,
            )
        if not self.until(self._can_answer, STARTS_WITHIN) or self.daemon.poll() is not None:
            self.problem(f"the daemon did not start ({self.daemon.poll()})")
            self.figures.died += 1
            raise RuntimeError("the daemon did not start")
        self.model.began(first, self.clock.now())
        self.note(f"started, events: {events}")

    def begin(self) -> None:
        """Start the first daemon, and wait until its store knows a place: what was there before, nobody follows."""
        self.start()
        self.settle()

        def is_known() -> bool:
            with closing(sqlite3.connect(f"file:{self.state}/state.sqlite?mode=ro", uri=True)) as database:
                return bool(database.execute("SELECT count(*) FROM progress").fetchone()[0])

        assert self.until(is_known, LOST_AFTER)

    def _can_answer(self) -> bool:
        assert self.daemon is not None
        try:
            asking.permitted(self.state / "map", [])
        except OSError:
            return self.daemon.poll() is not None
        return True

    def end(self, number: signal.Signals) -> None:
        """End it by a signal."""
        assert self.daemon is not None
        self.daemon.send_signal(number)
        self._ended(number.name)

    def may_have_looked(self) -> None:
        """By now the daemon has seen what is over, but what is so for a moment only, or while it is stalled."""
        if self.daemon is not None:
            self.model.looked(self.clock.now(), time.monotonic(), math.inf if self.stalled else LOOKS_WITHIN)

    def _ended(self, how: str) -> None:
        assert self.daemon is not None
        self.daemon.wait(timeout=30)
        self.may_have_looked()
        at = time.monotonic()
        self.again = {login.user for login in (*self.model.uncommitted(at), *self.model.waiting)}
        self.model.killed(self.clock.now(), at)
        self.daemon, self.stalled = None, False
        self.note(f"ended by {how}")

    def die_at(self, point: int) -> None:
        """Let it die at a point, with logins on their way."""
        assert self.daemon is not None
        self.clock.set_death(point)
        self.say(self.rng.randrange(1, 5))
        if not self.until(lambda: self.daemon is None or self.daemon.poll() is not None, 3.0):
            self.daemon.kill()
        self.clock.set_death(0)
        self._ended(f"itself: {POINTS[point]}")

    def close(self) -> None:
        """End everything."""
        if self.daemon is not None:
            self.daemon.kill()
            self.daemon.wait()
        self.writer.close()

    # The log

    def say(
        self, count: int, *, sure: bool = True, fresh: bool = False, during: Callable[[], None] | None = None
    ) -> None:
        """Write lines in pieces, perhaps the beginning of one more; ``during`` is called while that goes on."""
        rng, now = self.rng, self.clock.now()
        data, logins = b"", []
        if self._half is not None:
            data, logins = self._half[0], [self._half[1]]
            self._half = None
        for _ in range(count):
            if rng.random() < 0.3:
                data += self.author.noise(now.wall)
            known = list(self.model.clients) if not fresh and rng.random() < 0.15 else []
            line, login = self.author.login(now.wall, self.dice.choice(known) if known else None)
            data += line
            logins.append(login)
        whole = len(data)
        if rng.random() < 0.15:
            line, login = self.author.login(now.wall)
            cut = rng.randrange(1, len(line))
            data += line[:cut]
            self._half = line[cut:], login
        cuts = sorted(rng.sample(range(whole), min(rng.randrange(5), whole))) if whole else []
        pauses = [rng.choice((0.0, 0.0, rng.random() * 0.004)) for _ in cuts]
        self.writer.write(data, cuts, pauses, during)
        at = time.monotonic()
        self.home.written_at = at
        for login in logins:
            login.sure, login.written_at = sure, at
            self.home.logins.append(login)
            self.model.written(login, now)
            self.said.setdefault(login.client, []).append(
                f"{at:.3f} written: {login.user}, stamp {login.stamp:.3f}, at {now}"
            )
        self.figures.logins += len(logins)
        self.figures.lines += data.count(b"\n")

    def finish_line(self) -> None:
        """Write the rest of a line that has begun."""
        if self._half is not None:
            self.say(0)
            self.finish_line()

    def drop_half(self) -> None:
        """Leave a line unfinished for ever: it authorizes nobody."""
        if self._half is not None:
            self.author.decoys.append(self._half[1].client)
            self._half = None

    def reopen(self, *, drop: bool | None = None) -> None:
        """Let the writer go over to what the path names; most finish their line before."""
        if drop if drop is not None else self.rng.random() < 0.3:
            self.drop_half()
        self.finish_line()
        self.writer.open(self.log)
        self.home = Home()

    # Waiting and comparing

    def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until something holds; say whether it did in time."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                return False
            time.sleep(0.002)
        return True

    def alive(self) -> bool:
        """See that the daemon has not ended by itself; if it has, start it anew."""
        assert self.daemon is not None
        if self.daemon.poll() is None:
            return True
        self.problem(f"the daemon ended by itself, with {self.daemon.returncode}")
        self.figures.died += 1
        self._ended("itself")
        self.start()
        return False

    def settle(self) -> None:
        """Wait until all that was written is acted on."""
        if not self.answering or not self.alive():
            return
        self.finish_line()
        self.say(1, fresh=True)  # where this one is seen, all that was written before it is
        self.finish_line()
        before, began = self.clock.now(), time.monotonic()
        missing: set[str] = set()

        def all_there() -> bool:
            due = self.model.due(self.clock.now())
            missing.clear()
            missing.update(set(due) - asking.permitted(self.state / "map", due))
            return not missing

        try:
            self.until(all_there, LOST_AFTER)
        except OSError as error:
            self.note(f"asking: {error}")
            if self.alive():
                raise
            return
        at = time.monotonic()
        self.figures.slowest = max(self.figures.slowest, at - began)
        self.figures.late += at - began > LATE_AFTER and not missing
        if missing:
            self._give_up(missing)
        self._count_gaps()
        self.model.settled(self.clock.now(), at)
        self.model.looked(before, at)
        self.dead.extend(self.model.prune(at))

    def _give_up(self, missing: set[str]) -> None:
        """Count what is lost, and say where it stands."""
        files = {path.name: read_text(path) for path in self.log.parent.iterdir() if path.is_file()}
        lost = [f"{address} in {[name for name, text in files.items() if address in text]}" for address in missing]
        clients = [self.model.clients[address] for address in missing]
        states = f"{[(client.states, client.branches) for client in clients]} now {self.clock.now()}"
        for address in missing:
            self.model.give_up(address)
        self.figures.lost += len(missing)
        heads = {name: text[:40] for name, text in files.items()}
        self.problem(f"lost: {'; '.join(lost)}; files begin with {heads}; {states}", next(iter(missing)))
        first = next(iter(missing))
        around = [_around(name, text, first) for name, text in files.items() if first in text]
        self.figures.problems.append("\n  ".join([f"{first} stands in", *around]))

    def _count_gaps(self) -> None:
        unsure = [login for login in self.model.waiting if not login.sure]
        found = asking.permitted(self.state / "map", [login.client for login in unsure])
        self.figures.gaps["written between copy and truncation"] += len(unsure)
        self.figures.gaps["and not read in time"] += sum(login.client not in found for login in unsure)


def _around(name: str, text: str, address: str) -> str:
    """Show a line of a file with those before it: they may say why it is not believed."""
    lines = text.split("\n")
    at = next(number for number, line in enumerate(lines) if address in line)
    return "\n    ".join([f"{name}:", *(f"{line[:60]} … {line[-200:]}" for line in lines[max(0, at - 4) : at + 1])])
