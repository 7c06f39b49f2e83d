"""Logins that a server tells us itself: who it is decides whether they count."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from popbeforesmtp import wiring
from popbeforesmtp.config import Section
from popbeforesmtp.errors import ConfigError
from popbeforesmtp.formats import _engine, _format
from popbeforesmtp.header import HeaderReader
from popbeforesmtp.model import SessionEvent
from popbeforesmtp.sources.login import LoginSource, open_source
from tests.clocks import START

LINE = b"service=imap address=192.0.2.10 user=alice\n"


def run(
    path: Path, told: Callable[[Path], Awaitable[bytes]], uids: frozenset[int] | None = None
) -> tuple[bytes, bytes, list[str]]:
    """Tell something while the source is read; return what was read, what was answered, and the notices."""

    async def both() -> tuple[bytes, bytes, list[str]]:
        bell = asyncio.Event()
        source = LoginSource(path, frozenset({os.geteuid()}) if uids is None else uids, lambda: START)
        source.watch(bell.set)
        read = b""
        async with asyncio.timeout(10):
            await bell.wait()
            telling = asyncio.ensure_future(told(path))
            telling.add_done_callback(lambda _: bell.set())
            while not telling.done():
                bell.clear()
                while (block := source.read()) is not None:
                    assert block.offset == len(read)
                    read += block.data
                await bell.wait()
        source.close()
        return read, telling.result(), source.notices()

    return asyncio.run(both())


def telling(line: bytes) -> Callable[[Path], Awaitable[bytes]]:
    """Say one line and wait for the answer."""

    async def tell(path: Path) -> bytes:
        reader, writer = await asyncio.open_unix_connection(str(path))
        try:
            writer.write(line)
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    return tell


def event(data: bytes) -> SessionEvent | None:
    """Read what the source hands over, as the daemon does."""
    engine = _engine.Engine([_format.load("_login")])
    message = HeaderReader().read(data.removesuffix(b"\n"), START)
    return None if message is None else engine.read(message)


def test_a_login_that_is_told_is_read_and_then_answered(tmp_path: Path) -> None:
    """The answer comes when the next lines are asked for, so when the login counts."""
    data, answer, _ = run(tmp_path / "login", telling(LINE))
    login = event(data)
    assert login is not None
    assert (login.client, login.user, login.service, login.time, login.format) == (
        "192.0.2.10", "alice", "imap", START, "login",
    )  # fmt: skip
    assert answer == b"ok\n"


def test_whoever_is_not_named_is_not_heard_and_that_is_said_once(tmp_path: Path) -> None:
    """The kernel says who it is, not the peer."""
    data, answer, notices = run(tmp_path / "login", telling(LINE), frozenset({os.geteuid() + 1}))
    assert (data, answer) == (b"", b"")
    assert len(notices) == 1
    assert "login_uids" in notices[0]


@pytest.mark.parametrize(
    "line",
    [
        b"service=imap address=192.0.2.10 user=a\rb\n",
        b"service=imap address=host.example user=alice\n",
        b"service=imap address=192.0.2.10\n",
        b"nonsense\n",
        b"\n",
    ],
)
def test_what_is_no_login_authorizes_nobody(tmp_path: Path, line: bytes) -> None:
    """It is answered all the same, for the user's session must go on."""
    data, answer, _ = run(tmp_path / "login", telling(line))
    assert event(data) is None
    assert answer == b"ok\n"


@pytest.mark.parametrize("line", [b"service=imap", b"x" * 5000 + b"\n", b""])
def test_a_peer_that_ends_within_a_line_or_never_ends_it_is_let_go(tmp_path: Path, line: bytes) -> None:
    """Nothing is read of it."""

    async def tell(path: Path) -> bytes:
        reader, writer = await asyncio.open_unix_connection(str(path))
        try:
            writer.write(line)
            writer.write_eof()
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    assert run(tmp_path / "login", tell)[:2] == (b"", b"")


def test_the_account_is_all_behind_its_key(tmp_path: Path) -> None:
    """A name that looks like another address changes nothing."""
    data, _, _ = run(tmp_path / "login", telling(b"service=pop3 address=192.0.2.10 user=x address=9.9.9.9 user=y\n"))
    login = event(data)
    assert login is not None
    assert (login.client, login.user) == ("192.0.2.10", "x address=9.9.9.9 user=y")


def test_no_log_is_read_by_this_format() -> None:
    """Its program name in a log is nobody's."""
    assert not wiring.engine().knows(b"pop-before-smtp-login")


def test_a_user_that_is_not_there_is_an_error() -> None:
    """With the way out."""
    with pytest.raises(ConfigError, match="name one of this machine"):
        open_source(login_uids=("no-such-user-here",))
    section = Section("login", {"login_uids": ["0", "root"]}, {}, None)
    assert wiring.open_source(section, {}, START).source.format == "_login"


def test_the_socket_file_is_gone_when_it_is_closed(tmp_path: Path) -> None:
    """And stands open for everybody while it is there."""

    async def tell(path: Path) -> bytes:
        assert path.stat().st_mode & 0o777 == 0o666
        return await telling(LINE)(path)

    run(tmp_path / "login", tell)
    assert not (tmp_path / "login").exists()
    with socket.socket(socket.AF_UNIX) as connection, pytest.raises(FileNotFoundError):
        connection.connect(str(tmp_path / "login"))


@pytest.mark.parametrize("read", [False, True], ids=["not yet read", "read"])
@pytest.mark.parametrize("waits", [False, True], ids=["the loop ends", "the loop goes on"])
def test_whoever_waits_at_the_end_is_let_go_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, read: bool, waits: bool
) -> None:
    """A daemon that stops while somebody logs in does so without a traceback."""
    path, own = tmp_path / "login", frozenset({os.geteuid()})

    async def tell() -> None:
        bell = asyncio.Event()
        source = LoginSource(path, own, lambda: START)
        source.watch(bell.set)
        async with asyncio.timeout(10):
            await bell.wait()
            bell.clear()
            waiting = asyncio.ensure_future(telling(LINE)(path))
            await bell.wait()
            if read:
                assert source.read() is not None
            source.close()
            if waits:
                assert await waiting == b""

    asyncio.run(tell())
    assert caplog.records == []
