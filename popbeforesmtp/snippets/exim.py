"""Exim: contrib/exim, a host list that Exim reads anew at every question."""

from pathlib import Path

from popbeforesmtp import detect
from popbeforesmtp.links import Machine
from popbeforesmtp.snippets import contrib

DEBIAN = Path("/etc/exim4/update-exim4.conf.conf")
"""Debian makes Exim's configuration of this."""

TITLE = "Exim"
TRUSTED = """\
# These need no authorization: write the networks that Exim lets relay anyway.
trusted = []"""


def here() -> bool:
    """Say whether Exim is on this machine."""
    return detect.has_exim()


def configuration() -> str:
    """Return our tables."""
    return """\
# The host list that Exim's configuration names.
[[mta]]
type = "exim"
map = "/var/lib/pop-before-smtp/clients.exim"
"""


def lines(machine: Machine) -> str:
    """Return what goes into Exim's configuration."""
    del machine
    parts = ("list.conf", "debian.conf") if DEBIAN.exists() else ("list.conf", "acl.conf", "dnsbl.conf")
    return "\n".join(contrib(f"exim/{part}") for part in parts)
