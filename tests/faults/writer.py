"""The process that writes the log: it keeps its file open through renames, as syslog daemons do, until it is told."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path


class Writer:
    """The bench's end: commands down a pipe, an answer to each."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-S", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def open(self, path: Path, mode: int = 0o644) -> None:
        """Let go of the file, and open the one at the path; it is made where there is none."""
        self._do({"open": str(path), "mode": mode})

    def write(
        self,
        data: bytes,
        cuts: Sequence[int] = (),
        pauses: Sequence[float] = (),
        during: Callable[[], None] | None = None,
    ) -> None:
        """Append bytes, cut at these places, with these pauses; ``during`` is called while that goes on."""
        self._do({"write": data.hex(), "cuts": list(cuts), "pauses": list(pauses)}, during)

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait(timeout=10)

    def _do(self, command: dict[str, object], during: Callable[[], None] | None = None) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        if during is not None:
            during()
        answer = self._process.stdout.readline()
        if answer != "done\n":
            raise OSError(f"the writer: {answer!r}")


def _serve() -> None:
    descriptor = -1
    for line in sys.stdin:
        command = json.loads(line)
        if "open" in command:
            if descriptor >= 0:
                os.close(descriptor)
            os.umask(0)
            descriptor = os.open(command["open"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, command["mode"])
        else:
            data = bytes.fromhex(command["write"])
            ends = [*command["cuts"], len(data)]
            begin = 0
            for end, pause in zip(ends, [*command["pauses"], 0.0] + [0.0] * len(ends), strict=False):
                os.write(descriptor, data[begin:end])
                begin = end
                if pause:
                    time.sleep(pause)
        sys.stdout.write("done\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
