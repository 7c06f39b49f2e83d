"""Sendmail from Debian's packages, unpacked beside the machine's own mail server, in the lab's private namespace.

Debian's own sendmail.mc is used, changed only in where it listens and in what would make tests slow.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.end_to_end.lab import CONTRIB, answers, wait_for

UNPACKED = Path("/var/cache/pop-before-smtp-tests/sendmail")  # install-servers has it made
MAIL = Path("/etc/mail")
PROGRAM = "/usr/libexec/sendmail/sendmail"
USERS = {"smmta": 931, "smmsp": 932}
"""Those that Debian's package makes."""

_MC = Path("/usr/share/sendmail/cf/debian/sendmail.mc")
_CHANGED = """
define(`confCONNECTION_RATE_THROTTLE', `0')dnl
define(`confBAD_RCPT_THROTTLE', `0')dnl
define(`confSERVICE_SWITCH_FILE', `/etc/mail/service.switch-nodns')dnl
define(`confDOMAIN_NAME', `mx1.lab.example')dnl
define(`confTO_IDENT', `0')dnl
FEATURE(`accept_unresolvable_domains')dnl
"""
_ACCESS = """
GreetPause:192.0.2	0
GreetPause:IPv6:2001:db8	0
GreetPause:127.0.0.1	0
GreetPause:198.51.100	0
Connect:192.0.2.19	RELAY
Connect:192.0.2.20	REJECT
"""
"""The administrator's own access map: no pause before the greeting, and the last word on two clients."""

OWN_NETWORK, REJECTED = "192.0.2.19", "192.0.2.20"


def lay_out() -> None:
    """Put Sendmail's files over the machine's, for us alone; once is enough."""
    if (MAIL / "lab").exists():
        return
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={UNPACKED}/usr:/usr", "/usr"], check=True)
    MAIL.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", MAIL], check=True)
    shutil.copytree(UNPACKED / "etc/mail", MAIL, dirs_exist_ok=True, symlinks=True)
    for name, line in (("passwd", "{0}:x:{1}:{1}::/:/bin/false\n"), ("group", "{0}:x:{1}:\n")):
        copy = Path(f"/run/{name}")
        copy.write_text(Path(f"/etc/{name}").read_text() + "".join(line.format(*user) for user in USERS.items()))
        subprocess.run(["mount", "--bind", copy, f"/etc/{name}"], check=True)
    nsswitch = Path("/run/nsswitch.conf")
    nsswitch.write_text("passwd: files\ngroup: files\nhosts: files\n")
    subprocess.run(["mount", "--bind", nsswitch, "/etc/nsswitch.conf"], check=True)
    for name in ("m4/dialup.m4", "m4/provider.m4", "local-host-names", "trusted-users", "aliases", "lab"):
        (MAIL / name).touch()
    (MAIL / "relay-domains").write_text("lab.example\n")  # so that any user of it will do
    os.chown(MAIL, USERS["smmta"], USERS["smmsp"])  # as Debian's package does
    MAIL.chmod(0o2755)
    for folder in ("/var/spool/mqueue", "/var/lib/sendmail"):
        Path(folder).mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0700", "tmpfs", folder], check=True)
    Path("/var/lib/sendmail/host_status").mkdir()
    configure("")


def configure(lines: str, *, delayed: bool = True) -> Path:
    """Make a sendmail.cf of Debian's sendmail.mc and these lines of the administrator's; return it.

    Debian's has FEATURE(`delay_checks'): clients are judged when they name a recipient, and not as they connect.
    """
    listening = "DAEMON_OPTIONS"
    taken_out = (
        rf"^{listening}.*$" if delayed else rf"^({listening}|FEATURE\(`(delay_checks|conncontrol|ratecontrol)').*$"
    )
    debian = re.sub(taken_out, "", _MC.read_text(), flags=re.MULTILINE)
    if "FEATURE(`access_db'" in lines:
        debian = re.sub(r"^FEATURE\(`access_db'.*$", lines, debian, flags=re.MULTILINE)
        lines = ""
    head, mailers, tail = debian.partition("MAILER_DEFINITIONS")
    (MAIL / "sendmail.mc").write_text(f"{head}{_CHANGED}{lines}\n{mailers}{tail}")
    built = subprocess.run(["m4", "sendmail.mc"], cwd=MAIL, capture_output=True, text=True, check=False)
    assert (built.returncode, built.stderr) == (0, ""), built.stderr
    (MAIL / "sendmail.cf").write_text(built.stdout)
    return MAIL / "sendmail.cf"


def makemap(name: str, entries: str) -> None:
    """Make a map of the administrator's."""
    subprocess.run(["makemap", "hash", name], cwd=MAIL, input=entries, text=True, check=True)


class Sendmail:
    """One Sendmail that listens on a port of its own, for both kinds of addresses; it logs as all servers do."""

    def __init__(self, port: int, lines: str, *, delayed: bool = True) -> None:
        shutil.copy(CONTRIB / "sendmail" / "pop-before-smtp.m4", MAIL / "m4")
        listen = f"DAEMON_OPTIONS(`Family=inet6, Name=MTA, Port={port}')dnl\n"
        config = configure(listen + lines, delayed=delayed).rename(MAIL / f"{port}.cf")
        configure("")  # what makemap reads
        makemap("access", _ACCESS)
        self.port = port
        self._process = subprocess.Popen(
            [PROGRAM, "-bD", "-C", config, f"-OPidFile=/run/sendmail.{port}.pid"], stdin=subprocess.DEVNULL
        )
        wait_for("Sendmail answers", lambda: answers("127.0.0.1", port))

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(timeout=10)


def recipe(name: str) -> str:
    """Return lines for sendmail.mc as they are shipped."""
    return (CONTRIB / "sendmail" / name).read_text()
