"""The audit trail: one line for each decision, with stable field names, in a file of its own or in the journal.

In a file a line is one JSON object, all but printable ASCII escaped. In the journal the fields stand beside the
message, in capitals and with ``PBS_`` in front: ``journalctl -o json PBS_ADDRESS=192.0.2.10``.
"""

import json
import logging
import logging.handlers
import os
import socket
from contextlib import suppress
from datetime import datetime
from hashlib import blake2b
from io import TextIOWrapper
from pathlib import Path
from typing import Protocol

from popbeforesmtp import maillog
from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.errors import CannotCreateError
from popbeforesmtp.model import Authorization, Origin
from popbeforesmtp.text import escape, quote

_JOURNAL = Path("/run/systemd/journal/socket")


def decision_id(origin: Origin, client: str, user: str) -> str:
    """Name a decision by what it goes back to: the same line, read twice, has the same name."""
    what = "\0".join((origin.source, str(origin.offset), origin.cursor, client, user))
    return blake2b(what.encode("utf-8", "surrogateescape"), digest_size=6).hexdigest()


class _Sink(Protocol):
    def write(self, fields: dict[str, object]) -> None: ...

    def close(self) -> None: ...


class Audit:
    """Writes decisions; a trail that cannot be written is said once, and keeps nobody waiting."""

    def __init__(self, target: str) -> None:
        """``target`` is "journal", a file's absolute path, or empty for no trail. Raises CannotCreateError."""
        self._sink: _Sink | None = None if not target else _Journal() if target == "journal" else _File(Path(target))
        self._target = target
        self.trouble: str | None = None

    def __call__(
        self,
        event: str,
        origin: Origin,
        address: ClientAddress | str,
        account: str,
        now: datetime,
        **more: object,
    ) -> None:
        """Write that something was decided: event, where from, about whom, at what time, and what more there is."""
        if self._sink is None:
            return
        fields: dict[str, object] = {
            "event": event,
            "time": now.isoformat(timespec="milliseconds"),
            "id": decision_id(origin, address, account),
            "address": address,
            "account": account,
            "source": origin.source,
            "offset": origin.offset,
            "cursor": origin.cursor or None,
            **more,
        }
        try:
            self._sink.write({name: value for name, value in fields.items() if value is not None})
        except OSError as error:
            if self.trouble is None:
                maillog.trouble(f"audit {self._target}: {error.strerror or error}")
            self.trouble = f"audit {self._target}: {error.strerror or error}"
        else:
            if self.trouble is not None:
                maillog.recovered(f"audit {self._target}")
            self.trouble = None

    def granted(self, event: str, authorization: Authorization, now: datetime) -> None:
        """Write that somebody may relay: ``grant``, ``renew``."""
        if self._sink is None:
            return
        self(
            event,
            authorization.origin,
            authorization.client,
            authorization.user,
            now,
            format=authorization.format or None,
            service=authorization.service or None,
            rule=authorization.rule,
            until=authorization.expires_at.isoformat(timespec="milliseconds"),
            uid=authorization.uid,
            reason=authorization.why or None,
        )

    def close(self) -> None:
        """Let go of the trail."""
        if self._sink is not None:
            with suppress(OSError):  # a full disk; what was written last is lost
                self._sink.close()


class _File:
    """A file; one that was rotated away is let go, and a new one is made (logging.handlers.WatchedFileHandler)."""

    def __init__(self, path: Path) -> None:
        try:
            self._handler = _Handler(path, encoding="ascii")
        except OSError as error:
            raise CannotCreateError(
                f'audit = "{path}": cannot be written: {error.strerror}; name another place'
            ) from None

    def write(self, fields: dict[str, object]) -> None:
        line = json.dumps(fields)
        self._handler.emit(logging.makeLogRecord({"msg": line}))

    def close(self) -> None:
        self._handler.close()


class _Handler(logging.handlers.WatchedFileHandler):
    """Raises what went wrong, for whoever writes."""

    def _open(self) -> TextIOWrapper:
        """Open the file, at the start and behind each rotation, but none that somebody has linked there. OSError."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.fdopen(os.open(self.baseFilename, flags, 0o666), "a", encoding="ascii")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - its class names it so
        del record
        raise


class _Journal:
    """The journal's own socket; https://systemd.io/JOURNAL_NATIVE_PROTOCOL/ says how fields are written."""

    def __init__(self) -> None:
        if not _JOURNAL.exists():
            raise CannotCreateError('audit = "journal": there is no journal on this host; name a file')
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def write(self, fields: dict[str, object]) -> None:
        texts = {name.upper(): escape(str(value)) for name, value in fields.items()}  # escaped: no LF in a value
        message = " ".join(f"{name}={quote(str(value))}" for name, value in fields.items() if name != "time")
        lines = [f"MESSAGE={message}", "PRIORITY=6", "SYSLOG_IDENTIFIER=pop-before-smtp-audit"]
        lines += [f"PBS_{name}={value}" for name, value in texts.items()]
        self._socket.sendto("".join(f"{line}\n" for line in lines).encode(), str(_JOURNAL))

    def close(self) -> None:
        self._socket.close()
