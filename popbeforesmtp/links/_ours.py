"""Which of Postfix's restrictions ask us, and what is wrong with those that mean to and do not."""

import re
from dataclasses import dataclass
from pathlib import Path

from popbeforesmtp.links._machine import Machine
from popbeforesmtp.links._postfix import LISTS, Service
from popbeforesmtp.links._restrictions import Fate, Restriction, fate

_NAMES = re.compile(r"pop-?before-?smtp", re.IGNORECASE)
_POLICY = re.compile(r"\{\s*([^\s,{}]+)\s*,?(.*)\}", re.DOTALL)
_OPTION = re.compile(r"\{\s*(\w+)\s*=\s*([^{}]*?)\s*\}|(\w+)\s*=\s*([^\s,{}]+)")


@dataclass(frozen=True, slots=True)
class Ours:
    """What the daemon offers to Postfix."""

    maps: tuple[str, ...]  # as main.cf names them: "lmdb:/var/lib/…"
    sockets: tuple[str, ...]  # protocol and place: "socketmap:unix:/var/spool/…"
    queue: Path

    def asks(self, each: Restriction, service: Service) -> bool:
        """Say whether a restriction gets its answer from us."""
        if each.name == "permit_mynetworks":
            return any(name in service.value("mynetworks").replace(",", " ").split() for name in self.maps)
        return self.means(each) and self.problem(each, service) is None

    def means(self, each: Restriction) -> bool:
        """Say whether it means to: it names our map or socket, or something that bears our name."""
        if not each.argument:
            return False
        named = _NAMES.search(each.argument) is not None
        return (
            named or _plain(each.argument) in self.maps or _socket(each) in [self._named(one) for one in self.sockets]
        )

    def problem(self, each: Restriction, service: Service) -> str | None:
        """Say why a restriction that means to ask us does not."""
        if each.name not in ("check_client_access", "check_policy_service"):
            return f"{each} asks for something else than the client's address, which is all that we know"
        name = _socket(each)
        if name is None:
            if _plain(each.argument) in self.maps:
                return None
            ours = " or ".join(self.maps) or "no map at all"
            return f"{each} asks a map that the daemon does not write: it writes {ours}"
        reached = _within(name, self.queue, chroot=service.chroot)
        if reached in self.sockets:
            return None
        kind, _, place = reached.partition(":")
        ours = " and ".join(self.sockets) or "nowhere"
        jail = ", seen from its chroot," if service.chroot and place.startswith("unix:") else ""
        return f"{each} reaches {kind} at {place}{jail} and the daemon answers {ours}"

    def check(self) -> Restriction:
        """Return what smtpd_relay_restrictions ought to ask: the live answers, else the map."""
        for name in self.sockets:
            if name.startswith("socketmap:"):
                return Restriction("check_client_access", f"{self._named(name)}:clients")
        return self.spare()

    def spare(self) -> Restriction:
        """Return what spares roaming clients the other checks: a map, which a dead daemon cannot block."""
        for name in self.maps:
            return Restriction("check_client_access", name)
        place = next((self._named(name) for name in self.sockets if name.startswith("policy:")), "policy:unix:")
        service = place.removeprefix("policy:")
        return Restriction("check_policy_service", f"{{ {service}, timeout=2s, try_limit=1, default_action=DUNNO }}")

    def _named(self, name: str) -> str:
        """Name a socket as main.cf does, so that it is found with and without a chroot."""
        kind, _, place = name.partition(":unix:")
        path = Path(place)
        inside = bool(place) and path.is_relative_to(self.queue)
        return f"{kind}:unix:{path.relative_to(self.queue)}" if inside else name


def ours(machine: Machine) -> Ours:
    """Return what the daemon of this machine offers."""
    queue = machine.postfix.queue if machine.postfix is not None else Path("/var/spool/postfix")
    return Ours(tuple(machine.map_names), tuple(machine.lookup_names), queue)


def hurdles(us: Ours, service: Service) -> tuple[list[tuple[str, Restriction]], list[tuple[str, Restriction]]]:
    """Return the lists of a service that refuse strangers' mail to others, each with the restriction that does.

    First those where we are asked in front of it, then those where we are not.
    """
    open_to_us: list[tuple[str, Restriction]] = []
    closed: list[tuple[str, Restriction]] = []
    for name in LISTS:
        restrictions = service.restrictions(name)
        what, end = fate(restrictions)
        if what is Fate.REFUSED and end is not None:
            front = restrictions[: restrictions.index(end)]
            (open_to_us if any(us.asks(each, service) for each in front) else closed).append((name, end))
    return open_to_us, closed


def is_asked(us: Ours, service: Service) -> bool:
    """Say whether a service lets roaming clients in because we say so."""
    open_to_us, closed = hurdles(us, service)
    return bool(open_to_us) and not closed


def policy_options(argument: str) -> dict[str, str]:
    """Return the options in the braces of a check_policy_service."""
    match = _POLICY.fullmatch(argument)
    found = _OPTION.findall(match[2]) if match else []
    return {braced or plain: value or short for braced, value, plain, short in found}


def _plain(argument: str) -> str:
    return argument.removeprefix("proxy:")


def _socket(each: Restriction) -> str | None:
    """Return protocol and place, as they are written, of a restriction that asks a socket."""
    if each.name == "check_policy_service":
        match = _POLICY.fullmatch(each.argument)
        return f"policy:{match[1] if match else each.argument}"
    if each.argument.startswith("socketmap:"):
        return each.argument.rpartition(":")[0]  # without the map's name
    return None


def _within(name: str, queue: Path, *, chroot: bool) -> str:
    """Return where a service finds a socket on the whole machine: relative names begin at the queue directory."""
    kind, unix, place = name.partition(":unix:")
    if not unix:
        return name
    path = Path(place)
    path = queue / path.relative_to("/") if path.is_absolute() and chroot else queue / path
    return f"{kind}:unix:{path}"
