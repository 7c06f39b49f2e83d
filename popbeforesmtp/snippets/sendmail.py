"""Sendmail: contrib/sendmail, a map that its own makemap writes."""

from popbeforesmtp import detect
from popbeforesmtp.links import Machine
from popbeforesmtp.snippets import contrib

TITLE = "Sendmail"
TRUSTED = """\
# These need no authorization: write the networks that Sendmail lets relay anyway.
trusted = []"""


def here() -> bool:
    """Say whether Sendmail is configured on this machine."""
    return detect.has_sendmail()


def configuration() -> str:
    """Return our tables."""
    return """\
# The map that the lines in sendmail.mc ask.
[[mta]]
type = "sendmail"
map = "hash:/var/lib/pop-before-smtp/popauth"
"""


def lines(machine: Machine) -> str:
    """Return what goes into sendmail.mc, and the file that it includes."""
    del machine
    rules = contrib("sendmail/pop-before-smtp.m4")
    return (
        f"{contrib('sendmail/popauth.mc')}\ndnl # --- and /etc/mail/m4/pop-before-smtp.m4, which they include:\n{rules}"
    )
