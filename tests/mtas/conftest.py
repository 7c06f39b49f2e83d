"""A configuration of Postfix, the maps of a test, a clock, and programs of an administrator's."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from popbeforesmtp.mtas.postfix import PostfixMap
from tests.clocks import FakeClock
from tests.mtas.maps import KINDS, make
from tests.mtas.programs import Write


@pytest.fixture(scope="session")
def main_cf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a configuration of Postfix; there may be none on this machine."""
    folder = tmp_path_factory.mktemp("postfix")
    (folder / "main.cf").write_text("compatibility_level = 3.6\nmyhostname = mx1.example.net\n")
    os.utime(folder / "main.cf", (1000, 1000))  # else Postfix waits until it is two seconds old
    return folder


@pytest.fixture(autouse=True)
def configured(main_cf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all of Postfix's programs use it."""
    monkeypatch.setenv("MAIL_CONFIG", str(main_cf))


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest, configured: None) -> str:
    """Name each type of map that this Postfix can read."""
    del configured
    kind: str = request.param
    types = subprocess.run(["postconf", "-m"], capture_output=True, text=True, check=True).stdout.split()
    if kind not in types:
        pytest.skip(f"this Postfix cannot read {kind} maps")
    return kind


@pytest.fixture
def access_map(tmp_path: Path) -> Iterator[PostfixMap]:
    """Make a map object of the test's folder."""
    access_map = make(tmp_path)
    yield access_map
    access_map.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name its file."""
    return tmp_path / "clients.lmdb"


@pytest.fixture
def rung(tmp_path: Path) -> Path:
    """Name the file that ``bell`` writes a line to."""
    return tmp_path / "rung"


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still."""
    return FakeClock()


@pytest.fixture
def program(tmp_path: Path) -> Write:
    """Make a program of some lines of shell; the result is how to run it."""

    def write(text: str, name: str = "program") -> tuple[str, ...]:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return (str(path),)

    return write
