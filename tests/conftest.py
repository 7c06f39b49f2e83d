"""What every test finds as it was: the commands that tests call set what belongs to the whole process."""

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.reloading import Running
from tests.scenes import Ear
from tests.site import Site

# How long an example takes says more of the machine than of us; and what is tried is the same each time, so that a test
# that passes passes. POPBEFORESMTP_EXPLORE=1 tries other examples each time, as `make fuzz` does.
settings.register_profile("usual", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None)
settings.load_profile("explore" if "POPBEFORESMTP_EXPLORE" in os.environ else "usual")


@pytest.fixture(autouse=True)
def _process() -> Iterator[None]:
    """Put back the umask and the signal handlers."""
    umask = os.umask(0o022)
    os.umask(umask)
    handler = signal.getsignal(signal.SIGHUP)
    yield
    os.umask(umask)
    signal.signal(signal.SIGHUP, handler)


@pytest.fixture
def said() -> Iterator[list[str]]:
    """Collect what the daemon says to the administrator."""
    ear, log = Ear(), logging.getLogger("pop-before-smtp")
    before = log.level
    log.addHandler(ear)
    log.setLevel(logging.INFO)
    yield ear.said
    log.setLevel(before)
    log.removeHandler(ear)


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a publisher try again after a moment instead of a second."""
    monkeypatch.setattr("popbeforesmtp.publisher._RETRY_FIRST", 0.001)
    monkeypatch.setattr("popbeforesmtp.publisher._RETRY_LAST", 0.002)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Make a folder for a daemon, and end what runs there."""
    made = Site(tmp_path)
    yield made
    made.close()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """Start a daemon that is told to read its configuration again; no error of it may go unnoticed."""
    site = Site(tmp_path)
    try:
        yield Running(site)
    finally:
        site.close()
    errors = (tmp_path / "stderr").read_text()
    assert "Traceback" not in errors, errors
