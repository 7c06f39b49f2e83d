"""Sockets that we listen on, named as Postfix names them: ``unix:/path`` or ``inet:host:port``."""

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from popbeforesmtp.errors import CannotCreateError, ConfigError, NotPermittedError, UnavailableError
from popbeforesmtp.privileges import group_number, require_safe_place

_LONGEST_PATH = 107  # bytes, unix(7)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to listen: a path, or a host and a port."""

    path: Path | None = None
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        return f"inet:{self.host}:{self.port}" if self.path is None else f"unix:{self.path}"


def parse_endpoint(text: str) -> Endpoint:
    """Read ``unix:/run/x`` or ``inet:127.0.0.1:10029``, an IPv6 address in brackets. Raises ConfigError."""
    kind, _, rest = text.partition(":")
    if kind == "unix" and rest.startswith("/") and len(os.fsencode(rest)) <= _LONGEST_PATH:
        return Endpoint(path=Path(rest))
    host, _, port = rest.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if kind == "inet" and host and port.isascii() and port.isdigit() and 0 < int(port) < 65536:
        return Endpoint(host=host, port=int(port))
    raise ConfigError(
        f'"{text}" is no socket; write "unix:/absolute/path" of at most {_LONGEST_PATH} bytes, or "inet:host:port"'
    )


@dataclass(frozen=True, slots=True)
class Listener:
    """Something that listens."""

    server: asyncio.Server
    path: Path | None = None
    inode: int = 0

    async def close(self) -> None:
        """Stop listening, and remove the socket file, if it still is ours."""
        self.server.close()
        with suppress(OSError):
            if self.path is not None and self.path.stat().st_ino == self.inode:
                self.path.unlink()
        await asyncio.sleep(0)


async def listen(endpoint: Endpoint, protocol: Callable[[], asyncio.Protocol], *, group: str | None = None) -> Listener:
    """Begin to listen.

    A unix socket gets mode 0660 and, through its folder, the group; the folder is made with mode 2750 where it is
    missing. A socket file that nobody listens on any more is replaced. Raises CannotCreateError, NotPermittedError, or
    UnavailableError where somebody else listens there.
    """
    loop = asyncio.get_running_loop()
    try:
        if endpoint.path is None:
            return Listener(await loop.create_server(protocol, endpoint.host, endpoint.port))
        _prepare(endpoint.path, group)
        server = await loop.create_unix_server(protocol, str(endpoint.path), backlog=512)
        endpoint.path.chmod(0o660)
        gid = group_number(group)
        if gid is not None:
            with suppress(PermissionError):  # who may not give it away has it from a folder that does (mode 2750)
                os.chown(endpoint.path, -1, gid)
        return Listener(server, endpoint.path, endpoint.path.stat().st_ino)
    except PermissionError as error:
        raise NotPermittedError(
            f"{endpoint}: {error.strerror}; run as a user that may, or name another place"
        ) from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            way_out = "name another port" if endpoint.path is None else "is another pop-before-smtp running?"
            raise UnavailableError(f"{endpoint}: is in use; {way_out}") from None
        why = str(error) if error.strerror is None else error.strerror  # asyncio's own say no more
        raise CannotCreateError(f"{endpoint}: cannot listen: {why}; name another place") from None


def _prepare(path: Path, group: str | None) -> None:
    """Make the socket's folder, and take away a socket that a dead process left."""
    require_safe_place(path)
    if not path.parent.is_dir():
        path.parent.mkdir(mode=0o750, parents=True)
        gid = group_number(group)
        if gid is not None and os.geteuid() == 0:
            os.chown(path.parent, -1, gid)
        path.parent.chmod(0o2750 if gid is not None else 0o755)
    if not path.is_socket():
        if os.path.lexists(path):
            raise CannotCreateError(f"unix:{path}: is there, and is no socket; name another place")
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:  # a full backlog: somebody is there
            pass
    raise OSError(errno.EADDRINUSE, "in use", str(path))
