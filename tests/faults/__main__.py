"""The fault bench: moves logs, kills daemons, sets clocks, and compares every answer with a model.

Ends with 1 where a login was lost, a window stretched or cut by more than a second, or an address forged.
"""

import argparse
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.faults import Faults
from tests.faults.figures import Figures
from tests.faults.lines import known_styles
from tests.faults.world import World

_ROUND = 120  # faults in one world, before a new one is begun
_SMALL = "8m"  # the disk of store and map


def main() -> int:
    """Share the work out, add it up, and print it."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--faults", type=int, default=2000, help="how many to do, all in all (default: 2000)")
    parser.add_argument("--seed", default=None, help="do those of an earlier run again")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first problem")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    seed = arguments.seed or secrets.token_hex(4)
    if arguments.worker is not None:
        return _work(arguments, seed)
    began = time.monotonic()
    _print(f"seed {seed}, {arguments.workers} workers, styles: {', '.join(known_styles())}")
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="faults.", dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        workers = [
            _begin(arguments, f"{seed}.{number}", Path(folder) / str(number)) for number in range(arguments.workers)
        ]
        for worker, result in workers:
            if worker.wait() != 0 or not result.exists():
                figures.problems.append(f"worker {result.parent.name} ended with {worker.returncode}")
                figures.died += 1
            if result.exists():
                figures.add(json.loads(result.read_text()))
    _print(f"{figures}\nseed {seed}, {time.monotonic() - began:.0f} s")
    if arguments.json is not None:
        report = {"seed": seed, "seconds": round(time.monotonic() - began), **figures.as_dict()}
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")
    return int(figures.failed)


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _begin(arguments: argparse.Namespace, seed: str, folder: Path) -> tuple[subprocess.Popen[bytes], Path]:
    """Start a worker, where possible in a mount namespace of its own, for its small disk."""
    folder.mkdir()
    inside = ["unshare", "--mount", "--propagation", "private"] if _may_mount() else []
    faults = -(-arguments.faults // arguments.workers)
    more = ["--keep-going"] if arguments.keep_going else []
    command = [
        sys.executable,
        "-m",
        "tests.faults",
        "--worker",
        str(folder),
        "--seed",
        seed,
        "--faults",
        str(faults),
        *more,
    ]
    return subprocess.Popen([*inside, *command]), folder / "figures.json"


def _may_mount() -> bool:
    if os.getuid() != 0 or shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0


def _work(arguments: argparse.Namespace, seed: str) -> int:
    """Do faults in one world after the other."""
    figures, number = Figures(), 0
    while sum(figures.faults.values()) < arguments.faults and (arguments.keep_going or not figures.failed):
        folder = arguments.worker / f"world{number}"
        world_seed = f"{seed}.{number}"
        played = _play(folder, world_seed, min(_ROUND, arguments.faults - sum(figures.faults.values())))
        figures.add(played.as_dict())
        number += 1
        if not played.faults:  # nothing works at all: the next would not either
            break
    (arguments.worker / "figures.json").write_text(json.dumps(figures.as_dict()))
    return 0


def _play(folder: Path, seed: str, faults: int) -> Figures:
    """Do some faults in a new world."""
    state = folder / "state"
    state.mkdir(parents=True)
    small = (
        _may_mount()
        and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={_SMALL},mode=0755", "tmpfs", str(state)], check=False
        ).returncode
        == 0
    )
    world = World(folder, seed, small=small)
    try:
        world.begin()
        work = Faults(world)
        while sum(world.figures.faults.values()) < faults and not world.figures.failed:
            work.one()
    except Exception as error:  # noqa: BLE001 - with what led to it
        world.problem(f"seed {seed}: {error!r}")
        world.figures.died += 1
    finally:
        if world.figures.failed:
            world.figures.problems.append(f"world {seed}")
        if world.figures.problems:  # said at once: a long run may be given up
            _print("\n\n".join([f"world {seed}:", *world.figures.problems]))
        world.close()
        if small:
            subprocess.run(["umount", "-l", str(state)], check=False)
        shutil.rmtree(folder, ignore_errors=True)
    return world.figures


if __name__ == "__main__":
    sys.exit(main())
