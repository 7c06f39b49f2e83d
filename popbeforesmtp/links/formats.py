"""Headers and formats: the last lines of the log mean something to us."""

from collections.abc import Iterator

from popbeforesmtp.links import Finding, Machine, note, sound, wrong
from popbeforesmtp.survey import Survey
from popbeforesmtp.text import escape

PLACE = 20

_LINES = 200  # lines of which a share tells something
_UNREAD = 3  # lines like logins that fit no format: one or two may be anything
_SHOWN = 200  # bytes of an example


def look(machine: Machine) -> Iterator[Finding]:
    """Look at what was understood of each log."""
    for name, seen in machine.seen.items():
        found = list(_look_at(name, seen))
        yield from found
        if not found and seen.events:
            events = ", ".join(f"{count} of {each}" for each, count in seen.events.most_common())
            yield sound(f"{name}: {events}")


def _look_at(name: str, seen: Survey) -> Iterator[Finding]:
    if seen.unknown_headers * 2 >= max(seen.lines, 2):
        share = 100 * seen.unknown_headers // seen.lines
        yield wrong(
            f"{name}: {share} % of the last lines have no header that we know",
            f"look at them with `pop-before-smtp scan --explain {name}`, or let the syslog daemon write a usual one",
        )
    elif len(seen.unread) >= max(_UNREAD, seen.logins // 10):
        example = escape(seen.unread[-1][:_SHOWN].decode("utf-8", "surrogateescape"))
        yield wrong(
            f"{name}: {len(seen.unread)} of the last lines look like logins and fit no format, such as '{example}'",
            "`pop-before-smtp scan --explain` tells why; for a login_log_format of Dovecot's own, see"
            " `template` in pop-before-smtp(8)",
        )
    elif not seen.events and seen.lines >= _LINES:
        yield wrong(
            f"{name}: the last {seen.lines} lines hold no login, logout or failure that we know",
            "find out where the POP or IMAP server logs (Dovecot: `doveadm log find`), and which servers"
            " `pop-before-smtp formats` knows",
        )
    elif not seen.events:
        yield note(f"{name}: nobody has logged in there yet", "log in once, and run doctor again")
    if seen.forgeable is not None:
        yield wrong(f"{name}: nothing is believed: {seen.forgeable}", "name the server's other log")
