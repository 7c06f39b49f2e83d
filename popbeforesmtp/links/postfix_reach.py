"""Roaming clients reach Postfix: it listens beyond this machine."""

from collections.abc import Iterator

from popbeforesmtp.links import Finding, Machine, note, sound, wrong

PLACE = 58

_LOOPBACK = ("loopback-only", "localhost", "127.0.0.1", "::1", "[::1]")


def look(machine: Machine) -> Iterator[Finding]:
    """Look at the interfaces and the ports."""
    if machine.postfix is None or not machine.postfix.parameters:
        return
    interfaces = machine.postfix.parameters.get("inet_interfaces", "all").replace(",", " ").split()
    if interfaces and all(each.lower() in _LOOPBACK for each in interfaces):
        yield wrong(
            f"main.cf: inet_interfaces = {' '.join(interfaces)}: only this machine reaches Postfix",
            "postconf -e 'inet_interfaces = all', and restart Postfix",
        )
        return
    open_to_others = [each.name for each in machine.postfix.services if not each.private]
    if not open_to_others:
        yield wrong("master.cf: no smtpd listens: nobody can send", "take the # off its line `smtp inet … smtpd`")
    elif not machine.postfix.public:
        yield note(f"master.cf: nothing listens on port 25, only {', '.join(open_to_others)}: no mail comes in")
    else:
        yield sound(f"reached at: {', '.join(open_to_others)}")
