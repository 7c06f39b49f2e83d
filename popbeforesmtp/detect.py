"""What is on this machine, where the configuration does not say: the log, the mail server, the trusted networks.

Each answer comes with a sentence that says what was found and why, for the log.
"""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from popbeforesmtp import postconf
from popbeforesmtp.addresses import ClientAddress, NetworkSet, parse_address
from popbeforesmtp.config import Section, Settings
from popbeforesmtp.errors import UnavailableError

MAIL_LOGS = tuple(
    Path(path)
    for path in (
        "/var/log/mail.log",  # Debian, Ubuntu
        "/var/log/maillog",  # Red Hat, FreeBSD
        "/var/log/mail",  # SUSE
        "/var/log/mail/mail.log",
        "/var/log/mail/info",  # Mandriva
        "/var/log/messages",
        "/var/log/syslog",
    )
)
"""Where mail logs lie, the likeliest first."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Found:
    """The parts to run with."""

    sources: tuple[Section, ...]
    mtas: tuple[Section, ...]
    lookups: tuple[Section, ...]
    trusted: NetworkSet


def find(settings: Settings, say: Say) -> Found:
    """Take what is configured and find out the rest.

    Raises UnavailableError where Postfix was asked for and is not there.
    """
    say(
        "no configuration file: using what is found"
        if settings.path is None
        else f"configuration: {settings.path}, grace {int(settings.grace.total_seconds())} s"
    )
    postfix = _postfix(settings, say)
    return Found(
        _sources(settings, say),
        _mtas(settings, say, postfix=postfix),
        _lookups(settings, say, postfix=postfix),
        _trusted(settings, say, postfix=postfix),
    )


def own_addresses() -> frozenset[ClientAddress]:
    """Return this host's own addresses, whatever interface they are on."""
    found = set()
    for addresses in psutil.net_if_addrs().values():
        for address in addresses:
            if address.family in (socket.AF_INET, socket.AF_INET6):
                client = parse_address(address.address.partition("%")[0])
                if client is not None:
                    found.add(client)
    return frozenset(found)


def mail_log() -> Path:
    """Return the mail log of this machine, or where Debian would keep one."""
    return next((path for path in MAIL_LOGS if path.is_file()), MAIL_LOGS[0])


def _postfix(settings: Settings, say: Say) -> bool:
    """Say whether there is a Postfix that can be asked, where anything is left to ask.

    Raises UnavailableError where it must be asked, and cannot.
    """
    if None not in (settings.mtas, settings.lookups, settings.trusted):
        return False
    try:
        postconf.value("queue_directory")
    except UnavailableError as error:
        if settings.trusted_required:
            raise UnavailableError(
                f'{settings.path}: [rules] trusted = "postconf": {error}; install it, or write the networks as a list'
            ) from None
        say(f"Postfix: cannot be asked: {error}")
        return False
    return True


def _sources(settings: Settings, say: Say) -> tuple[Section, ...]:
    say("whoever can write to the log, or to syslog, can open the relay: any local user can (logger -t dovecot)")
    if settings.sources is not None:
        return settings.sources
    path = mail_log()
    readable = "is there" if os.access(path, os.R_OK) else "is where a mail log would be, and cannot be read yet"
    say(f"log: {path}, for it {readable} and no [[source]] is configured")
    return (Section("file", {"path": str(path)}, {}, None),)


def _mtas(settings: Settings, say: Say, *, postfix: bool) -> tuple[Section, ...]:
    if settings.mtas is not None:
        return settings.mtas
    if not postfix:
        say("access map: none, for there is no Postfix to ask and no [[mta]] is configured")
        return ()
    return (Section("postfix", {}, {}, None),)


def _lookups(settings: Settings, say: Say, *, postfix: bool) -> tuple[Section, ...]:
    if settings.lookups is not None:
        return settings.lookups
    if not postfix:
        say("live answers: none, for there is no Postfix to ask and no [[lookup]] is configured")
        return ()
    path = Path(postconf.value("queue_directory")) / "pop-before-smtp" / "map"
    say(f"live answers: socketmap:unix:{path}, inside Postfix's queue directory, where a chrooted smtpd finds it")
    return (Section("socketmap", {"listen": f"unix:{path}"}, {}, None),)


def _trusted(settings: Settings, say: Say, *, postfix: bool) -> NetworkSet:
    if settings.trusted is not None:
        return settings.trusted
    if not postfix:
        say("trusted networks: none, for there is no Postfix to ask")
        return NetworkSet()
    found = postconf.trusted_networks()
    networks = NetworkSet(found.networks)
    say(f"trusted networks: {networks}, from Postfix's mynetworks")
    if found.skipped:
        say(f"trusted networks: not understood and left out: {', '.join(found.skipped)}")
    return networks
