"""QuestionServer: many connections at once, and none that can hurt the others; here a socketmap is asked."""

import asyncio
import grp
import os
import socket
import stat
from pathlib import Path

import pytest

from popbeforesmtp.errors import CannotCreateError, UnavailableError
from popbeforesmtp.lookups.socketmap import open_lookup
from tests.lookups.asking import (
    LISTED,
    NOT_FOUND,
    OK,
    UNLISTED,
    Client,
    connected,
    permits_all,
    permits_one,
    play,
    question,
    serving,
)

# Bad neighbours


def test_a_client_that_never_reads_fills_no_memory_and_stops_nobody(path: Path) -> None:
    """While it does not take its answers, it is not read from."""
    asked = question(UNLISTED) * 2000

    async def scene() -> None:
        async with serving(path) as lookup, connected(path) as deaf, connected(path) as other:
            sent, stuck = 0, 0
            while stuck < 10:
                try:
                    sent, stuck = sent + deaf.socket.send(asked), 0
                except BlockingIOError:
                    stuck += 1
                assert await other.ask(LISTED) == b"OK OK"
                assert sent < 16 << 20
            waiting = [link._transport.get_write_buffer_size() for link in lookup._connections if link._transport]
            assert len(waiting) == 2
            assert max(waiting) < 1 << 20

    play(scene)


def test_a_client_that_reads_late_gets_all_its_answers(path: Path) -> None:
    """It was only not read from for a while."""
    asked = question(UNLISTED) * 2000

    async def scene() -> None:
        async with serving(path), connected(path) as slow:
            sending = asyncio.create_task(slow.send(asked * 20))
            await asyncio.sleep(0)
            answers = await slow.receive(len(NOT_FOUND) * 2000 * 20)
            assert answers == NOT_FOUND * 2000 * 20
            await sending

    play(scene)


