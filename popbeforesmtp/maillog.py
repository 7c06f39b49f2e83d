"""All that the daemon says, in one file: one line each, stable words, ``key=value`` or JSON, hostile text escaped.

It goes to standard error (under systemd with the level in front that journald understands, sd-daemon(3); elsewhere with
the time in front), to syslog, or to a file.
"""

import json
import logging
import logging.handlers
import os
import socket
import sys
from collections import OrderedDict
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.errors import CannotCreateError
from popbeforesmtp.model import Authorization, Reason
from popbeforesmtp.text import escape, quote, utc

_DEV_LOG = Path("/dev/log")
_LEVELS = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}  # syslog(3)
_REFUSALS = 10_000  # pairs of reason and client that are remembered as said

_log = logging.getLogger("pop-before-smtp")
_said: OrderedDict[tuple[Reason, ClientAddress], None] = OrderedDict()


def open_log(
    target: str, *, debug: bool = False, as_json: bool = False, formatter: logging.Formatter | None = None
) -> None:
    """Begin to log, or begin anew: a file is opened again, so that a rotated one is let go.

    ``target`` is "stderr", "stdout", "syslog", or a file's absolute path; ``debug`` adds renewals and other everyday
    things; ``formatter`` chooses other words.
    Raises CannotCreateError; then the log stays as it was.
    """
    handler, style = _handler(target)
    handler.setFormatter(formatter or (_JsonFormatter() if as_json else style))
    for old in _log.handlers:
        with suppress(OSError):  # a full disk
            old.close()
    _log.handlers = [handler]
    _log.propagate = False
    _log.setLevel(logging.DEBUG if debug else logging.INFO)
    logging.raiseExceptions = False  # a full disk or a dead syslog is no reason to say more
    # What no line of ours tells need not be found out for each (Python's logging HOWTO, "Optimization").
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.getLogger("watchdog").addHandler(logging.NullHandler())  # what it has to say is of no use to anybody
    logging.getLogger("watchdog").propagate = False


def _handler(target: str) -> tuple[logging.Handler, logging.Formatter]:
    timed = logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S")
    try:
        if target == "stderr":
            return logging.StreamHandler(sys.stderr), _JournalFormatter() if _is_journal() else timed
        if target == "stdout":
            return logging.StreamHandler(sys.stdout), timed
        if target == "syslog":
            _DEV_LOG.stat()  # the handler would not say that it is missing
            syslog = _SyslogHandler(str(_DEV_LOG), logging.handlers.SysLogHandler.LOG_MAIL)
            syslog.ident = f"pop-before-smtp[{os.getpid()}]: "
            return syslog, logging.Formatter("%(message)s")
        return logging.FileHandler(target, encoding="utf-8", errors="backslashreplace"), timed
    except OSError as error:
        raise CannotCreateError(
            f'log = "{target}": cannot be written: {error.strerror or error}; name another place'
        ) from None


def _is_journal() -> bool:
    """Say whether standard error goes to journald, by the device and inode that systemd tells (systemd.exec(5))."""
    stream = os.environ.get("JOURNAL_STREAM")
    if stream is None:
        return False
    status = os.fstat(sys.stderr.fileno())
    return stream == f"{status.st_dev}:{status.st_ino}"


class _SyslogHandler(logging.handlers.SysLogHandler):
    """Sends to syslog, and never waits for it: a message that it does not take is lost, the mail goes on."""

    socket: socket.socket

    def _connect_unixsocket(self, address: str) -> None:  # called by its class, after each failure anew
        super()._connect_unixsocket(address)  # type: ignore[misc]
        self.socket.setblocking(False)


class _JournalFormatter(logging.Formatter):
    """Puts the syslog level in front, as ``<6>``."""

    def format(self, record: logging.LogRecord) -> str:
        return f"<{_LEVELS[record.levelno]}>{record.getMessage()}"


