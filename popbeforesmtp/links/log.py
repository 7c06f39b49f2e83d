"""The log: it is there, the daemon may read it, nobody else may write it, and it still grows."""

import grp
import shlex
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from popbeforesmtp import detect, survey, wiring
from popbeforesmtp.config import Section
from popbeforesmtp.errors import PopBeforeSmtpError
from popbeforesmtp.links import Finding, Machine, note, sound, wrong
from popbeforesmtp.links._access import READ, barrier
from popbeforesmtp.survey import Survey
from popbeforesmtp.text import duration

PLACE = 10

_LINES = 200  # lines, at least, that tell how often something is written
_SILENT, _GAPS = 3600.0, 100  # seconds; and that many times as long as it usually takes: sight.py's own measures
_DAY = 86400.0


def look(machine: Machine) -> Iterator[Finding]:
    """Look at each source."""
    for section, path in machine.logs:
        yield from _look_at(machine, section, path)
    for section in machine.found.sources:
        if section.type == "journal":
            yield from _look_at_journal(machine)
        elif section.type != "file":
            yield note(f'a source of type "{section.type}" can only be looked at by the daemon; `status` tells of it')


def _look_at(machine: Machine, section: Section, path: Path) -> Iterator[Finding]:
    if not path.is_file():
        others = [str(other) for other in detect.MAIL_LOGS if other.is_file()]
        yield wrong(
            f"{path}: there is no such log",
            f"name one that there is in [[source]] path: {', '.join(others)}"
            if others
            else 'make the syslog daemon write mail.* there, or read the journal: [[source]] type = "journal"',
        )
        return
    closed = barrier(machine.user, path, READ)
    if closed is not None:
        with suppress(KeyError):
            group = grp.getgrgid(path.stat().st_gid).gr_name
            yield wrong(
                f"{closed}: the daemon cannot read it", f"usermod -aG {group} {machine.user.name}, and restart it"
            )
            return
        yield wrong(f"{closed}: the daemon cannot read it", f"chgrp adm {shlex.quote(str(path))}")
        return
    try:
        since = machine.clock.now().wall - machine.settings.grace
        wiring.open_source(section, {}, since, insecure=machine.settings.insecure_log).source.close()
    except PopBeforeSmtpError as error:
        found, _, way_out = str(error).rpartition("; ")
        yield wrong(found or way_out, way_out)
    seen = machine.seen.get(str(path), Survey())
    now = machine.clock.now().wall
    silence = _silence(path, seen, now)
    if silence:
        yield wrong(
            f"{path}: {silence}", "name the log that is written to in [[source]] path, or start the syslog daemon"
        )
    younger = _younger(path, seen, now)
    if younger is not None:
        yield wrong(f"{path}: the last logins stand in {younger}", f'[[source]] path = "{younger}"')
    if not silence and younger is None:
        yield sound(f"log: {path}: {seen.sentence(now)}")


def _silence(path: Path, seen: Survey, now: datetime) -> str:
    """Say for how long nothing was written, where that is a sign."""
    silent = now.timestamp() - path.stat().st_mtime
    if not seen.lines:
        return f"is empty since {duration(silent)}" if silent > _DAY else ""
    usual = 0.0
    if seen.first_line_at is not None and seen.last_line_at is not None:
        usual = max((seen.last_line_at - seen.first_line_at).total_seconds(), 0) / seen.lines
    if silent < (max(_SILENT, _GAPS * usual) if seen.lines >= _LINES else 7 * _DAY):
        return ""
    return f"nothing was written for {duration(silent)}, and before that every {duration(usual)}; is it still the log?"


def _younger(path: Path, seen: Survey, now: datetime) -> Path | None:
    """Return another of the usual logs that later logins stand in."""
    for other in detect.MAIL_LOGS:
        if other.is_file() and not other.samefile(path):
            with suppress(OSError):
                there = survey.look(survey.tail(other), wiring.line_reader(journal=False), wiring.engine(), now)
                if seen.ends_before(there):
                    return other
    return None


def _look_at_journal(machine: Machine) -> Iterator[Finding]:
    seen, user = machine.seen.get("journal"), machine.user
    readers = set()
    for name in ("systemd-journal", "adm"):
        with suppress(KeyError):
            readers.add(grp.getgrnam(name).gr_gid)
    if user.number != 0 and readers.isdisjoint(user.groups):
        yield wrong(
            f"the journal may not be read by user {user.name}",
            f"usermod -aG systemd-journal {user.name}, and restart it",
        )
    if seen is None:
        yield wrong("the journal cannot be read here", "run doctor as root; is systemd-journald running?")
    elif not seen.lines:
        yield wrong(
            "the journal holds no lines of a server that we know",
            "name the server's log file in [[source]], or its units in [[source]] units",
        )
    else:
        yield sound(f"log: the journal: {seen.sentence(machine.clock.now().wall)}")
