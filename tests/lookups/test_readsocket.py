"""Questions of Exim's ${readsocket: one line, one answer, and the end."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popbeforesmtp.addresses import ClientAddress, Network, parse_network
from popbeforesmtp.errors import ConfigError
from popbeforesmtp.lookups._server import QuestionServer
from popbeforesmtp.lookups.readsocket import open_lookup
from tests.lookups.asking import LISTED, UNLISTED, answering, connected, permits_all, permits_one, play

YES, NO, RESTRICTED = b"yes", b"no", b"restricted"


def question(address: str) -> bytes:
    """Write a question as contrib/exim does."""
    return f"check {address}\n".encode()


def serving(
    path: Path,
    permits: Callable[[ClientAddress], bool] = permits_one,
    restrict: tuple[Network, ...] = (),
) -> AbstractAsyncContextManager[QuestionServer]:
    """Answer Exim's questions."""
    return answering(open_lookup(listen=f"unix:{path}", restrict=restrict), permits)


async def ask(path: Path, asked: bytes) -> bytes:
    """Ask as Exim does: write all, shut down that side, read to the end."""
    async with connected(path) as client:
        await client.send(asked)
        client.socket.shutdown(socket.SHUT_WR)
        return await client.receive(1000)


def answers(asked: bytes) -> bytes:
    """Answer without a socket, where whatever is an address is permitted."""
    lookup = open_lookup(listen="unix:/nowhere")
    lookup._permits = permits_all
    return lookup.answers(bytearray(asked))


# Answers


def test_a_client_that_may_relay_is_answered_yes_and_every_other_no(path: Path) -> None:
    """Behind the answer comes the end, which Exim waits for."""

    async def scene() -> None:
        async with serving(path) as lookup:
            assert await ask(path, question(LISTED)) == YES
            assert await ask(path, question(UNLISTED)) == NO
            report = lookup.report()
            assert (report.questions, report.granted) == (2, 1)

    play(scene)


@pytest.mark.parametrize(
    "address",
    [
        *("unknown", "mx1.example.net", "localhost", "", " ", "192.0.2", "192.0.2.", "192.0.2.1 ", " 192.0.2.1"),
        *("192.0.2.01", "192.0.2.0/24", "192.0.2.1,192.0.2.1", "192.0.2.1\0", "192.0.2.1\r", "١٩٢.0.2.1"),
        *("2001:db8", "2001:db8:", "[2001:db8::1]", "fe80::1%lo", "IPv6:2001:db8::1", "2001:DB8::1", "2001:db8:0::1"),
        *("::ffff:192.0.2.1", "2001:0db8:0000:0000:0000:0000:0000:0001", "2001.0db8.0000.0000.0000.0000.0000.0001"),
    ],
)
def test_what_exim_never_has_for_a_client_is_never_yes(path: Path, address: str) -> None:
    """A host name, a prefix or another spelling names no client, whoever may relay."""

    async def scene() -> None:
        async with serving(path, permits_all):
            assert await ask(path, question(address)) == NO
            assert await ask(path, question("2001:db8::1")) == YES

    play(scene)


@pytest.mark.parametrize(
    "asked",
    [
        *(b"192.0.2.1\n", b"CHECK 192.0.2.1\n", b"check\n", b"check\t192.0.2.1\n", b" check 192.0.2.1\n", b"\n"),
        *(b"\ncheck 192.0.2.1\n", b"grant 192.0.2.1\n", b"check192.0.2.1\n", b"check " + b"1" * 100, b"x" * 100),
    ],
)
def test_what_is_no_question_gets_no_answer(path: Path, asked: bytes) -> None:
    """To Exim that is an empty string, or a failure: not yes."""

    async def scene() -> None:
        async with serving(path, permits_all):
            assert await ask(path, asked) == b""
            assert await ask(path, question(LISTED)) == YES

    play(scene)


def test_half_a_question_gets_no_answer(path: Path) -> None:
    """192.0.2.1 may be the beginning of 192.0.2.19."""

    async def scene() -> None:
        async with serving(path, permits_all):
            for end in range(len(question(LISTED))):
                assert await ask(path, question(LISTED)[:end]) == b""

    play(scene)


def test_a_question_may_be_split_at_every_byte(path: Path) -> None:
    """What the kernel makes of a write is not ours to choose."""
    asked = question(LISTED)

    async def scene() -> None:
        async with serving(path) as lookup:
            for cut in range(1, len(asked)):
                async with connected(path) as client:
                    await client.send(asked[:cut])
                    before = lookup.report().questions
                    assert await ask(path, question(UNLISTED)) == NO  # an answer to another: our piece was read
                    assert lookup.report().questions == before + 1
                    await client.send(asked[cut:])
                    assert await client.receive(len(YES)) == YES

    play(scene)


def test_a_refused_network_is_answered_restricted_but_for_its_clients(path: Path) -> None:
    """Clients that may relay are let through."""
    restrict = (parse_network("192.0.2.0/24"), parse_network("2001:db8::/32"))

    async def scene() -> None:
        async with serving(path, restrict=restrict) as lookup:
            assert await ask(path, question(LISTED)) == YES
            assert await ask(path, question(UNLISTED)) == RESTRICTED
            assert await ask(path, question("2001:db8::1")) == RESTRICTED
            assert await ask(path, question("198.51.100.1")) == NO
            assert lookup.report().granted == 1

    play(scene)


def test_whether_a_client_may_relay_is_asked_at_each_question(path: Path) -> None:
    """A window that ends between two recipients has ended."""
    listed: set[ClientAddress] = set()

    async def scene() -> None:
        async with serving(path, listed.__contains__):
            assert await ask(path, question(LISTED)) == NO
            listed.add(ClientAddress(LISTED))
            assert await ask(path, question(LISTED)) == YES
            listed.clear()
            assert await ask(path, question(LISTED)) == NO

    play(scene)


def test_many_ask_at_once(path: Path) -> None:
    """Exim has a process for each connection, and each asks for itself."""

    async def scene() -> None:
        async with serving(path):
            asked = [LISTED, UNLISTED] * 100
            told = await asyncio.gather(*(ask(path, question(client)) for client in asked))
            assert told == [YES, NO] * 100

    play(scene)


@given(st.binary(max_size=80))
def test_no_bytes_make_it_fail_nor_say_yes(data: bytes) -> None:
    """They are answered, waited for, or end the connection; nothing else may happen to the others."""
    lookup = open_lookup(listen="unix:/nowhere")
    try:
        told = lookup.answers(bytearray(data))
    except ValueError:
        return
    assert told.replace(NO, b"") == b""


@given(st.ip_addresses().map(str))
def test_every_address_in_exims_spelling_is_understood(address: str) -> None:
    """Lower case, longest run of zeros shortened; IPv4 in IPv6 is IPv4 to it."""
    assert answers(question(address)) == (NO if address.startswith("::ffff:") else YES)


# Settings


def test_settings_become_the_socket_that_they_say(path: Path) -> None:
    """Its name tells which lookup it is."""
    assert open_lookup(listen=f"unix:{path}").name == f"readsocket:unix:{path}"
    assert open_lookup().name == "readsocket:unix:/var/lib/pop-before-smtp/exim/ask"
    assert open_lookup(listen="inet:127.0.0.1:10030").name == "readsocket:inet:127.0.0.1:10030"
    with pytest.raises(ConfigError, match="is no socket"):
        open_lookup(listen="exim")
