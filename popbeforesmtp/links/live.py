"""A conversation with the mail server itself, up to RCPT, from an address of this machine that it does not trust.

It proves that strangers cannot relay, that the daemon is asked, and that mail for our own domain is taken. It cannot
prove that a roaming client gets in: none of this machine's own addresses is ever authorized.
"""

import smtplib
import socket
from collections.abc import Iterator

from popbeforesmtp import detect
from popbeforesmtp.addresses import NEVER, ClientAddress
from popbeforesmtp.control import ask
from popbeforesmtp.errors import PopBeforeSmtpError
from popbeforesmtp.links import Finding, Machine, note, sound, wrong
from popbeforesmtp.text import escape

PLACE = 100

PORT = 25
_SECONDS = 60.0  # greeting delays and slow name servers included
_OUTSIDE = "relay-test@example.com"  # RFC 2606: it exists, takes no mail, and is nobody's domain here
_ELSEWHERE = "from another host: send mail before a login, which must be refused, and after one, which must go out"


def look(machine: Machine) -> Iterator[Finding]:
    """Speak, where it was asked for."""
    if machine.live is None:
        return
    own = sorted(address for address in detect.own_addresses() if address not in NEVER)
    if machine.live and machine.live not in own:
        yield wrong(f"{machine.live} is no address of this machine", f"name one of: {', '.join(own)}")
        return
    stranger = next((each for each in own if each not in machine.found.trusted and machine.live in ("", each)), None)
    if stranger is None:
        yield note(
            "the mail server trusts this machine's own addresses: what it says to them proves nothing", _ELSEWHERE
        )
        return
    try:
        yield from _converse(machine, stranger)
    except (OSError, smtplib.SMTPException) as error:
        yield wrong(f"{stranger}: the mail server does not answer on port {PORT}: {escape(str(error))}", "start it")


def _converse(machine: Machine, client: ClientAddress) -> Iterator[Finding]:
    """Try what a stranger would try, and what one must be able to do."""
    domain = _own_domain(machine)
    before = _questions(machine)
    with smtplib.SMTP(client, PORT, "doctor.invalid", _SECONDS, source_address=(client, 0)) as smtp:
        smtp.ehlo()
        answers = {sender: _try(smtp, sender, _OUTSIDE) for sender in ("", f"postmaster@{domain}")}
        inbound = _try(smtp, "", f"postmaster@{domain}")
    for sender, (code, text) in answers.items():
        said = f"{client} as <{sender}> to <{_OUTSIDE}>: {code} {text}"
        if code < 300:
            yield wrong(f"open relay: {said}", "what the links before this one say; until then, stop the mail server")
        elif code < 500:
            yield wrong(
                f"put off, as if somebody who is asked did not answer: {said}", "see the mail log for the reason"
            )
        elif "elay" in text or "5.7.1" in text:
            yield sound(f"a stranger cannot relay: {said}")
        else:
            yield note(f"refused, but not because of relaying: {said}", _ELSEWHERE)
    asked = _questions(machine) - before
    if asked:
        yield sound(f"the daemon was asked: {asked} questions in this conversation")
    elif machine.lookup_names:
        yield note(
            "nobody asked the daemon in this conversation: as it must be only where the mail server asks the map"
        )
    said = f"<postmaster@{domain}>: {inbound[0]} {inbound[1]}"
    if inbound[0] < 300:
        yield sound(f"inbound mail is taken: {said}")
    elif inbound[0] < 500:
        yield wrong(f"inbound mail is put off: {said}", "see the mail log for the reason")
    else:
        yield note(f"inbound mail from this machine is refused: {said}", "nothing, if strangers' mail to you comes in")
    yield note("that a roaming client gets in cannot be proved from here", _ELSEWHERE)


def _try(smtp: smtplib.SMTP, sender: str, recipient: str) -> tuple[int, str]:
    """Go as far as RCPT, and take it back: mail is never sent."""
    code, text = smtp.mail(sender)
    if code < 300:
        code, text = smtp.rcpt(recipient)
    smtp.rset()
    return code, text.decode(errors="replace").replace("\n", " ")


def _own_domain(machine: Machine) -> str:
    """Return a domain that mail is taken for."""
    if machine.postfix is not None:
        for name in machine.postfix.parameters.get("mydestination", "").replace(",", " ").split():
            if "." in name and not name.startswith("localhost") and "/" not in name and ":" not in name:
                return name
    return socket.getfqdn()


def _questions(machine: Machine) -> int:
    """Return how many questions the daemon was asked since it began."""
    try:
        status = ask(machine.settings.control, "status") or {}
    except PopBeforeSmtpError:
        return 0
    return sum(int(lookup["questions"]) for lookup in status.get("lookups", ()))
