"""All that the daemon says, in one file: one line each, stable words, ``key=value``, hostile text escaped.

On standard error; under systemd with the level in front that journald understands (sd-daemon(3)), elsewhere with the
time in front.
"""

import logging
import os
import sys
from collections import OrderedDict
from datetime import datetime

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.model import Authorization, Reason
from popbeforesmtp.text import escape, quote, utc

_log = logging.getLogger("pop-before-smtp")
_LEVELS = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}  # syslog(3)
_REFUSALS = 10_000  # pairs of reason and client that are remembered as said

_said: OrderedDict[tuple[Reason, ClientAddress], None] = OrderedDict()


class _JournalFormatter(logging.Formatter):
    """Puts the syslog level in front, as ``<6>``."""

    def format(self, record: logging.LogRecord) -> str:
        return f"<{_LEVELS[record.levelno]}>{record.getMessage()}"


def to_stderr(*, debug: bool) -> None:
    """Begin to log to standard error; ``debug`` adds renewals and other everyday things."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _JournalFormatter() if _is_journal() else logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S")
    )
    _log.handlers = [handler]
    _log.propagate = False
    _log.setLevel(logging.DEBUG if debug else logging.INFO)


def _is_journal() -> bool:
    """Say whether standard error goes to journald, by the device and inode that systemd tells (systemd.exec(5))."""
    stream = os.environ.get("JOURNAL_STREAM")
    if stream is None:
        return False
    status = os.fstat(sys.stderr.fileno())
    return stream == f"{status.st_dev}:{status.st_ino}"


def starting(version: str, pid: int) -> None:
    """The daemon begins."""
    _log.info("starting version=%s pid=%d", version, pid)


def found(sentence: str) -> None:
    """Say what is used, and why."""
    _log.info("%s", escape(sentence))


def ready(active: int) -> None:
    """The store is loaded, maps are true, sockets answer; the log is read from here on."""
    _log.info("ready authorizations=%d", active)


def stopping(why: str) -> None:
    """The daemon ends."""
    _log.info("stopping reason=%s", quote(why))


def granted(authorization: Authorization) -> None:
    """A client may relay."""
    _log.info("granted %s", _fields(authorization))


def renewed(authorization: Authorization) -> None:
    """A client that may relay logged in again."""
    _log.debug("renewed %s", _fields(authorization))


def expired(client: ClientAddress) -> None:
    """A client's window has ended."""
    _log.info("expired client=%s", client)


def refused(client: ClientAddress, user: str, reason: Reason, source: str, offset: int, time: datetime | None) -> None:
    """A login authorizes nobody; said once for each reason and client."""
    key = (reason, client)
    if key in _said:
        return
    _said[key] = None
    if len(_said) > _REFUSALS:
        _said.popitem(last=False)
    _log.info(
        "refused client=%s user=%s reason=%s time=%s source=%s offset=%d",
        *(client, quote(user), quote(reason), "unknown" if time is None else utc(time), quote(source), offset),
    )


def left_out(name: str, client: ClientAddress, why: str) -> None:
    """A map cannot hold a client that may relay."""
    _log.warning("left-out client=%s map=%s reason=%s", client, quote(name), quote(why))


def published(name: str, come: int, go: int) -> None:
    """A map was changed."""
    _log.debug("published map=%s added=%d removed=%d", quote(name), come, go)


def notice(what: str) -> None:
    """Something happened that the administrator may want to know."""
    _log.info("%s", escape(what))


def trouble(what: str) -> None:
    """Something does not work; it is tried again, and said once until it works."""
    _log.warning("%s; trying again", escape(what))


def recovered(what: str) -> None:
    """Something works again."""
    _log.info("%s works again", escape(what))


def failed(what: str) -> None:
    """Something does not work and will not be tried again."""
    _log.error("%s", escape(what))


def broken_line(source: str, offset: int, error: Exception) -> None:
    """A line that the program could not cope with was passed by: a fault of the program, worth a report."""
    _log.error("passed-by source=%s offset=%d error=%s", quote(source), offset, quote(repr(error)))


def _fields(authorization: Authorization) -> str:
    return (
        f"client={authorization.client} user={quote(authorization.user)} service={authorization.service}"
        f" until={utc(authorization.expires_at)} rule={authorization.rule} format={authorization.format}"
        f" source={quote(authorization.origin.source)} offset={authorization.origin.offset}"
    )
