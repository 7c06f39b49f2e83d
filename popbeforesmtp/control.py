"""The control socket: how commands ask the daemon. One JSON object a line, one question a connection."""

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from popbeforesmtp.errors import DataError, NotPermittedError, PopBeforeSmtpError, UnavailableError
from popbeforesmtp.listening import Endpoint, Listener, listen

_LONGEST = 65536  # bytes of a question
_SECONDS = 5.0  # that either side waits for the other
_MOST = 100  # that have not asked yet, at once; a new one takes the place of the one that has waited longest

Answer = Callable[[Mapping[str, Any]], Awaitable[object]]
"""Answers one command; what it returns is sent as JSON. ``uid`` in the question is the asker's, told by the kernel."""


class ControlServer:
    """The daemon's side."""

    def __init__(self, path: Path, answers: Mapping[str, Answer], group: str | None = None) -> None:
        self._endpoint = Endpoint(path=path)
        self._answers = answers
        self._group = group
        self._listener: Listener | None = None
        self._silent: dict[asyncio.StreamWriter, None] = {}  # who has not asked yet, the longest first

    async def start(self) -> None:
        """Begin to answer. Raises UnavailableError where another daemon does."""
        self._listener = await listen(
            self._endpoint,
            lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader(limit=_LONGEST), self._serve),
            group=self._group,
        )

    async def close(self) -> None:
        """Stop answering."""
        if self._listener is not None:
            await self._listener.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._silent[writer] = None
        if len(self._silent) > _MOST:
            next(iter(self._silent)).transport.abort()
        try:
            try:
                async with asyncio.timeout(_SECONDS):
                    line = await reader.readline()
            finally:
                del self._silent[writer]
            reply = await self._reply(line, _peer(writer))  # to its end: a revocation must not stop half-way
            async with asyncio.timeout(_SECONDS):
                writer.write(json.dumps(reply).encode() + b"\n")
                await writer.drain()
        except (TimeoutError, OSError, ValueError, TypeError, RecursionError):
            pass  # whoever it is does not speak our language, or has left
        finally:
            writer.close()

    async def _reply(self, line: bytes, uid: int) -> dict[str, object]:
        question = json.loads(line)
        answer = (
            self._answers.get(question["command"]) if isinstance(question, dict) and "command" in question else None
        )
        if answer is None:
            return {"error": "there is no such command"}
        try:
            return {"answer": await answer({**question, "uid": uid})}
        except PopBeforeSmtpError as error:
            return {"error": str(error)}


def _peer(writer: asyncio.StreamWriter) -> int:
    """Return who asks: the uid that the kernel tells (SO_PEERCRED, unix(7))."""
    connection = writer.get_extra_info("socket")
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(uid)


def ask(path: Path, command: str, **details: object) -> Any:
    """Ask the daemon and return its answer; None where no daemon runs.

    Raises NotPermittedError, UnavailableError where it does not answer, DataError where it cannot do what was asked.
    """
    question = json.dumps({"command": command, **details}).encode() + b"\n"
    if len(question) > _LONGEST:
        raise DataError(f"that is {len(question)} bytes, and the daemon takes {_LONGEST}; write a shorter reason")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_SECONDS)
        try:
            connection.connect(str(path))
            connection.sendall(question)
            with connection.makefile("rb") as answers:
                reply = json.loads(answers.readline())
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except PermissionError:
            raise NotPermittedError(
                f"{path}: may not be used by this user; run as root or as the daemon's user"
            ) from None
        except (OSError, ValueError):
            raise UnavailableError(f"{path}: the daemon does not answer") from None
    if "error" in reply:
        raise DataError(str(reply["error"]))
    return reply["answer"]
