#!/usr/bin/env python3
"""Runs the real daemon where nothing of this machine is touched: state, map and sockets lie in a private folder.

It follows this machine's mail log if there is a login in its last 10 MB, else a demonstration log that grows while one
watches, played from sample_logs/. Ctrl-C ends it.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from popbeforesmtp.detect import mail_log

_SAMPLE = Path(__file__).parents[2] / "sample_logs" / "dovecot-2.3.19.1-traditional.log"
_LAST = 10_000_000
_COMMAND = (sys.executable, "-m", "popbeforesmtp")


def main() -> int:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grace", default="20s", help="how long a login of the demonstration log lasts")
    parser.add_argument("--demo", action="store_true", help="play the demonstration log in any case")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pop-before-smtp.") as name:
        folder = Path(name)
        real = None if arguments.demo else real_log()
        log, grace = (real, "30m") if real else (folder / "mail.log", arguments.grace)
        config = folder / "pop-before-smtp.toml"
        config.write_text(configuration(folder, log, grace))
        print(
            f"Following {log}" + ("" if real else f", played from {_SAMPLE.name}: no login was found on this machine")
        )
        print(f"In another terminal: {sys.executable} -m popbeforesmtp list --config {config}")
        print("Ctrl-C ends it.", flush=True)
        daemon = subprocess.Popen([*_COMMAND, "run", "--config", str(config)], start_new_session=True)
        signal.signal(signal.SIGTERM, lambda *_: daemon.terminate())
        if not real:
            threading.Thread(target=play, args=(log,), daemon=True).start()
        try:
            return daemon.wait()
        except KeyboardInterrupt:
            daemon.terminate()
            return daemon.wait()


def real_log() -> Path | None:
    """Return this machine's mail log, if somebody logged in not long ago."""
    path = mail_log()
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - _LAST))
            log.readline()
            scan = subprocess.run([*_COMMAND, "scan", "--json", "-"], stdin=log, capture_output=True, check=False)
    except OSError:
        return None
    return path if any(json.loads(line)["event"] == "login" for line in scan.stdout.splitlines()) else None


def configuration(folder: Path, log: Path, grace: str) -> str:
    """Write a configuration that touches nothing outside a folder."""
    return f"""\
grace = "{grace}"
control = "{folder}/control"
[rules]
trusted = []
[[source]]
type = "file"
path = "{log}"
[store]
type = "sqlite"
path = "{folder}/state.sqlite"
[[mta]]
type = "postfix"
map = "lmdb:{folder}/clients"
reload = "never"
[[lookup]]
type = "socketmap"
listen = "unix:{folder}/map"
"""


def play(log: Path) -> None:
    """Write the sample's lines as if they happened now, again and again."""
    with log.open("ab", buffering=0) as out:
        while True:
            for line in _SAMPLE.read_bytes().splitlines(keepends=True):
                stamp = time.strftime("%b %e %H:%M:%S").encode()
                out.write(stamp + line[len(stamp) :])
                time.sleep(0.4)


if __name__ == "__main__":
    os.environ.pop("JOURNAL_STREAM", None)
    sys.exit(main())
