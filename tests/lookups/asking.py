"""Mail servers that ask a lookup over its socket, well or badly."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.lookups._server import QuestionServer
from popbeforesmtp.lookups.socketmap import open_lookup
from tests import scenes

LIMIT = 10.0  # seconds for one test
OK, NOT_FOUND = b"5:OK OK,", b"9:NOTFOUND ,"
LISTED, UNLISTED = "192.0.2.1", "192.0.2.2"

play = partial(scenes.play, limit=LIMIT)
"""Run a scene, with a limit in place of waiting for ever."""


def permits_one(client: ClientAddress) -> bool:
    """Permit one client only."""
    return client == LISTED


def permits_all(client: ClientAddress) -> bool:
    """Permit whatever came through as an address."""
    del client
    return True


def question(key: str | bytes, name: str = "clients") -> bytes:
    """Write a question as Postfix does."""
    text = name.encode() + b" " + (key if isinstance(key, bytes) else key.encode())
    return b"%d:%s," % (len(text), text)


class Client:
    """A mail server's end of a connection."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.setblocking(False)

    async def send(self, data: bytes) -> None:
        """Send all of it."""
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def receive(self, length: int) -> bytes:
        """Receive so many bytes, or what came before the other side hung up."""
        data = b""
        while len(data) < length:
            try:
                piece = await asyncio.get_running_loop().sock_recv(self.socket, length - len(data))
            except ConnectionError:
                break
            if not piece:
                break
            data += piece
        return data

    async def ask(self, key: str | bytes) -> bytes:
        """Ask one question and return what the answer holds, the blank included."""
        await self.send(question(key))
        length = b""
        while not length.endswith(b":"):
            byte = await self.receive(1)
            if not byte:
                return b""
            length += byte
        return (await self.receive(int(length[:-1]) + 1)).removesuffix(b",")

    async def is_hung_up_on(self) -> bool:
        """Wait for the other side to hang up; false where it says something instead."""
        return await self.receive(1) == b""


@asynccontextmanager
async def connected(path: Path) -> AsyncIterator[Client]:
    """Connect to a socket."""
    client = Client()
    try:
        await asyncio.get_running_loop().sock_connect(client.socket, str(path))
        yield client
    finally:
        client.socket.close()


def serving(
    path: Path, permits: Callable[[ClientAddress], bool] = permits_one, result: str = "OK"
) -> AbstractAsyncContextManager[QuestionServer]:
    """Answer as a socketmap."""
    return answering(open_lookup(listen=f"unix:{path}", result=result), permits)


@asynccontextmanager
async def answering(lookup: QuestionServer, permits: Callable[[ClientAddress], bool]) -> AsyncIterator[QuestionServer]:
    """Answer on the socket of a lookup."""
    await lookup.start(permits)
    try:
        yield lookup
    finally:
        await lookup.close()
