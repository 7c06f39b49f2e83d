"""The control socket: the daemon answers its commands, and survives whatever else connects."""

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest

from popbeforesmtp import control
from popbeforesmtp.control import ControlServer, ask
from popbeforesmtp.errors import DataError, UnavailableError

Result = TypeVar("Result")


async def echo(question: Mapping[str, Any]) -> object:
    """Answer with the question."""
    return dict(question)


async def fail(_: Mapping[str, Any]) -> object:
    """Answer with an error of ours."""
    raise UnavailableError("not now")


def served(path: Path, work: Callable[[], Result]) -> Result:
    """Do something in a thread while the server answers."""

    async def serve() -> Result:
        server = ControlServer(path, {"echo": echo, "fail": fail})
        await server.start()
        try:
            return await asyncio.to_thread(work)
        finally:
            await server.close()

    return asyncio.run(serve())


def test_an_answer_is_what_the_command_returned(tmp_path: Path) -> None:
    """With the question's details."""
    path = tmp_path / "control"
    assert served(path, lambda: ask(path, "echo", address="192.0.2.1"))["address"] == "192.0.2.1"
    assert not path.exists()


def test_without_a_daemon_there_is_no_answer(tmp_path: Path) -> None:
    """Whether the socket was never there, or was left by one that died."""
    path = tmp_path / "control"
    assert ask(path, "echo") is None
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert ask(path, "echo") is None


@pytest.mark.parametrize(("command", "sentence"), [("fail", "not now"), ("dance", "there is no such command")])
def test_an_error_is_said_in_a_sentence(tmp_path: Path, command: str, sentence: str) -> None:
    """The asker gets what the daemon could not do."""
    path = tmp_path / "control"
    with pytest.raises(DataError, match=sentence):
        served(path, lambda: ask(path, command))


@pytest.mark.parametrize(
    "junk", [b"", b"\n", b"GET / HTTP/1.0\r\n\r\n", b"[]\n", b"{}\n", b"\xff\xfe\n", b"x" * 200_000]
)
def test_junk_stops_nothing(tmp_path: Path, junk: bytes) -> None:
    """Somebody who does not speak our language is let go, and the next one answered."""
    path = tmp_path / "control"

    def disturb() -> object:
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.settimeout(10)
            stranger.connect(str(path))
            try:
                stranger.sendall(junk)
                stranger.shutdown(socket.SHUT_WR)
                while stranger.recv(4096):
                    pass
            except (BrokenPipeError, ConnectionResetError):
                pass
        return ask(path, "echo")

    assert served(path, disturb) == {"command": "echo", "uid": os.getuid()}


def test_many_who_say_nothing_keep_nobody_out(tmp_path: Path) -> None:
    """Of those who have not asked yet, who has waited longest is hung up on; there is always room."""
    path = tmp_path / "control"

    def crowd() -> object:
        silent = [socket.socket(socket.AF_UNIX) for _ in range(control._MOST + 5)]
        for number, each in enumerate(silent):
            each.settimeout(3)
            each.connect(str(path))
            assert ask(path, "echo", number=number)["number"] == number
        assert [each.recv(1) for each in silent[:5]] == [b""] * 5
        silent[-1].sendall(b'{"command": "echo"}\n')
        assert silent[-1].recv(100)
        for each in silent:
            each.close()
        return ask(path, "echo")

    assert served(path, crowd) == {"command": "echo", "uid": os.getuid()}


def test_the_socket_is_for_its_owner_and_group(tmp_path: Path) -> None:
    """Nobody else may even ask."""
    path = tmp_path / "control"
    assert served(path, lambda: path.stat().st_mode & 0o777) == 0o660


def test_what_takes_longer_than_the_asker_waits_is_done_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a revocation would leave windows open that nobody asks about again."""
    monkeypatch.setattr(control, "_SECONDS", 0.05)
    path, given_up, done = tmp_path / "control", asyncio.Event(), asyncio.Event()

    async def slow(_: Mapping[str, Any]) -> object:
        await given_up.wait()
        for _ in range(3):
            await asyncio.sleep(0.05)  # the server would have lost patience too
        done.set()
        return None

    async def scene() -> None:
        server = ControlServer(path, {"slow": slow})
        await server.start()
        try:
            with pytest.raises(UnavailableError):
                await asyncio.to_thread(ask, path, "slow")
            given_up.set()
            async with asyncio.timeout(5):
                await done.wait()
        finally:
            await server.close()

    asyncio.run(scene())


def test_a_question_that_is_too_long_is_said_to_be(tmp_path: Path) -> None:
    """Not that the daemon does not answer."""
    with pytest.raises(DataError, match="write a shorter reason"):
        ask(tmp_path / "control", "grant", reason="x" * 65536)
