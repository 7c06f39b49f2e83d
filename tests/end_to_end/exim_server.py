"""Debian's Exim, unpacked beside the Postfix that the machine has, with the lines of contrib/exim in its configuration.

Each configuration runs as a daemon of its own, on a port of its own: Debian's split one, Debian's template, and a plain
one that is as short as can be.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.end_to_end.lab import CONTRIB, answers, wait_for

LINES = CONTRIB / "exim"
OUTSIDE, OWN = "somebody@elsewhere.example", "mail@lab.example"  # a user of every Debian: it verifies recipients
LISTED, LISTED_STRANGER = "192.0.2.13", "192.0.2.14"  # in rbl.example

_USER = "Debian-exim"
_UNPACK = Path(__file__).with_name("unpack")
_TREE = Path("/var/cache/pop-before-smtp-tests/exim")
_ETC = Path("/etc/exim4")
_ACCOUNTS = {"passwd": f"{_USER}:x:950:950::/var/spool/exim4:/usr/sbin/nologin\n", "group": f"{_USER}:x:950:\n"}

_DEBCONF = """
dc_eximconfig_configtype='internet'
dc_other_hostnames='lab.example'
dc_local_interfaces=''
dc_readhost=''
dc_relay_domains=''
dc_minimaldns='false'
dc_relay_nets=''
dc_smarthost=''
CFILEMODE='644'
dc_use_split_config='{split}'
dc_hide_mailname=''
dc_mailname_in_oh='true'
dc_localdelivery='mail_spool'
"""
"""What debconf writes into update-exim4.conf.conf for an "internet site"."""

_PLAIN = """
primary_hostname = mx1.lab.example
spool_directory = /var/spool/exim4
log_file_path = /var/log/exim4/%slog
keep_environment =
domainlist local_domains = lab.example
domainlist relay_to_domains =
hostlist relay_from_hosts = 127.0.0.1
.include {lists}
acl_smtp_rcpt = acl_check_rcpt
begin acl
acl_check_rcpt:
  accept hosts = +relay_from_hosts
{restricted}
.include {lines}/acl.conf
  require message = relay not permitted
          domains = +local_domains : +relay_to_domains
.include {lines}/dnsbl.conf
  accept
"""


def available() -> bool:
    """Say whether Exim is unpacked, or can be."""
    return subprocess.run([_UNPACK, "exim", "exim4-daemon-light"], capture_output=True, check=False).returncode == 0


class Exim:
    """All of its daemons."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []

    def debian(self, port: int, lists: str, *, split: bool) -> None:
        """Start one with Debian's own configuration, with some lists of contrib/exim where debian.conf says."""
        place = _ETC / ("conf.d/main/000_pop-before-smtp" if split else "exim4.conf.localmacros")
        restricted = f"CHECK_RCPT_LOCAL_ACL_FILE = {LINES}/restricted.conf\n" if _restricts(lists) else ""
        place.write_text((LINES / lists).read_text() + (LINES / "debian.conf").read_text() + restricted)
        (_ETC / "update-exim4.conf.conf").write_text(_DEBCONF.format(split="true" if split else "false"))
        config = self._folder / f"debian-{port}.conf"
        made = subprocess.run(
            [_TREE / "usr/sbin/update-exim4.conf", "-o", config], capture_output=True, text=True, check=False
        )
        place.unlink()
        assert (made.returncode, made.stderr) == (0, "")
        self._start(config, port)

    def plain(self, port: int, lists: str) -> None:
        """Start one with a configuration that is not Debian's."""
        config = self._folder / f"plain-{port}.conf"
        restricted = f".include {LINES}/restricted.conf" if _restricts(lists) else ""
        config.write_text(_PLAIN.format(lists=LINES / lists, lines=LINES, restricted=restricted))
        self._start(config, port)

    def expand(self, text: str) -> list[str]:
        """Let Exim expand lines of text, as it would in a configuration."""
        config = self._folder / "expand.conf"
        config.write_text("spool_directory = /var/spool/exim4\nkeep_environment =\n")
        run = subprocess.run(
            [_program(), "-C", config, "-be"],
            input=text,
            env=_environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stderr == ""
        return run.stdout.removeprefix("> ").removesuffix("\n> \n").split("\n> ")

    def _start(self, config: Path, port: int) -> None:
        checked = subprocess.run(
            [_program(), "-C", config, "-bV"], env=_environment(), capture_output=True, text=True, check=False
        )
        assert (checked.returncode, checked.stderr) == (0, "")
        with (self._folder / "exim.log").open("ab") as output:
            self._processes.append(
                subprocess.Popen(
                    [_program(), "-C", config, "-bdf", "-oX", str(port), "-oP", self._folder / f"{port}.pid"],
                    env=_environment(),
                    stdout=output,
                    stderr=output,
                )
            )
        wait_for("Exim answers", lambda: answers("127.0.0.1", port))

    def stop(self) -> None:
        """Stop all."""
        for process in self._processes:
            process.terminate()
            process.wait(timeout=10)


@contextmanager
def prepared() -> Iterator[None]:
    """Add Exim's user, its folders and a mail name, to private copies."""
    folder = Path("/run/exim-copies")
    folder.mkdir()
    for name, line in _ACCOUNTS.items():
        copy = folder / name
        copy.write_text(Path("/etc", name).read_text() + line)
        subprocess.run(["mount", "--bind", copy, f"/etc/{name}"], check=True)
    for private in (_ETC, Path("/var/spool/exim4")):
        private.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", private], check=True)
    shutil.copytree(_TREE / "etc/exim4", _ETC, dirs_exist_ok=True)
    Path("/var/log/exim4").mkdir()
    for owned in ("/var/spool/exim4", "/var/log/exim4"):
        shutil.chown(owned, _USER, _USER)
    name = Path("/etc/mailname")
    missing = not name.exists()
    if missing:
        name.write_text("lab.example\n")
    try:
        yield
    finally:
        if missing:
            name.unlink()
        shutil.rmtree("/var/log/exim4")
        for place in ("/var/spool/exim4", _ETC, "/etc/group", "/etc/passwd"):
            subprocess.run(["umount", "--lazy", place], check=True)
        for place in ("/var/spool/exim4", _ETC):
            with suppress(OSError):  # it is not ours where something is in it
                Path(place).rmdir()
        shutil.rmtree(folder)


def _restricts(lists: str) -> bool:
    """Say whether a file of contrib/exim also knows networks that are refused."""
    return "hostlist pop_before_smtp_restricted" in (LINES / lists).read_text()


def _program() -> Path:
    return _TREE / "usr/sbin/exim4"


def _environment() -> dict[str, str]:
    """Return an environment in which the program finds the libraries that came with it."""
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, _TREE.glob("usr/lib/*-linux-gnu*")))}
