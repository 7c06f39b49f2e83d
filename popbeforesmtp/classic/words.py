"""What the classic says: its log lines, as people grep for them, and its answers, as scripts read them."""

import logging
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from popbeforesmtp import maillog
from popbeforesmtp.model import Reason

STAMP = "%b %e %T "
"""In front of each line of a log file, in local time."""


def open_log(target: str, *, debug: bool, count: int) -> None:
    """Begin to log in the classic's words, "stdout" or a file; ``count`` is what a login adds to the open sessions.

    Raises CannotCreateError.
    """
    maillog.open_log(target, debug=debug, formatter=_Words(debug, count, stamped=target != "syslog"))
    for handler in logging.getLogger("pop-before-smtp").handlers:
        handler.addFilter(lambda record: not _is_everyday(record, debug=debug))


def starting(version: str) -> str:
    """Say that it begins."""
    return f"starting up (v{version})"


def found(client: str, count: int) -> str:
    """Say that a line is a login, or the end of a session."""
    return f"found ip={client} ({count})"


def ends(client: str, at: float) -> str:
    """Say when a window ends, in seconds since 1970."""
    return f"setting expiration time for ip={client} to {int(at)}"


def added(client: str) -> str:
    """Say that a client may relay."""
    return f"added {client} to DB"


def removed(client: str) -> str:
    """Say that a client may relay no longer."""
    return f"removed {client} from DB"


def local(client: str) -> str:
    """Say that a client needs no authorization."""
    return f"ignoring local-net ip={client}"


def holds(clients: list[str]) -> str:
    """Answer --list."""
    if not clients:
        return "The database holds 0 IPs."
    ips = "IP" if len(clients) == 1 else "IPs"
    return f"The database holds {len(clients)} {ips}:\n\t" + "\n\t".join(sorted(clients))


def _fields(record: logging.LogRecord) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = getattr(record, "fields", {})
    return fields


def _is_everyday(record: logging.LogRecord, *, debug: bool) -> bool:
    """Say whether the classic would not say that without --debug."""
    fields = _fields(record)
    return not debug and fields.get("event") == "refused" and fields.get("reason") == Reason.TRUSTED


class _Words(logging.Formatter):
    """Writes events in the classic's words; it had none for some, and they keep ours."""

    def __init__(self, debug: bool, count: int, *, stamped: bool) -> None:
        super().__init__()
        self._debug = debug
        self._count = count
        self._stamped = stamped

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime(STAMP, time.localtime(record.created)) if self._stamped else ""
        return "\n".join(f"{stamp}{line}" for line in self._lines(record))

    def _lines(self, record: logging.LogRecord) -> list[str]:
        fields = _fields(record)
        client = str(fields.get("client"))
        match fields.get("event"):
            case "starting":
                return [starting(str(fields.get("version")))]
            case "granted":
                return [*(self._login(client, fields) if self._debug else ()), added(client)]
            case "renewed":
                return self._login(client, fields)
            case "expired" | "revoked":
                return [removed(client)]
            case "refused" if fields.get("reason") == Reason.TRUSTED:
                return [local(client)]
            case "stopping" if str(fields.get("reason")).startswith("SIG"):
                return [f"caught {fields.get('reason')} -- exiting"]
        return [record.getMessage()]

    def _login(self, client: str, fields: Mapping[str, Any]) -> list[str]:
        try:
            end = datetime.fromisoformat(str(fields.get("until"))).timestamp()
        except ValueError:
            return [found(client, self._count)]
        return [found(client, self._count), ends(client, end)]
