"""Say why an address may relay or not, and what an account's logins opened: logins, rules, outputs, ends, ways out.

Exit status 0 if it may relay now, 1 if not. What happened before the daemon was started last stands in its log.
"""

import argparse
from typing import Any

from popbeforesmtp.commands import add_config, add_json, write_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_config(parser)
    add_json(parser)
    parser.add_argument("who", metavar="ADDRESS|ACCOUNT", help="an IPv4 or IPv6 address, or an account's name")


def run(arguments: argparse.Namespace) -> int:
    """Show what the daemon knows of an address or account; return 1 if it may not relay."""
    from popbeforesmtp.classic import bridge
    from popbeforesmtp.commands._ask import order, say

    settings = bridge.load(arguments.config)
    answer: dict[str, Any] = order(settings, "explain", who=arguments.who)
    may = bool(answer["authorizations"]) if answer["address"] is None else answer["expires_at"] is not None
    if arguments.json:
        write_json({**answer, "may_relay": may})
    else:
        for line in _lines(answer, may=may):
            say(line)
    return 0 if may else 1


def _lines(answer: dict[str, Any], *, may: bool) -> list[str]:
    """Put the answer into sentences; whatever strangers chose is escaped."""
    from datetime import datetime

    from popbeforesmtp.text import escape, local

    def at(text: str) -> str:
        return local(datetime.fromisoformat(text))

    who = escape(answer["who"])
    if answer["address"] is None:
        lines = [f"account {who}: {'opens relay for:' if may else 'opens relay for no address now'}"]
    elif may:
        lines = [f"{who} may relay until {at(answer['expires_at'])}, because of:"]
    else:
        lines = [f"{who} may not relay"]
    for entry in answer["authorizations"]:
        lines.append(f"  {entry['address']} until {at(entry['expires_at'])}: {_why(entry)}")
    for each in answer["tombstones"]:
        whom = {"all": "everybody", "user": f"account {escape(each['name'])}", "address": each["name"]}[each["kind"]]
        until = f"; no login counts until {at(each['until'])}" if each["until"] > each["at"] else ""
        reason = f" ({escape(each['reason'])})" if each["reason"] else ""
        lines.append(
            f"revoked: {whom} at {at(each['at'])} by uid {each['uid']}{reason}; older logins count no more{until}"
        )
    lines.append("logins seen, the newest first:" if answer["seen"] else "logins seen: none that the daemon remembers")
    for seen in answer["seen"]:
        when = "without a time" if seen["time"] is None else at(seen["time"])
        lines.append(
            f"  {when} {seen['address']} {escape(seen['user'] or '')} {escape(seen['service'] or '')} {seen['outcome']}"
            f" ({escape(seen['file'])}, offset {seen['offset']})"
        )
    if answer["rules"]:
        first = answer["rules"][0]
        of = "" if first["user"] is None else f" of {escape(first['user'])}"
        source = "" if first["address"] is None else f" from {first['address']}"
        lines.append(f"a login{of}{source} now:")
        for rule in answer["rules"]:
            lines.append(f"  passes  {rule['asks']}" if rule["refuses"] is None else f"  FAILS   {rule['refuses']}")
    for output in answer["outputs"]:
        of = f"{output['address']} " if answer["address"] is None else ""
        lines.append(f"{escape(output['name'])}: {of}{escape(output['says'])}")
    return lines if may else [*lines, _way_out(answer)]


def _why(entry: dict[str, Any]) -> str:
    """Say what an authorization goes back to."""
    from popbeforesmtp.text import escape

    if entry["rule"] == "by hand":
        reason = f": {escape(entry['reason'])}" if entry["reason"] else ""
        return f"granted by hand by uid {entry['uid']}{reason}"
    place = f"offset {entry['offset']}" if entry["cursor"] is None else f"cursor {escape(entry['cursor'])}"
    held = "its session is open; " if entry["rule"] == "hold" else ""
    return (
        f"{held}login of {escape(entry['user'])} ({escape(entry['service']) or 'service not known'}, {entry['format']})"
        f" in {escape(entry['file'])}, {place}, id {entry['id']}"
    )


def _way_out(answer: dict[str, Any]) -> str:
    """Say what would let it relay."""
    refused = next((rule["refuses"] for rule in answer["rules"] if rule["refuses"] is not None), None)
    if refused is None and answer["seen"]:
        last = answer["seen"][0]["outcome"].removeprefix("refused: ")
        refused = last if last in _OF_THE_CLOCK else None
    if refused is None:
        source = " from there" if answer["address"] is not None else ""
        return f"to let it relay: log in to POP or IMAP{source}, or `pop-before-smtp grant ADDRESS`"
    return f"to let it relay: {_WAYS[refused]}"


_OF_THE_CLOCK = ("no usable time stamp", "time stamp in the future")
"""What the next login meets as well, and no rule can tell of a login now."""

_WAYS = {
    "not written by the server itself": "the line must come from the server's own process; see `scan --explain`",
    "empty account name": "log in with an account",
    "anonymous login": "log in with an account and its password",
    "no usable time stamp": "let the log have time stamps that can be read; see `scan --explain`",
    "time stamp in the future": "set the clock of the host that writes the log",
    "older than the grace period": "log in again",
    "never-authorized network": "nothing: logins from there prove nothing about who sends; see [rules] never",
    "address of this host": "nothing: it is this host itself; see mynetworks of the mail server",
    "network of another length than is granted": "log in again",
    "trusted network": "nothing is needed: it is one of the trusted networks of the mail server",
    "revoked by hand": "wait until the revocation ends, log in then, or `pop-before-smtp grant ADDRESS`",
    "service that opens no relay": "log in to a service of [rules] services",
    "not known to be encrypted": "log in over TLS, for [rules] tls asks for it",
    "mechanism that opens no relay": "log in by a mechanism of [rules] mechanisms",
    "account that is denied": "take the account out of [rules] deny_accounts",
    "account that opens no relay": "add the account to [rules] accounts",
    "too many failed logins": "log in",
    "limit: accounts on one address": "wait until another account's window there ends, or raise [rules]"
    " max_accounts_per_address",
    "limit: addresses of one account": "wait until another of its windows ends, or raise [rules]"
    " max_addresses_per_account",
    "limit: new grants in a minute": "log in a minute later, or raise [rules] max_grants_per_minute",
    "limit: clients that may relay at once": "wait until somebody's window ends, or raise [rules] max_clients",
}
"""What to do about each reason of ``model.Reason``."""
