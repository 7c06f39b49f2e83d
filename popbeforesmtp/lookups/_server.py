"""Answers questions on one socket: many connections at once, and none that can hurt the others."""

import asyncio
import resource
from collections import OrderedDict
from collections.abc import Callable

from popbeforesmtp.listening import Endpoint, Listener, listen
from popbeforesmtp.lookups import LookupReport, Permits

_CONNECTIONS = 400  # at once; a new one takes the place of the one that has been silent longest
_SHARE = 4  # fewer, where they were more than so small a part of the files that the process may have open
_SILENCE = 1100.0  # seconds; Postfix's policy clients keep a connection for 300 idle, and 1000 in all
_QUESTIONS = 100  # of one client that are answered before the others have their turn
_UNREAD = 16384  # bytes of answers that a client may leave unread before it is not read from

Cut = Callable[[bytearray], bytes | None]
"""Takes one question off the front; None where it is not whole yet. Raises ValueError where it never will be."""

Answer = Callable[[bytes, Permits], tuple[bytes, bool]]
"""Answers one question, and says whether that was a yes. Raises ValueError where it is no question."""


class QuestionServer:
    """A lookup: one socket, and the protocol that is spoken there."""

    def __init__(self, name: str, endpoint: Endpoint, group: str, cut: Cut, answer: Answer) -> None:
        self.name = name
        self._endpoint = endpoint
        self._group = group
        self._cut = cut
        self._answer = answer
        self._listener: Listener | None = None
        self._permits: Permits = lambda client: False
        self._connections: OrderedDict[_Connection, float] = OrderedDict()  # the longest silent first
        self._questions = 0
        self._granted = 0
        self._most = 0  # connections at once

    async def start(self, permits: Permits) -> None:
        """Begin to answer."""
        self._permits = permits
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most = _CONNECTIONS if files == resource.RLIM_INFINITY else min(_CONNECTIONS, files // _SHARE)
        self._listener = await listen(self._endpoint, lambda: _Connection(self), group=self._group)

    def report(self) -> LookupReport:
        """Say how it is doing."""
        return LookupReport(self.name, len(self._connections), self._questions, self._granted)

    async def close(self) -> None:
        """Hang up on everybody."""
        for connection in list(self._connections):
            connection.abort()
        if self._listener is not None:
            await self._listener.close()
            self._listener = None

    def answers(self, buffer: bytearray) -> bytes:
        """Answer whole questions in a buffer and take them out, but not for so long that others wait.

        Raises ValueError where it holds something else.
        """
        answers = bytearray()
        for _ in range(_QUESTIONS):
            question = self._cut(buffer) if buffer else None
            if question is None:
                break
            answer, granted = self._answer(question, self._permits)
            self._questions += 1
            self._granted += granted
            answers += answer
        return bytes(answers)

    def heard(self, connection: "_Connection") -> None:
        """Note that a connection is alive; hang up on those that are not, and on the most silent of too many."""
        now = asyncio.get_running_loop().time()
        self._connections[connection] = now
        self._connections.move_to_end(connection)
        while True:
            oldest, heard_at = next(iter(self._connections.items()))
            if len(self._connections) <= self._most and now - heard_at < _SILENCE:
                return
            del self._connections[oldest]
            oldest.abort()

    def left(self, connection: "_Connection") -> None:
        """Forget a connection."""
        self._connections.pop(connection, None)


class _Connection(asyncio.Protocol):
    """One client. It may send many questions at once; while it does not take its answers, it is not read from."""

    def __init__(self, server: QuestionServer) -> None:
        self._server = server
        self._buffer = bytearray()
        self._full = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the client in."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a stream server makes nothing else
        transport.set_write_buffer_limits(high=_UNREAD)
        self._transport = transport
        self._server.heard(self)

    def data_received(self, data: bytes) -> None:
        """Answer all whole questions; what is none ends the connection."""
        if self._transport is None:
            return
        self._buffer += data
        self._answer()

    def _answer(self) -> None:
        """Answer some questions; where more may be waiting, come back after the others."""
        if self._transport is None or self._transport.is_closing() or self._full:
            return
        try:
            answers = self._server.answers(self._buffer)
        except ValueError:
            self._transport.abort()
            return
        if not answers:
            self._read_on()
            return
        self._server.heard(self)
        self._transport.write(answers)
        self._transport.pause_reading()
        asyncio.get_running_loop().call_soon(self._answer)

    def _read_on(self) -> None:
        if self._transport is not None and not self._full:
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        """Read no more questions: the client does not take its answers."""
        self._full = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on answering, and reading."""
        self._full = False
        self._answer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        self._transport = None
        self._server.left(self)

    def abort(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()
