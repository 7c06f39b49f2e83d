"""Postfix: contrib/postfix, with the lists as they are on this machine, and us in the right place of each."""

from collections.abc import Iterator

from popbeforesmtp import postconf, wiring
from popbeforesmtp.config import Section
from popbeforesmtp.errors import UnavailableError
from popbeforesmtp.links import Machine
from popbeforesmtp.links._ours import Ours, is_asked, ours
from popbeforesmtp.links._postfix import Postfix, Service, read_postfix
from popbeforesmtp.links._restrictions import Restriction, is_strict, mend_checks, mend_relay, shown
from popbeforesmtp.mtas import AccessMap
from popbeforesmtp.snippets import contrib

TITLE = "Postfix"
TRUSTED = """\
# These need no authorization: Postfix's mynetworks. Or a list, as in ["192.0.2.0/24"].
trusted = "postconf\""""


def here() -> bool:
    """Say whether there is a Postfix that can be asked."""
    try:
        postconf.value("queue_directory")
    except UnavailableError:
        return False
    return True


def configuration() -> str:
    """Return our tables: a map of the best type that this Postfix reads, and live answers in its queue directory."""
    postfix = read_postfix()
    access_map: AccessMap = wiring.open_map(Section("postfix", {}, {}, None))
    access_map.close()
    result = "permit" if postfix.postscreen else "OK"
    why = "postscreen understands no other" if postfix.postscreen else "an action of access(5) that lets the client in"
    return f"""\
# The access map, as it stands behind check_client_access in main.cf.
[[mta]]
type = "postfix"
map = "{access_map.name}"
result = "{result}"  # {why}

# The live answers, inside Postfix's queue directory, where a chrooted smtpd finds them.
[[lookup]]
type = "socketmap"
listen = "unix:{postfix.queue}/pop-before-smtp/map"
"""


def lines(machine: Machine) -> str:
    """Return what goes into main.cf and master.cf."""
    if machine.postfix is None:
        raise UnavailableError("Postfix cannot be asked any more; try again")
    return "\n".join(_paragraphs(machine.postfix, ours(machine)))


def _paragraphs(postfix: Postfix, us: Ours) -> Iterator[str]:
    head, relay, checks = contrib("postfix/main.cf").split("\n\n")
    main = Service("main.cf", chroot=False, overrides={}, parameters=postfix.parameters)
    yield f"{head}\n"
    mended = mend_relay(main.restrictions("relay"), us.check(), us.means)
    yield f"{_comment(relay)}{_setting('smtpd_relay_restrictions', mended)}"
    strict = [name for name in ("client", "helo", "sender", "recipient") if _is_strict(main, name, us)]
    if strict:
        yield _comment(checks).rstrip("\n")
        for name in strict:
            mended = mend_checks(main.restrictions(name), us.spare(), us.means)
            yield _setting(f"smtpd_{name}_restrictions", mended)
    if postfix.postscreen and us.maps:
        access = postfix.parameters.get("postscreen_access_list", "permit_mynetworks").replace(",", " ").split()
        comment = _comment(contrib("postfix/postscreen.cf")).rstrip("\n")
        yield f"{comment}\npostscreen_access_list = {', '.join(dict.fromkeys((*access, us.maps[0])))}\n"
    for service in postfix.services:
        if "smtpd_relay_restrictions" in service.overrides and not is_asked(us, service):
            mended = mend_relay(service.restrictions("relay"), us.check(), us.means)
            command = service.setting("smtpd_relay_restrictions", shown(mended))
            yield f"# If roaming clients send to {service.name} too, with lists of its own:\n#   {command}\n"


def _is_strict(main: Service, name: str, us: Ours) -> bool:
    return any(is_strict(each, us.means) for each in main.restrictions(name))


def _comment(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))


def _setting(name: str, restrictions: tuple[Restriction, ...]) -> str:
    values = (f"{'warn_if_reject ' * each.warns}{each}" for each in restrictions)
    return f"{name} =\n    " + ",\n    ".join(values) + "\n"
