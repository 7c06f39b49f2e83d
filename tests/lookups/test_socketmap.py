"""Socketmap: one table, asked over a socket by Postfix, by Sendmail and by strangers who try."""

import asyncio
import grp
import os
import shutil
import socket
import stat
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.errors import UnavailableError
from popbeforesmtp.lookups._server import QuestionServer
from popbeforesmtp.lookups.socketmap import open_lookup

LIMIT = 10.0  # seconds for one test
OK, NOT_FOUND = b"5:OK OK,", b"9:NOTFOUND ,"
LISTED, UNLISTED = "192.0.2.1", "192.0.2.2"


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


@asynccontextmanager
async def serving(
    path: Path, permits: Callable[[ClientAddress], bool] = permits_one, result: str = "OK"
) -> AsyncIterator[QuestionServer]:
    """Answer on a socket."""
    lookup = open_lookup(listen=f"unix:{path}", result=result)
    await lookup.start(permits)
    try:
        yield lookup
    finally:
        await lookup.close()


def play(scene: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run a scene, with a limit in place of waiting for ever."""

    async def limited() -> None:
        async with asyncio.timeout(LIMIT):
            await scene()

    asyncio.run(limited())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a socket that is not there yet."""
    return tmp_path / "map"


# Answers


def test_a_client_that_may_relay_is_ok_and_every_other_is_not_found(path: Path) -> None:
    """Not found has its blank behind it, without which Postfix answers 451."""

    async def scene() -> None:
        async with serving(path) as lookup, connected(path) as client:
            await client.send(question(LISTED))
            assert await client.receive(len(OK)) == OK
            await client.send(question(UNLISTED))
            assert await client.receive(len(NOT_FOUND)) == NOT_FOUND
            report = lookup.report()
            assert (report.connections, report.questions, report.granted) == (1, 2, 1)

    play(scene)


@pytest.mark.parametrize(
    "key",
    [
        *("unknown", "mx1.example.net", "localhost", "", " ", "192.0.2", "192", "192.0.2.", "192.0.2.1 ", " 192.0.2.1"),
        *("192.0.2.01", "192.0.2.0/24", "::ffff:192.0.2.1", "2001:DB8::1", "2001:db8:0:0:0:0:0:1", "2001:db8::0:1"),
        *("2001:db8", "2001:db8:", "[2001:db8::1]", "fe80::1%lo", "192.0.2.1\0", "192.0.2.1\n", "١٩٢.0.2.1"),
    ],
)
def test_what_postfix_never_writes_for_a_client_is_not_found(path: Path, key: str) -> None:
    """A host name, a prefix or another spelling is not asked for a client, so it is never granted."""

    async def scene() -> None:
        async with serving(path, permits_all), connected(path) as client:
            assert await client.ask(key) == b"NOTFOUND "
            assert await client.ask("2001:db8::1") == b"OK OK"

    play(scene)


@given(st.one_of(st.binary(max_size=40), st.binary(max_size=20).map(b"clients ".__add__), st.just(b"x 192.0.2.1")))
def test_no_question_makes_it_fail(asked: bytes) -> None:
    """Any bytes in a netstring get one answer, and nobody is permitted before the start."""
    lookup = open_lookup(listen="unix:/nowhere")
    assert lookup.answers(bytearray(b"%d:%s," % (len(asked), asked))) == NOT_FOUND


@given(st.binary(max_size=60))
def test_no_bytes_make_it_fail(data: bytes) -> None:
    """They are answered, waited for, or end the connection; nothing else may happen to the others."""
    lookup = open_lookup(listen="unix:/nowhere")
    try:
        answers = lookup.answers(bytearray(data))
    except ValueError:
        return
    assert answers.replace(NOT_FOUND, b"") == b""


def test_any_map_name_is_answered_alike(path: Path) -> None:
    """The administrator may write any name behind the path."""

    async def scene() -> None:
        async with serving(path), connected(path) as client:
            for name in ("relay", "a:b", ""):
                await client.send(question(LISTED, name))
                assert await client.receive(len(OK)) == OK

    play(scene)


def test_the_configured_result_is_the_answer(path: Path) -> None:
    """An action of access(5)."""

    async def scene() -> None:
        async with serving(path, result="RELAY"), connected(path) as client:
            assert await client.ask(LISTED) == b"OK RELAY"

    play(scene)


def test_whether_a_client_may_relay_is_asked_at_each_question(path: Path) -> None:
    """A window that ends between two questions of one connection has ended."""
    listed: set[ClientAddress] = set()

    async def scene() -> None:
        async with serving(path, listed.__contains__), connected(path) as client:
            assert await client.ask(LISTED) == b"NOTFOUND "
            listed.add(ClientAddress(LISTED))
            assert await client.ask(LISTED) == b"OK OK"
            listed.clear()
            assert await client.ask(LISTED) == b"NOTFOUND "

    play(scene)


# Netstrings


def test_a_question_may_be_split_at_every_byte(path: Path) -> None:
    """What the kernel makes of a write is not ours to choose."""
    asked = question(LISTED)

    async def scene() -> None:
        async with serving(path) as lookup, connected(path) as client:
            for cut in range(1, len(asked)):
                await client.send(asked[:cut])
                before = lookup.report().questions
                async with connected(path) as other:  # an answer to another shows that our first piece was read
                    assert await other.ask(UNLISTED) == b"NOTFOUND "
                assert lookup.report().questions == before + 1
                await client.send(asked[cut:])
                assert await client.receive(len(OK)) == OK

    play(scene)


def test_many_questions_in_one_write_are_answered_in_their_order(path: Path) -> None:
    """Also where the last one is only half there."""
    asked = (question(LISTED) + question(UNLISTED) + question("unknown")) * 500 + question(LISTED)
    answers = (OK + NOT_FOUND + NOT_FOUND) * 500

    async def scene() -> None:
        async with serving(path), connected(path) as client:
            await client.send(asked[:-1])
            assert await client.receive(len(answers)) == answers
            await client.send(asked[-1:])
            assert await client.receive(len(OK)) == OK

    play(scene)


@pytest.mark.parametrize(
    "wrong",
    [
        *(b"x", b":", b",", b"\n", b"\0", b"-1:", b"+5:", b" 5:", b"5 :", b"05:hello,", b"00:,", b"5;hello,", b"1x:"),
        *(b"5:hello;", b"5:hello\n", b"5:hell,x", b"123456", b"999999:", b"10001:", b"99999:", b"GET / HTTP/1.0\r\n"),
        *("²:ab,".encode(), b"get 192.0.2.1\n"),
    ],
)
def test_what_is_no_netstring_ends_the_connection_and_no_other(path: Path, wrong: bytes) -> None:
    """There is no way to find the next question behind it."""

    async def scene() -> None:
        async with serving(path), connected(path) as client, connected(path) as other:
            await client.send(wrong)
            assert await client.is_hung_up_on()
            assert await other.ask(LISTED) == b"OK OK"

    play(scene)


def test_a_question_of_the_greatest_length_is_answered_and_a_longer_one_is_not(path: Path) -> None:
    """Postfix asks nothing longer, and nothing longer is waited for."""

    async def scene() -> None:
        async with serving(path), connected(path) as client:
            await client.send(b"10000:" + b"x" * 10000 + b",")
            assert await client.receive(len(NOT_FOUND)) == NOT_FOUND
            await client.send(b"10001:")
            assert await client.is_hung_up_on()

    play(scene)


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
        with pytest.raises(UnavailableError):
            await lookup.start(permits_all)
        await lookup.close()

    play(scene)
    assert path.read_text() == "precious"


# Other ends


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


@pytest.mark.skipif(shutil.which("postmap") is None, reason="Postfix is not installed")
def test_postfix_itself_understands_the_answers(path: Path, tmp_path: Path) -> None:
    """Its own client: found, not found, and nothing to complain about."""
    main_cf = tmp_path / "main.cf"
    main_cf.write_text("compatibility_level = 3.6\n")
    os.utime(main_cf, (1000, 1000))  # else Postfix waits until it is two seconds old

    def ask(key: str) -> tuple[int, str, str]:
        run = subprocess.run(
            ["postmap", "-c", str(tmp_path), "-q", key, f"socketmap:unix:{path}:clients"],
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        return run.returncode, run.stdout, run.stderr

    async def scene() -> None:
        async with serving(path):
            assert await asyncio.to_thread(ask, LISTED) == (0, "OK\n", "")
            assert await asyncio.to_thread(ask, UNLISTED) == (1, "", "")
            assert await asyncio.to_thread(ask, "unknown") == (1, "", "")

    play(scene)
