"""Runs all end-to-end tests, each file on a small network of its own, as many at a time as there are processors.

Ends with 1 where one fails, or where fewer passed than there must be: a test that is skipped proves nothing. A machine
that others use too stands still now and then, and real servers go by the clock; so what fails is run once more, by
itself, and what passes then is named at the end: it is to be looked into, but it is no broken test.
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


def run(group: list[Path], folder: Path) -> tuple[bool, bool]:
    """Run a group, and what fails once more; say whether all of it passed in the end, and whether at once."""
    kept = folder / group[0].name
    if _ran(group, folder / "counts", "-o", f"cache_dir={kept}"):
        return True, True
    return _ran(
        group, folder / "counts", "-o", f"cache_dir={kept}", "--last-failed", "--last-failed-no-failures=none"
    ), False


def _ran(group: list[Path], counts: Path, *options: str) -> bool:
    """Run tests of a group, print what they said, and say whether all of them passed."""
    started = time.monotonic()
    ran = subprocess.run(
        [HERE / "enter", sys.executable, "-m", "pytest", *options, *map(str, group)],
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
        (Path(folder) / "counts").touch()
        all_groups = groups()
        ran = list(pool.map(lambda group: run(group, Path(folder)), all_groups))
        count = sum(map(int, (Path(folder) / "counts").read_text().split()))
    for group, (passed, at_once) in zip(all_groups, ran, strict=True):
        if passed and not at_once:
            print(f"passed at the second try only: something in {group[0].name}", flush=True)  # noqa: T201
    print(f"{count} end-to-end tests passed with real servers; at least {AT_LEAST} must", flush=True)  # noqa: T201
    return 0 if all(passed for passed, _ in ran) and count >= AT_LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
