"""Where things lie: the configuration, and the files that logins are written to."""

import gzip
from pathlib import Path

from tests.faults.lines import Login

CONFIG = """
grace = "{grace:.0f}s"
control = "{state}/control"
[rules]
trusted = []
[[source]]
type = "file"
path = "{log}"
timezone = "UTC"
[store]
type = "sqlite"
path = "{state}/state.sqlite"
[[mta]]
type = "postfix"
map = "lmdb:{state}/clients"
reload = "never"
[[lookup]]
type = "socketmap"
listen = "unix:{state}/map"
"""


class Home:
    """One file that logins were written to, whatever it is called."""

    def __init__(self) -> None:
        self.logins: list[Login] = []
        self.written_at = 0.0  # monotonic

    def destroy(self) -> None:
        """What it held lies nowhere any more."""
        for login in self.logins:
            login.destroyed = True
        self.logins = []


def read_text(path: Path) -> str:
    """Return what a file holds, unpacked."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rb") as file:
        return bytes(file.read()).decode(errors="replace")
