"""Maps of every type as the tests of Postfix ask for them, and logins by the crowd."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.lab import MAP_PORTS, map_name

each_type = pytest.mark.parametrize("kind", MAP_PORTS)


def types(*inside: str) -> list[str]:
    """Return what types of maps Postfix can read."""
    return subprocess.run([*inside, "postconf", "-m"], capture_output=True, text=True, check=True).stdout.split()


def settings(*kinds: str) -> str:
    """Return the part of the configuration that asks for maps of these types. Skips where Postfix has no such type."""
    if not set(kinds) <= set(types()):
        pytest.skip(f"this Postfix cannot read all of: {', '.join(kinds)}")
    return "".join(mta(map_name(kind)) for kind in kinds)


def mta(name: str) -> str:
    """Return the part of the configuration that asks for a map."""
    return f'[[mta]]\ntype = "postfix"\nmap = "{name}"\n'


def held(name: str, clients: Iterable[str]) -> set[str]:
    """Return which clients Postfix's own tool finds in a map."""
    query = subprocess.run(
        ["postmap", "-q", "-", name], input="\n".join(clients), capture_output=True, text=True, check=False
    )
    assert query.stderr == ""
    return {line.partition("\t")[0] for line in query.stdout.splitlines() if line.endswith("\tOK")}


@contextlib.contextmanager
def in_place_of(program: str, script: str) -> Iterator[None]:
    """Put a script in a program's place, for us alone."""
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
        file.write(script)
        file.flush()
        os.fchmod(file.fileno(), 0o755)
        copy = shutil.copy(file.name, f"{file.name}.copy")  # one that nobody writes to can be run
    subprocess.run(["mount", "--bind", copy, program], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", program], check=True)
        Path(copy).unlink()
