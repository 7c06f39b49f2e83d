"""What is on this machine, where the configuration does not say: the log, the mail server, the trusted networks.

Each answer comes with a sentence that says what was found and why, for the log.
"""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil

from popbeforesmtp import postconf, survey, wiring
from popbeforesmtp.addresses import ClientAddress, NetworkSet, parse_address
from popbeforesmtp.config import Section, Settings
from popbeforesmtp.errors import NotPermittedError, UnavailableError
from popbeforesmtp.text import duration

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

JOURNALS = (Path("/run/log/journal"), Path("/var/log/journal"))
"""Where journald keeps its files."""

SENDMAIL = Path("/etc/mail/sendmail.mc")
"""What sendmail.cf is made of, on Debian and elsewhere."""

_STALE = 7 * 86400.0  # seconds after which nobody writes to a log any more

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Found:
    """The parts to run with."""

    sources: tuple[Section, ...]
    mtas: tuple[Section, ...]
    lookups: tuple[Section, ...]
    trusted: NetworkSet


def find(settings: Settings, say: Say, now: datetime) -> Found:
    """Take what is configured and find out the rest.

    Raises UnavailableError where Postfix was asked for and is not there.
    """
    say(
        "no configuration file: using what is found"
        if settings.path is None
        else f"configuration: {settings.path}, grace {duration(settings.grace.total_seconds())}"
    )
    postfix = _postfix(settings, say)
    return Found(
        _sources(settings, say, now),
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


def has_exim() -> bool:
    """Say whether Exim is on this machine: its program, for a package that was removed leaves its configuration."""
    return any(postconf.find(program) is not None for program in ("exim4", "exim"))


def has_sendmail() -> bool:
    """Say whether Sendmail is configured on this machine, with the program that builds its maps."""
    return SENDMAIL.exists() and postconf.find("makemap") is not None


def _postfix(settings: Settings, say: Say) -> bool:
    """Say whether there is a Postfix that can be asked, where anything is left to ask.

    Raises UnavailableError where it must be asked, and cannot.
    """
    if None not in (settings.mtas, settings.lookups, settings.rules.trusted):
        return False
    try:
        postconf.value("queue_directory")
    except UnavailableError as error:
        if settings.rules.trusted_required:
            raise UnavailableError(
                f'{settings.path}: [rules] trusted = "postconf": {error}; install it, or write the networks as a list'
            ) from None
        say(f"Postfix: cannot be asked: {error}")
        return False
    return True


def _sources(settings: Settings, say: Say, now: datetime) -> tuple[Section, ...]:
    sections = settings.sources
    if sections is None:
        sections = (_source(say, now),)
    else:
        for section in sections:
            path = Path(str(section.values.get("path", "")))
            if section.type == "file" and path.is_file():
                say(f"log: {path}: {_sentence(path, now)}")
                seen = _look(path, now)
                _warn(seen, say)
                if seen.forgeable is not None and not settings.insecure_log:
                    where = section.place("path")
                    raise NotPermittedError(f"{where}: {seen.forgeable}; to insist, run with --insecure-log")
    if any(section.type in ("file", "stdin") for section in sections):
        say("whoever can write to the log, or to syslog, can open the relay: any local user can (logger -t dovecot)")
    return sections


def _warn(seen: survey.Survey, say: Say) -> None:
    """Say what the logs that were seen cannot exclude, each format for itself."""
    engine = wiring.engine()
    for name in seen.events:
        if engine.warning(name):
            say(engine.warning(name))


def _source(say: Say, now: datetime) -> Section:
    """Find where the logins are written to: in the journal, which tells who wrote what, or else in a file."""
    logs = ((path, _look(path, now)) for path in MAIL_LOGS if path.is_file())
    path, seen = next(((path, seen) for path, seen in logs if seen.events), (None, survey.Survey()))
    journal = _look_at_journal(say, now)
    nothing = path is None and not _is_written(mail_log(), now)
    if journal is not None and (nothing or (journal.events and not journal.ends_before(seen))):
        also = f"; {path} holds logins too, and the journal cannot be forged as it can" if path is not None else ""
        _warn(journal, say)
        say(f"log: the journal, and no [[source]] is configured: {journal.sentence(now)}{also}")
        return Section("journal", {}, {}, None)
    _warn(seen, say)
    path = path or mail_log()
    what = _sentence(path, now) if path.is_file() else "is where a mail log would be, and is not there yet"
    say(f"log: {path}, and no [[source]] is configured: {what}")
    return Section("file", {"path": str(path)}, {}, None)


def _look(path: Path, now: datetime) -> survey.Survey:
    """Look at the end of a log; nothing is seen of one that cannot be read."""
    try:
        return survey.look(survey.tail(path), wiring.line_reader(journal=False), wiring.engine(), now)
    except OSError:
        return survey.Survey()


def _sentence(path: Path, now: datetime) -> str:
    return _look(path, now).sentence(now) if os.access(path, os.R_OK) else "cannot be read by this user yet"


def _look_at_journal(say: Say, now: datetime) -> survey.Survey | None:
    """Look at the end of the journal; None where there is none that we can read."""
    if not any(folder.is_dir() for folder in JOURNALS):
        return None
    engine = wiring.engine()
    try:
        entries = survey.entries(engine.programs)
    except OSError as error:
        say(f"journal: cannot be read: {error}")
        return None
    return survey.look(entries, wiring.line_reader(journal=True), engine, now)


def _is_written(path: Path, now: datetime) -> bool:
    """Say whether somebody still writes to a log."""
    try:
        return now.timestamp() - path.stat().st_mtime < _STALE
    except OSError:
        return False


def _mtas(settings: Settings, say: Say, *, postfix: bool) -> tuple[Section, ...]:
    if settings.mtas is not None:
        return settings.mtas
    if postfix:
        return (Section("postfix", {}, {}, None),)
    title = "Exim" if has_exim() else "Sendmail" if has_sendmail() else None
    if title is not None:
        say(f"access map: {title}'s, for no [[mta]] is configured; `pop-before-smtp init -` prints what {title} needs")
        return (Section(title.lower(), {}, {}, None),)
    say("access map: none, for there is no mail server that we know and no [[mta]] is configured")
    return ()


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
    if settings.rules.trusted is not None:
        return settings.rules.trusted
    if not postfix:
        say("trusted networks: none, for there is no Postfix to ask; write them into [rules] trusted")
        return NetworkSet()
    found = postconf.trusted_networks()
    networks = NetworkSet(found.networks)
    say(f"trusted networks: {networks}, from Postfix's mynetworks")
    if found.skipped:
        say(f"trusted networks: not understood and left out: {', '.join(found.skipped)}")
    return networks
