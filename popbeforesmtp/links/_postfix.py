"""Postfix's configuration as postconf(1) prints it: parameters, and each smtpd with its own overrides."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from popbeforesmtp import postconf
from popbeforesmtp.errors import UnavailableError
from popbeforesmtp.links._restrictions import Restriction, parse

LISTS = ("client", "helo", "sender", "relay", "recipient")
"""The lists that are asked before a recipient is taken, ``smtpd_…_restrictions``, in their order."""

_SECONDS = 10.0  # that a program may take
_BLANKS = re.compile(r"[\s,]+")


@dataclass(frozen=True, slots=True)
class Service:
    """One smtpd of master.cf."""

    name: str  # as postconf names it: "smtp/inet"
    chroot: bool
    overrides: Mapping[str, str]  # its -o options
    parameters: Mapping[str, str]  # main.cf's

    @property
    def private(self) -> bool:
        """Whether only this machine reaches it: what content filters hand mail back to."""
        return self.name.startswith(("127.", "localhost:", "[::1]:"))

    def value(self, parameter: str) -> str:
        """Return a parameter as this service has it."""
        return self.overrides.get(parameter, self.parameters.get(parameter, ""))

    def restrictions(self, name: str) -> tuple[Restriction, ...]:
        """Return one of its lists, with restriction classes put in place of their names."""
        classes = {
            known: self.value(known) for known in self.value("smtpd_restriction_classes").replace(",", " ").split()
        }
        return parse(self.value(f"smtpd_{name}_restrictions"), name, classes)

    def setting(self, parameter: str, value: str) -> str:
        """Return the command that sets a parameter where this service has it from; -P takes no blanks."""
        if parameter in self.overrides:
            if "{" in value:
                return f"master.cf, {self.name}: -o {{ {parameter} = {value} }}"
            return f"postconf -P '{self.name}/{parameter}={_BLANKS.sub(',', value)}'"
        return f"postconf -e '{parameter} = {value}'"

    def place(self, parameter: str) -> str:
        """Say where this service has a parameter from."""
        return f"master.cf, {self.name}: {parameter}" if parameter in self.overrides else f"main.cf: {parameter}"


@dataclass(frozen=True, slots=True)
class Postfix:
    """The whole configuration of one Postfix."""

    parameters: Mapping[str, str]  # expanded
    services: tuple[Service, ...]
    postscreen: bool  # stands in front of smtpd on some port

    @property
    def queue(self) -> Path:
        """The queue directory: the root folder of what is chrooted."""
        return Path(self.parameters.get("queue_directory", "/var/spool/postfix"))

    @property
    def public(self) -> tuple[Service, ...]:
        """The services that take mail of strangers: those of port 25, behind postscreen too."""
        return tuple(each for each in self.services if each.name in ("smtp/inet", "25/inet", "smtpd/pass"))


def read_postfix() -> Postfix:
    """Ask Postfix. Raises UnavailableError."""
    return understand(_ask("-x"), _ask("-M"), _ask("-Px"))


def understand(main: str, services: str, overrides: str) -> Postfix:
    """Make it of what ``postconf -x``, ``-M`` and ``-Px`` print."""
    parameters = _values(main)
    special = _values(overrides)
    old = parameters.get("compatibility_level", "").partition(".")[0] in ("", "0")
    found, postscreen = [], False
    for line in services.splitlines():
        fields = line.split()
        if len(fields) < 8:
            continue
        name = f"{fields[0]}/{fields[1]}"
        postscreen |= fields[7] == "postscreen"
        if fields[7] == "smtpd":
            own = {key.removeprefix(f"{name}/"): value for key, value in special.items() if key.startswith(f"{name}/")}
            chroot = fields[4] == "y" or (fields[4] == "-" and old)
            found.append(Service(name, chroot, own, parameters))
    return Postfix(parameters, tuple(found), postscreen)


def query(table: str, key: str) -> str | None:
    """Ask one of Postfix's lookup tables as Postfix does, through postmap(1); None where it has no such key.

    Raises UnavailableError where it cannot be asked.
    """
    try:
        return postconf.run("postmap", "-q", key, table, seconds=_SECONDS).strip("\n")
    except UnavailableError as error:
        _, failed, said = str(error).partition("` failed: ")
        if failed and "fatal:" not in said and "error:" not in said:  # not found; of main.cf it may have warned
            return None
        raise


def entries(table: str) -> dict[str, str]:
    """Return all that a file holds that postmap(1) wrote. Raises UnavailableError."""
    lines = postconf.run("postmap", "-s", table, seconds=_SECONDS).splitlines()
    return {key: value for key, _, value in (line.partition("\t") for line in lines)}


def _ask(option: str) -> str:
    return postconf.run("postconf", option, seconds=_SECONDS)


def _values(text: str) -> dict[str, str]:
    """Read lines ``name = value``."""
    lines = (line.partition("=") for line in text.splitlines())
    return {name.strip(): value.strip() for name, equals, value in lines if equals}
