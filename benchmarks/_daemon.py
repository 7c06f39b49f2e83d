"""The whole daemon in a folder of its own, for the benchmarks: sqlite store, lmdb map, socketmap, all rules."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks._bench import NEVER, TRUSTED, ours

_CONFIG = """
grace = "30m"
control = "{folder}/control"

[rules]
trusted = {trusted}
never = {never}

[[source]]
type = "file"
path = "{log}"

[store]
type = "sqlite"
path = "{folder}/state.sqlite"

[[mta]]
type = "postfix"
map = "lmdb:{folder}/clients"
reload = "never"

[[lookup]]
type = "socketmap"
listen = "unix:{folder}/map"
"""


class Daemon:
    """One that runs."""

    def __init__(self, folder: Path, log: Path, *record: str) -> None:
        """Start it; ``record`` are the arguments of the driver's command of that name."""
        config = folder / "config.toml"
        # Postfix's own programs wait for seconds where there is no main.cf, or one that was written just now.
        main_cf = folder / "main.cf"
        main_cf.write_text("compatibility_level = 3.6\n")
        os.utime(main_cf, (1e9, 1e9))
        lists = {"trusted": list(TRUSTED), "never": list(NEVER)}
        config.write_text(_CONFIG.format(folder=folder, log=log, **lists).replace("'", '"'))
        run = ["run", "--config", str(config)]
        driver = [sys.executable, str(Path(__file__).with_name("_driver.py")), "record", *record]
        self.began = time.perf_counter()
        self._process = subprocess.Popen(
            [*driver, *run] if record else ours(*run),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, "MAIL_CONFIG": str(folder)},
        )
        self._said = folder / "said.log"
        self.pid = self._process.pid

    def ready(self) -> float:
        """Wait until it is; return the seconds since it was started. What it says from now on goes nowhere."""
        errors = self._process.stderr
        assert errors is not None
        said = []
        for line in errors:
            said.append(line.decode())
            if b" ready " in line:
                seconds = time.perf_counter() - self.began
                self._drain = subprocess.Popen(["cat"], stdin=errors, stdout=subprocess.DEVNULL)
                return seconds
        raise AssertionError("".join(said))

    def cpu(self) -> float:
        """Return the seconds of processor time that it has used, user and system."""
        return time.clock_gettime((~self.pid << 3) | 2)  # clock_getcpuclockid(3), as the kernel counts

    def settle(self, seconds: float = 2.0) -> None:
        """Wait until it has done next to nothing for a while."""
        before = -1.0
        while (now := self.cpu()) - before > 0.01 * seconds:
            before = now
            time.sleep(seconds)

    def memory(self, name: str = "VmRSS") -> int:
        """Return how much memory it has, bytes."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))

    def stop(self) -> None:
        """End it."""
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(timeout=30) == 0
        self._drain.wait(timeout=10)
