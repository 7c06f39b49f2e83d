"""The rules let somebody in: not everybody is trusted anyway, and not every login is refused."""

from collections.abc import Iterator

from popbeforesmtp.links import Finding, Machine, sound, wrong
from popbeforesmtp.model import Reason

PLACE = 47

_SETTINGS = {
    Reason.SERVICE: "services",
    Reason.TLS: "tls",
    Reason.MECHANISM: "mechanisms",
    Reason.DENIED: "deny_accounts",
    Reason.ACCOUNT: "accounts",
}
"""Reasons to refuse a login that somebody configured, by the setting."""
_FEW = 3  # refused logins that tell nothing


def look(machine: Machine) -> Iterator[Finding]:
    """Look at what is trusted, and at what became of the logins since the daemon was started."""
    trusted = machine.settings.rules.trusted
    everybody = [network for network in (trusted.networks if trusted else ()) if network.prefixlen == 0]
    for network in everybody:
        yield wrong(
            f"[rules] trusted holds {network}: no login opens anything, for all of them need no authorization",
            "name there only the networks that the mail server itself lets relay",
        )
    counts = {} if machine.status is None else machine.status.get("counts", {})
    refused = {reason: counts.get(f"refused: {reason}", 0) for reason in _SETTINGS}
    most = max(refused, key=lambda reason: refused[reason])
    if refused[most] >= _FEW and not counts.get("granted", 0) + counts.get("renewed", 0):
        yield wrong(
            f"no login was granted since the daemon was started, and {refused[most]} were refused: {most}",
            f"[rules] {_SETTINGS[most]}; `pop-before-smtp explain ACCOUNT` tells of each",
        )
    elif not everybody and machine.status is not None:
        yield sound("the rules let logins open the relay")
