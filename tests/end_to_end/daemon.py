"""pop-before-smtp itself, as a process."""

import signal
import subprocess
import sys
from pathlib import Path

from tests.site import wait_for


class Daemon:
    """pop-before-smtp itself, as a process."""

    def __init__(self, config: Path, log: Path, *program: str) -> None:
        self.log = log
        self._config = config
        self._output = log.open("ab")
        self._began = log.stat().st_size
        self.process = subprocess.Popen(
            [sys.executable, *(program or ("-m", "popbeforesmtp")), "run", "--debug", "--config", str(config)],
            stderr=self._output,
        )

    def ready(self) -> "Daemon":
        """Wait until it says that it is."""
        wait_for(
            "the daemon is ready", lambda: "ready authorizations=" in self.said() or self.process.poll() is not None
        )
        assert self.process.poll() is None, self.said()
        return self

    def said(self) -> str:
        """Return all that it has said since it began."""
        return self.log.read_bytes()[self._began :].decode()

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of its commands."""
        return subprocess.run(
            [sys.executable, "-m", "popbeforesmtp", arguments[0], "--config", str(self._config), *arguments[1:]],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it, and return its exit status."""
        self.process.send_signal(number)
        status = self.process.wait(timeout=15)
        self._output.close()
        return status