def test_one_connection_more_than_the_limit_is_served_in_place_of_the_most_silent(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever opens connections and says nothing shuts nobody out."""
    monkeypatch.setattr("popbeforesmtp.lookups._server._CONNECTIONS", 3)

    async def scene() -> None:
        async with (
            serving(path) as lookup,
            connected(path) as first,
            connected(path) as second,
            connected(path) as third,
        ):
            for client in (first, second, third, first):
                assert await client.ask(LISTED) == b"OK OK"
            async with connected(path) as fourth:
                assert await fourth.ask(LISTED) == b"OK OK"
                assert await second.is_hung_up_on()
                for client in (first, third, fourth):
                    assert await client.ask(LISTED) == b"OK OK"
                assert lookup.report().connections == 3

    play(scene)


def test_many_connections_that_say_nothing_do_not_keep_a_new_one_out(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor those that send half a question, byte by byte."""
    monkeypatch.setattr("popbeforesmtp.lookups._server._CONNECTIONS", 8)

    async def scene() -> None:
        async with serving(path) as lookup:
            silent = [Client() for _ in range(40)]
            for client in silent:
                await asyncio.get_running_loop().sock_connect(client.socket, str(path))
                await client.send(b"1")
            async with connected(path) as client:
                assert await client.ask(LISTED) == b"OK OK"
            assert lookup.report().connections <= 8
            for client in silent:
                client.socket.close()

    play(scene)


def test_connections_never_take_all_the_files_that_the_process_may_open(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else nobody could be taken in any more, no log be read, and no command be answered."""
    monkeypatch.setattr("resource.getrlimit", lambda _: (40, 40))

    async def scene() -> None:
        async with serving(path) as lookup:
            silent = [Client() for _ in range(30)]
            for client in silent:
                await asyncio.get_running_loop().sock_connect(client.socket, str(path))
            async with connected(path) as client:
                assert await client.ask(LISTED) == b"OK OK"
            assert lookup.report().connections <= 10
            for client in silent:
                client.socket.close()

    play(scene)


def test_a_connection_that_was_silent_for_long_is_hung_up_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Postfix itself hangs up long before."""
    monkeypatch.setattr("popbeforesmtp.lookups._server._SILENCE", 0.05)

    async def scene() -> None:
        async with serving(path) as lookup, connected(path) as silent, connected(path) as other:
            assert await silent.ask(LISTED) == b"OK OK"
            while lookup.report().connections > 1:
                assert await other.ask(LISTED) == b"OK OK"
                await asyncio.sleep(0.005)
            assert await silent.is_hung_up_on()

    play(scene)


# The socket file


def test_the_socket_is_for_its_owner_and_its_group_alone(path: Path) -> None:
    """Mode 0660, whatever the umask."""

    async def scene() -> None:
        before = os.umask(0)
        try:
            async with serving(path):
                assert stat.S_IMODE(path.stat().st_mode) == 0o660
        finally:
            os.umask(before)

    play(scene)


def test_a_missing_folder_is_made_for_the_group(tmp_path: Path) -> None:
    """The socket inherits the group from the folder; without such a group the folder has no set-gid bit."""
    name = grp.getgrgid(os.getgid()).gr_name

    async def scene() -> None:
        for group, mode in ((name, 0o2750), ("no-such-group", 0o755)):
            path = tmp_path / group / "map"
            lookup = open_lookup(listen=f"unix:{path}", group=group)
            await lookup.start(permits_one)
            try:
                assert stat.S_IMODE(path.parent.stat().st_mode) == mode
                assert path.stat().st_gid == os.getgid()
            finally:
                await lookup.close()

    play(scene)


def test_closing_hangs_up_and_removes_the_socket(path: Path) -> None:
    """Nobody is answered any more, at once."""

    async def scene() -> None:
        async with serving(path) as lookup, connected(path) as client:
            assert await client.ask(LISTED) == b"OK OK"
            await lookup.close()
            assert await client.is_hung_up_on()
            assert not path.exists()
            with pytest.raises(FileNotFoundError):
                async with connected(path):
                    pass

    play(scene)


def test_a_socket_that_a_dead_process_left_is_replaced(path: Path) -> None:
    """A killed daemon starts again without help."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    async def scene() -> None:
        async with serving(path), connected(path) as client:
            assert await client.ask(LISTED) == b"OK OK"

    play(scene)


def test_a_socket_that_somebody_listens_on_is_left_alone(path: Path) -> None:
    """A second daemon by mistake does not cut the first one off."""

    async def scene() -> None:
        async with serving(path):
            second = open_lookup(listen=f"unix:{path}")
            with pytest.raises(UnavailableError, match="in use"):
                await second.start(permits_all)
            await second.close()
            async with connected(path) as client:
                assert await client.ask(LISTED) == b"OK OK"
                assert await client.ask(UNLISTED) == b"NOTFOUND "

    play(scene)


def test_a_file_in_the_place_of_the_socket_is_refused_and_kept(path: Path) -> None:
    """It may be anything."""
    path.write_text("precious")

    async def scene() -> None:
        lookup = open_lookup(listen=f"unix:{path}")
        with pytest.raises(CannotCreateError, match="is no socket"):
            await lookup.start(permits_all)
        await lookup.close()

    play(scene)
    assert path.read_text() == "precious"


# A host and a port


def free_port() -> int:
    """Find a port of 127.0.0.1 that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def test_a_host_and_a_port_are_listened_on_too() -> None:
    """And a port that is taken is said to be."""
    port = free_port()

    async def scene() -> None:
        lookup = open_lookup(listen=f"inet:127.0.0.1:{port}")
        await lookup.start(permits_one)
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(question(LISTED))
            assert await reader.readexactly(len(OK)) == OK
            writer.close()
            await writer.wait_closed()
            with pytest.raises(UnavailableError, match="in use"):
                await open_lookup(listen=f"inet:127.0.0.1:{port}").start(permits_one)
        finally:
            await lookup.close()

    play(scene)
