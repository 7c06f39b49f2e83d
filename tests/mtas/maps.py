"""Maps as the tests make them, and Postfix's own program that reads them."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from popbeforesmtp.mtas.postfix import PostfixMap, open_map
from tests.mtas.contract import DOUBTFUL, V6, A, B, C

needs_postfix = pytest.mark.skipif(shutil.which("postmap") is None, reason="Postfix is not installed")

LIMIT = 10.0  # seconds
NOBODY = 65534

KINDS = {"lmdb": ".lmdb", "cdb": ".cdb", "hash": ".db", "btree": ".db"}
"""Types, and what Postfix puts behind a map's name."""

ASKED = [A, B, C, V6, *DOUBTFUL, *(f"192.0.2.{number}" for number in range(3, 31))]
"""All clients of the tests; before Postfix 3.10 a cdb map can only be asked, not listed."""


def postmap(*arguments: str, said: str = "") -> str:
    """Run Postfix's own program and return what it prints."""
    run = subprocess.run(
        ["postmap", *arguments], input=said, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert run.stderr == ""
    return run.stdout


def make(folder: Path, reload: tuple[str, ...] | str = "never", kind: str = "lmdb", result: str = "OK") -> PostfixMap:
    """Make the map object of a folder."""
    return open_map(map=f"{kind}:{folder}/clients", reload=reload, result=result)


def read(folder: Path, kind: str = "lmdb") -> dict[str, str]:
    """List what Postfix finds in the map of a folder."""
    name = f"{kind}:{folder}/clients"
    found = postmap("-q", "-", name, said="\n".join(ASKED)) if kind == "cdb" else postmap("-s", name)
    return dict(row.split("\t") for row in found.splitlines())


@contextmanager
def closing(access_map: PostfixMap) -> Iterator[PostfixMap]:
    """Close a map in the end."""
    try:
        yield access_map
    finally:
        access_map.close()


def bell(rung: Path, then: str = "") -> tuple[str, ...]:
    """Make a reload command that can be counted."""
    return ("sh", "-c", f'echo rung >> "$0"; {then}', str(rung))


def times(rung: Path) -> int:
    """Say how often it was run."""
    return rung.read_text().count("rung") if rung.exists() else 0
