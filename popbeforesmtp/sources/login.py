"""``type = "login"``: logins that the POP or IMAP server tells us itself, over a unix socket: no log can be forged.

Whoever connects sends one line, ``service=imap address=192.0.2.10 user=alice``, and is answered ``ok`` once it counts,
so that a session begins when its client may relay. Only the users in ``login_uids`` are listened to.
"""

import asyncio
import pwd
import socket
import struct
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from popbeforesmtp.errors import ConfigError, PopBeforeSmtpError
from popbeforesmtp.listening import Endpoint, Listener, listen
from popbeforesmtp.model import Block
from popbeforesmtp.sources import SourceReport

PATH = Path("/run/pop-before-smtp/login")
"""Where `pop-before-smtp login` finds us."""

_LONGEST = 2048  # bytes of a line
_SECONDS = 5.0  # that somebody may take for one
_CREDENTIALS = struct.Struct("3i")  # struct ucred, unix(7): pid, uid, gid


def open_source(*, path: Path = PATH, login_uids: tuple[str, ...] = ("root",)) -> "LoginSource":
    """Listen on a unix socket. There is no checkpoint: what is told while nobody listens is not heard.

    ``login_uids`` are names or numbers of users. Raises ConfigError where there is no such user.
    """
    return LoginSource(path, frozenset(map(_uid, login_uids)))


class LoginSource:
    """A socket that logins come through."""

    journal = False
    format = "_login"

    def __init__(
        self, path: Path, uids: frozenset[int], now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.name = str(path)
        self._endpoint = Endpoint(path=path)
        self._uids = uids
        self._now = now
        self._ring: Callable[[], None] = lambda: None
        self._starting: asyncio.Task[None] | None = None
        self._listener: Listener | None = None
        self._came: deque[tuple[bytes, asyncio.Future[None]]] = deque()
        self._handed: list[asyncio.Future[None]] = []  # whose lines count when the next are asked for
        self._refused: set[int] = set()
        self._notices: list[str] = []
        self._offset = 0
        self._trouble = ""

    def watch(self, ring: Callable[[], None]) -> None:
        """Listen, and ring when somebody has told a login; must be called inside the event loop."""
        self._ring = ring
        self._starting = asyncio.get_running_loop().create_task(self._start())

    def read(self) -> Block | None:
        """Return the logins that were told, as lines of a log. Raises OSError where nobody can be listened to."""
        if self._trouble:
            if self._starting is None or self._starting.done():
                self._starting = asyncio.get_running_loop().create_task(self._start())
            raise OSError(self._trouble)
        for taken in self._handed:
            if not taken.done():
                taken.set_result(None)
        if not self._came:
            self._handed = []
            return None
        lines = [line for line, _ in self._came]
        self._handed = [taken for _, taken in self._came]
        self._came.clear()
        data, offset = b"".join(lines), self._offset
        self._offset += len(data)
        return Block(data, offset, checkpoint="")

    def notices(self) -> list[str]:
        """Return, once, who was not listened to."""
        notices, self._notices = self._notices, []
        return notices

    def ended(self) -> bool:
        """Say no: somebody may always log in."""
        return False

    def report(self) -> SourceReport:
        """Say how it is doing."""
        return SourceReport(self.name, "listening" if self._listener else "not listening", waiting=not self._listener)

    def close(self) -> None:
        """Stop listening, and let go of those who wait for an answer."""
        for taken in (*self._handed, *(taken for _, taken in self._came)):
            taken.cancel()
        if self._starting is not None:
            self._starting.cancel()
        if self._listener is not None:
            self._listener.server.close()
            if self._listener.path is not None:
                self._listener.path.unlink(missing_ok=True)
            self._listener = None

    async def _start(self) -> None:
        protocol = lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader(limit=_LONGEST), self._serve)  # noqa: E731
        try:
            self._listener = await listen(self._endpoint, protocol)
            if self._listener.path is not None:  # everybody may speak; who it is decides whether we listen
                self._listener.path.chmod(0o666)
            self._trouble = ""
        except PopBeforeSmtpError as error:
            self._trouble = str(error)
        self._ring()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_SECONDS):
                if self._is_believed(writer.get_extra_info("socket")):
                    await self._take(await reader.readuntil(b"\n"))
                    writer.write(b"ok\n")
                    await writer.drain()
        except (TimeoutError, OSError, EOFError, asyncio.LimitOverrunError):
            pass  # whoever it is does not speak our language, or has left
        except asyncio.CancelledError:
            pass  # it is the end: asyncio.streams of Python 3.11 logs a traceback for a handler that was cancelled
        finally:
            writer.close()

    async def _take(self, line: bytes) -> None:
        """Put a line where it is read, and wait until it was."""
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        stamp = self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode()
        self._came.append((b"%b localhost pop-before-smtp-login: %b" % (stamp, line), taken))
        self._ring()
        await taken

    def _is_believed(self, peer: socket.socket) -> bool:
        """Say whether a peer's user may tell logins; say once who tried and may not."""
        _, uid, _ = _CREDENTIALS.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        if uid not in self._uids and uid not in self._refused and len(self._refused) < 100:
            self._refused.add(uid)
            self._notices.append(f"{self.name}: user {uid} wants to tell logins, and is not in login_uids")
        return uid in self._uids


def _uid(name: str) -> int:
    try:
        return int(name) if name.isdecimal() else pwd.getpwnam(name).pw_uid
    except KeyError:
        raise ConfigError(f'login_uids: there is no user "{name}"; name one of this machine, or its number') from None
