"""Runs all end-to-end tests, each file on a small network of its own, as many at a time as there are processors.

Ends with 1 where one fails, or where fewer passed than there must be: a test that is skipped proves nothing.
"""

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.end_to_end.conftest import AT_LEAST

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TOGETHER = ("exim", "sendmail")
"""What lays a server's folders over the machine's; such files run one after the other."""
SENDMAIL = ROOT / "tests" / "mtas" / "test_sendmail.py"  # needs Sendmail's own makemap, which is there inside only


def groups() -> list[list[Path]]:
    """Return the files, those that must not run at once together, the longest groups first."""
    files = sorted(HERE.glob("test_*.py"))
    found = [[file for file in files if name in file.name] for name in TOGETHER]
    found[TOGETHER.index("sendmail")].append(SENDMAIL)
    alone = [[file] for file in files if not any(name in file.name for name in TOGETHER)]
    return sorted([*found, *alone, [HERE / "recipes"]], key=lambda group: -sum(map(_size, group)))


def run(group: list[Path], counts: Path) -> bool:
    """Run a group, print what it said, and say whether all of it passed."""
    started = time.monotonic()
    ran = subprocess.run(
        [HERE / "enter", sys.executable, "-m", "pytest", *map(str, group)],
        cwd=ROOT,
        env={**os.environ, "POPBEFORESMTP_COUNTS": str(counts)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    names = " ".join(path.name for path in group)
    print(f"== {names}: {time.monotonic() - started:.0f} s\n{ran.stdout}", flush=True)  # noqa: T201
    return ran.returncode == 0


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.glob("*.py")) if path.is_dir() else path.stat().st_size


def main() -> int:
    """Run everything."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        counts = Path(folder) / "counts"
        counts.touch()
        passed = list(pool.map(lambda group: run(group, counts), groups()))
        count = sum(map(int, counts.read_text().split()))
    print(f"{count} end-to-end tests passed with real servers; at least {AT_LEAST} must", flush=True)  # noqa: T201
    return 0 if all(passed) and count >= AT_LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