class _JsonFormatter(logging.Formatter):
    """Writes one JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        return json.dumps({"time": time, "level": record.levelname.lower(), **getattr(record, "fields", {})})


def _say(level: int, event: str, **fields: object) -> None:
    """Say an event with its fields."""
    if not _log.isEnabledFor(level):
        return
    text = " ".join([event, *(f"{key}={quote(str(value))}" for key, value in fields.items())])
    _write(level, text, {"event": event, **fields})


def _tell(level: int, sentence: str) -> None:
    """Say a sentence."""
    if _log.isEnabledFor(level):
        _write(level, escape(sentence), {"event": "notice", "text": sentence})


def _write(level: int, text: str, fields: dict[str, object]) -> None:
    """Hand a message over as it is: `Logger.log` would find out more than any line of ours tells."""
    record = logging.LogRecord(_log.name, level, "", 0, text, None, None)
    record.__dict__["fields"] = fields
    _log.handle(record)


def starting(version: str, pid: int) -> None:
    """The daemon begins."""
    _say(logging.INFO, "starting", version=version, pid=pid)


def found(sentence: str) -> None:
    """Say what is used, and why."""
    _tell(logging.INFO, sentence)


def ready(active: int) -> None:
    """The store is loaded, maps are true, sockets answer; the log is read from here on."""
    _say(logging.INFO, "ready", authorizations=active)


def reloaded() -> None:
    """The configuration was read again and is in use."""
    _say(logging.INFO, "reloaded")


def stopping(why: str) -> None:
    """The daemon ends."""
    _say(logging.INFO, "stopping", reason=why)


def granted(authorization: Authorization) -> None:
    """A client may relay."""
    _say(logging.INFO, "granted", **_fields(authorization))


def renewed(authorization: Authorization) -> None:
    """A client that may relay logged in again."""
    if _log.isEnabledFor(logging.DEBUG):
        _say(logging.DEBUG, "renewed", **_fields(authorization))


def expired(client: ClientAddress) -> None:
    """A client's window has ended."""
    _say(logging.INFO, "expired", client=client)


def revoked(client: ClientAddress, reason: Reason) -> None:
    """A client's window was ended before its time."""
    _say(logging.INFO, "revoked", client=client, reason=reason)


def revoked_by_hand(kind: str, name: str, uid: int | None, why: str, ended: int) -> None:
    """Somebody revoked: an address, an account, or everybody."""
    _say(logging.WARNING, "revoked-by-hand", kind=kind, name=name, uid=uid, reason=why, ended=ended)


def lifted(kind: str, name: str, uid: int | None, why: str) -> None:
    """Somebody lets the logins count again that a revocation refused."""
    _say(logging.WARNING, "lifted", kind=kind, name=name, uid=uid, reason=why)


def refused(client: ClientAddress, user: str, reason: Reason, source: str, offset: int, time: datetime | None) -> None:
    """A login authorizes nobody; said once for each reason and client."""
    key = (reason, client)
    if key in _said:
        return
    _said[key] = None
    if len(_said) > _REFUSALS:
        _said.popitem(last=False)
    at = "unknown" if time is None else utc(time)
    level = logging.DEBUG if reason is Reason.STALE else logging.INFO  # an old log is full of them
    _say(level, "refused", client=client, user=user, reason=reason, stamp=at, source=source, offset=offset)


def blocked(client: ClientAddress, failures: int, until: datetime) -> None:
    """Too many logins from an address, or an IPv6 /64, have failed."""
    _say(logging.INFO, "blocked", client=client, failures=failures, until=utc(until))


def unblocked(client: ClientAddress, why: str) -> None:
    """An address or network that was blocked is so no longer."""
    _say(logging.INFO, "unblocked", client=client, reason=why)


def left_out(name: str, client: ClientAddress, why: str) -> None:
    """A map cannot hold a client that may relay."""
    _say(logging.WARNING, "left-out", client=client, map=name, reason=why)


def published(name: str, come: int, go: int) -> None:
    """A map was changed."""
    _say(logging.DEBUG, "published", map=name, added=come, removed=go)


def broken_line(source: str, offset: int, error: Exception) -> None:
    """A line that the program could not cope with was passed by: a fault of the program, worth a report."""
    _say(logging.ERROR, "passed-by", source=source, offset=offset, error=repr(error))


def notice(what: str) -> None:
    """Something happened that the administrator may want to know."""
    _tell(logging.INFO, what)


def trouble(what: str) -> None:
    """Something does not work; it is tried again, and said once until it works."""
    _tell(logging.WARNING, f"{what}; trying again")


def warned(what: str) -> None:
    """Something looks wrong, and only an administrator can tell."""
    _tell(logging.WARNING, what)


def recovered(what: str) -> None:
    """Something works again."""
    _tell(logging.INFO, f"{what} works again")


def failed(what: str) -> None:
    """Something does not work and will not be tried again."""
    _tell(logging.ERROR, what)


def _fields(authorization: Authorization) -> dict[str, object]:
    return {
        "client": authorization.client,
        "user": authorization.user,
        "service": authorization.service,
        "until": utc(authorization.expires_at),
        "rule": authorization.rule,
        "format": authorization.format,
        "source": authorization.origin.source,
        "offset": authorization.origin.offset,
        **({"uid": authorization.uid, "reason": authorization.why} if authorization.rule == "by hand" else {}),
    }
