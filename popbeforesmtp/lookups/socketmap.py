"""``type = "socketmap"``: Postfix's and Sendmail's socketmap protocol (socketmap_table(5)).

A question is a netstring holding the map's name, a blank and the key; an answer is a netstring holding ``OK`` and the
result, or ``NOTFOUND``. The key is an address as Postfix writes it, and is looked up exactly; host names and everything
else are not found. Any map name is answered alike.
"""

import asyncio
from collections import OrderedDict

from popbeforesmtp.addresses import parse_address
from popbeforesmtp.listening import Endpoint, listen, parse_endpoint, stop
from popbeforesmtp.lookups import LookupReport, Permits

_LONGEST_QUESTION = 10_000  # bytes; Postfix's own limit (util/dict_sockmap.c)
_CONNECTIONS = 400  # at once; a new one takes the place of the one that has been silent longest
_SILENCE = 120.0  # seconds; Postfix hangs up after 10, Sendmail keeps a connection for a session
_OK, _NOT_FOUND = b"OK ", b"NOTFOUND "


def open_lookup(
    *, listen: str = "unix:/var/spool/postfix/pop-before-smtp/map", group: str = "postfix", result: str = "OK"
) -> "Socketmap":
    """Answer socketmap questions.

    ``listen`` is "unix:" and a path, to whose socket ``group`` may connect, or "inet:host:port". ``result`` is what a
    client that may relay is answered with, an action of access(5).
    """
    return Socketmap(parse_endpoint(listen), group, result)


class Socketmap:
    """One socket that answers questions."""

    def __init__(self, endpoint: Endpoint, group: str, result: str) -> None:
        self.name = f"socketmap:{endpoint}"
        self._endpoint = endpoint
        self._group = group
        self._answer = _netstring(_OK + result.encode())
        self._server: asyncio.Server | None = None
        self._permits: Permits = lambda client: False
        self._connections: OrderedDict[_Connection, float] = OrderedDict()  # the longest silent first
        self._questions = 0
        self._granted = 0

    async def start(self, permits: Permits) -> None:
        """Begin to answer."""
        self._permits = permits
        self._server = await listen(self._endpoint, lambda: _Connection(self), group=self._group)

    def report(self) -> LookupReport:
        """Say how it is doing."""
        return LookupReport(self.name, len(self._connections), self._questions, self._granted)

    async def close(self) -> None:
        """Hang up on everybody."""
        for connection in list(self._connections):
            connection.abort()
        if self._server is not None:
            await stop(self._server, self._endpoint)
            self._server = None

    def answer(self, question: bytes) -> bytes:
        """Answer one question."""
        self._questions += 1
        _, blank, key = question.partition(b" ")
        client = parse_address(key.decode("ascii", "replace")) if blank else None
        if client is None or client.encode() != key or not self._permits(client):
            return _netstring(_NOT_FOUND)
        self._granted += 1
        return self._answer

    def heard(self, connection: "_Connection") -> None:
        """Note that a connection is alive; hang up on those that are not, and on the most silent of too many."""
        now = asyncio.get_running_loop().time()
        self._connections[connection] = now
        self._connections.move_to_end(connection)
        while True:
            oldest, heard_at = next(iter(self._connections.items()))
            if len(self._connections) <= _CONNECTIONS and now - heard_at < _SILENCE:
                return
            del self._connections[oldest]
            oldest.abort()

    def left(self, connection: "_Connection") -> None:
        """Forget a connection."""
        self._connections.pop(connection, None)


class _Connection(asyncio.Protocol):
    """One client. It may send many questions at once; while it does not take its answers, it is not read from."""

    def __init__(self, server: Socketmap) -> None:
        self._server = server
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a stream server makes nothing else
        transport.set_write_buffer_limits(high=16384)
        self._transport = transport
        self._server.heard(self)

    def data_received(self, data: bytes) -> None:
        """Answer all whole questions; what is no netstring ends the connection."""
        if self._transport is None:
            return
        self._buffer += data
        answers = bytearray()
        while self._buffer:
            try:
                question = _take(self._buffer)
            except ValueError:
                self._transport.abort()
                return
            if question is None:
                break
            answers += self._server.answer(question)
        if answers:
            self._server.heard(self)
            self._transport.write(bytes(answers))

    def pause_writing(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._server.left(self)

    def abort(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()


def _take(buffer: bytearray) -> bytes | None:
    """Take one netstring off the front; None where it is not whole yet. Raises ValueError where it never will be."""
    colon = buffer.find(b":", 0, 6)
    digits = bytes(buffer[: colon if colon >= 0 else 6])
    if not digits.isdigit() or (digits[:1] == b"0" and len(digits) > 1):
        raise ValueError("no netstring")
    if colon < 0:
        if len(digits) == 6:
            raise ValueError("no netstring")
        return None
    length = int(digits)
    if length > _LONGEST_QUESTION:
        raise ValueError("too long")
    end = colon + 1 + length
    if len(buffer) <= end:
        return None
    if buffer[end] != ord(","):
        raise ValueError("no netstring")
    question = bytes(buffer[colon + 1 : end])
    del buffer[: end + 1]
    return question


def _netstring(data: bytes) -> bytes:
    return b"%d:%s," % (len(data), data)
