"""Postfix takes mail for its own domains, and not for everybody's."""

from collections.abc import Iterator

from popbeforesmtp.errors import UnavailableError
from popbeforesmtp.links import Finding, Machine, sound, wrong
from popbeforesmtp.links._postfix import query

PLACE = 84

_NOBODYS = "relay-test.invalid"  # RFC 2606
_LISTS = ("mydestination", "relay_domains", "virtual_alias_domains", "virtual_mailbox_domains")


def look(machine: Machine) -> Iterator[Finding]:
    """Ask each map of domains for one that is nobody's: where it is held, strangers may send to anywhere."""
    if machine.postfix is None:
        return
    everybodys = False
    for parameter in _LISTS:
        for word in machine.postfix.parameters.get(parameter, "").replace(",", " ").split():
            if ":" not in word or word.startswith(("!", "/", "$")):
                continue
            try:
                held = query(word, _NOBODYS) is not None
            except UnavailableError:
                continue  # Postfix says so in its log, and puts mail off
            if held:
                everybodys = True
                yield wrong(
                    f"open relay: main.cf: {parameter} holds every domain, {_NOBODYS} too, by {word}",
                    f"postconf -e '{parameter} = …' with your own domains only",
                )
    if not everybodys:
        yield sound("Postfix takes mail for its own domains alone")
