"""What every test finds as it was: the commands that tests call set what belongs to the whole process."""

import os
import signal
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _process() -> Iterator[None]:
    """Put back the umask and the signal handlers."""
    umask = os.umask(0o022)
    os.umask(umask)
    handler = signal.getsignal(signal.SIGHUP)
    yield
    os.umask(umask)
    signal.signal(signal.SIGHUP, handler)
