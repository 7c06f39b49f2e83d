"""What the benchmarks of reading share: logs to read, paired runs, rows and where they are kept."""

import compileall
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "results"
GENERATOR = HERE.parents[1] / "shared" / "tools" / "gen_log.py"
LOGIN = r"^\S+ \S+ dovecot: (imap|pop3)-login: Login: user=<[^>]+>, method=[A-Z0-9-]+, rip=[0-9a-f.:]+, lip="
"""What a login of the generated logs is, for ripgrep."""

PACKAGES = {"rg": "ripgrep", "fail2ban-regex": "fail2ban", "journalctl": "systemd", "logger": "bsdutils"}
TRUSTED = ("192.0.2.0/24", "198.51.100.0/24", "10.200.0.0/16", "2001:db8:ff00::/40")
NEVER = ("100.64.0.0/10", "10.100.0.0/16", "2001:db8:1000::/36")
"""The rules of all runs: some of the generated clients are in each list."""


@dataclass
class Row:
    """One kind of work, ours beside a peer's, in pairs; without a peer, ours alone."""

    work: str
    beside: str
    unit: str
    floor: str
    aim: str
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """The median of the ratios of each pair; None where there is no peer."""
        pairs = [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True)] if self.theirs else []
        return statistics.median(pairs) if pairs else None

    def run(self, pairs: int, ours: Callable[[], float], theirs: Callable[[], float]) -> "Row":
        """Measure so many pairs, now one and now the other first, and show them."""
        turns = [(self.ours, ours), (self.theirs, theirs)]
        for number in range(pairs):
            for samples, work in turns if number % 2 == 0 else reversed(turns):
                samples.append(work())
        return self.show()

    def show(self) -> "Row":
        """Print it."""
        ratio = self.ratio
        shown = "" if ratio is None else f"{ratio:.2f} x" if ratio >= 0.1 else f"1/{1 / ratio:.0f}"
        theirs = f"{statistics.median(self.theirs):9.3f}" if self.theirs else " " * 9
        print(
            f"{self.work:44} {self.beside:30} {statistics.median(self.ours):9.3f} {theirs} {self.unit:5} {shown:>8}"
            f"  {self.floor:>10} {self.aim:>10}  {self.note}",
            flush=True,
        )
        return self


def head() -> None:
    """Print what stands above the rows. Our modules are compiled before, as pip and dpkg do when they install."""
    compileall.compile_dir(HERE.parent / "popbeforesmtp", quiet=1)
    print(f"load {os.getloadavg()[0]:.2f}, {os.cpu_count()} cores, Python {sys.version.split()[0]}")
    print(f"{'work':44} {'beside':30} {'ours':>9} {'beside':>9} {'':5} {'ratio':>8}  {'floor':>10} {'aim':>10}")


def keep(name: str, rows: Sequence[Row], load: float) -> None:
    """Keep all samples, and how busy the machine was before and after."""
    RESULTS.mkdir(exist_ok=True)
    kept = [{**vars(row), "ratio": row.ratio} for row in rows]
    about = {"cores": os.cpu_count(), "python": sys.version.split()[0], "load": [load, os.getloadavg()[0]]}
    (RESULTS / f"{name}.json").write_text(json.dumps({**about, "rows": kept}, indent=1) + "\n")


def need(*programs: str) -> None:
    """Leave, and say what to install, where a program is missing."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        sys.exit(f"missing: {', '.join(missing)}; apt-get install {' '.join(PACKAGES[name] for name in missing)}")


def log_of(lines: int, folder: Path) -> Path:
    """Return a log of so many lines; made where it is not there yet."""
    name = f"{lines // 1_000_000}m.log" if lines % 1_000_000 == 0 else f"{lines}.log"
    path = folder / name
    if not path.exists():
        making = path.with_suffix(".part")
        generator = GENERATOR if GENERATOR.exists() else HERE / "_log.py"
        subprocess.run([sys.executable, str(generator), str(lines), str(making)], check=True, stdout=subprocess.DEVNULL)
        making.rename(path)
    with path.open("rb") as file:  # into the page cache: what is measured is not the disk
        while file.read(1 << 20):
            pass
    return path


@dataclass
class Finished:
    """A process that has ended."""

    seconds: float
    output: str
    peak: float  # MiB


def finish(*command: str, allowed: Sequence[int] = (0,), one: bool = False) -> Finished:
    """Run a whole process, its output into a pipe: GNU grep and others do less where nobody reads.

    ``one``: it may use only one processor, and so is one process.
    """
    if one:
        command = ("taskset", "--cpu-list", str(min(os.sched_getaffinity(0))), *command)
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode in allowed, f"{command[0]} ended with {process.returncode}"
    return Finished(seconds, output.decode(), usage.ru_maxrss / 1024)


def ours(*arguments: str) -> list[str]:
    """Return the command that runs a pop-before-smtp command."""
    return [sys.executable, "-m", "popbeforesmtp", *arguments]


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that so many of a hundred do not pass."""
    return sorted(values)[max(0, round(len(values) * percent / 100) - 1)]
