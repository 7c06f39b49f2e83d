"""Socketmap: one table, asked over a socket by Postfix, by Sendmail and by strangers who try."""

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popbeforesmtp.addresses import NO_NETWORKS, ClientAddress, parse_address, parse_network, uncompressed
from popbeforesmtp.lookups import REFUSED
from popbeforesmtp.lookups.socketmap import _answer, open_lookup
from tests.lookups.asking import (
    LIMIT,
    LISTED,
    NOT_FOUND,
    OK,
    UNLISTED,
    answering,
    connected,
    permits_all,
    permits_one,
    play,
    question,
    serving,
)

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


@pytest.mark.parametrize(
    ("key", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("ipv6:2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
        ("ipv6:2001:db8:0:0:0:0:0:10", "2001:db8::10"),
        ("ipv6:2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6"),
        ("ipv6:1:0:0:0:0:0:0:0", "1::"),
    ],
)
def test_what_sendmail_writes_for_a_client_is_that_client_and_no_other(path: Path, key: str, client: str) -> None:
    """All groups, in lower case, behind a mark: only the client that it names is asked for."""
    asked: list[ClientAddress] = []

    def permits(one: ClientAddress) -> bool:
        asked.append(one)
        return one == client

    async def scene() -> None:
        async with serving(path, permits), connected(path) as connection:
            assert await connection.ask(key) == b"OK OK"
            assert asked == [client]

    play(scene)


@pytest.mark.parametrize(
    "key",
    [
        *(
            "ipv6:2001:db8::1:0:0:1",
            "IPv6:2001:db8:0:0:1:0:0:1",
            "ipv6:2001:0db8:0:0:1:0:0:1",
            "ipv6:2001:DB8:0:0:1:0:0:1",
        ),
        *(
            "2001:db8:0:0:1:0:0:1",
            "ipv6:2001:db8:0:0:1:0:0",
            "ipv6:2001:db8:0:0:1:0:0:1:1",
            "ipv6:2001:db8:0:0:1:0:0:1 ",
        ),
        *("ipv6:192.0.2.1", "ipv6:0:0:0:0:0:ffff:c000:201", "ipv6:::ffff:192.0.2.1", "ipv6:0:0:0:0:0:ffff:192.0.2.1"),
        *("ipv6:", "ipv6:ipv6:2001:db8:0:0:1:0:0:1", "ipv6:2001:db8", "ipv4:192.0.2.1", "connect:192.0.2.1"),
    ],
)
def test_what_sendmail_never_writes_for_a_client_is_not_found(path: Path, key: str) -> None:
    """There is one spelling for each client, as there is one for Postfix."""

    async def scene() -> None:
        async with serving(path, permits_all), connected(path) as client:
            assert await client.ask(key) == b"NOTFOUND "
            assert await client.ask("ipv6:2001:db8:0:0:1:0:0:1") == b"OK OK"

    play(scene)


@given(st.ip_addresses(v=6).map(str).filter(lambda text: parse_address(text) == text), st.text(":0f", max_size=3))
def test_no_other_spelling_of_an_ipv6_address_is_found(address: str, put_in: str) -> None:
    """Of all that is near to what the two mail servers write, only that is."""
    written = {address, f"ipv6:{uncompressed(ClientAddress(address))}"}
    for spelling in written:
        for place in range(len(spelling)):
            for key in (
                spelling[:place] + put_in + spelling[place:],
                spelling[:place] + put_in + spelling[place + 1 :],
            ):
                asked: list[ClientAddress] = []
                _answer(b"OK", NO_NETWORKS, f"map {key}".encode(), lambda one, asked=asked: asked.append(one) or True)
                assert all(key in (one, f"ipv6:{uncompressed(one)}") for one in asked)


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


def test_a_refused_network_is_rejected_but_for_its_clients(path: Path) -> None:
    """Exactly, also where a map could not say it; a host name or half an address is in no network."""
    lookup = open_lookup(
        listen=f"unix:{path}", restrict=(parse_network("192.0.2.0/31"), parse_network("2001:db8::/33"))
    )
    rejected = b"OK " + REFUSED

    async def scene() -> None:
        async with answering(lookup, permits_one), connected(path) as client:
            for key, answer in (
                (LISTED, b"OK OK"),
                ("192.0.2.0", rejected),
                ("192.0.2.2", b"NOTFOUND "),
                ("2001:db8:7fff::1", rejected),
                ("2001:db8:8000::1", b"NOTFOUND "),
                ("192.0.2", b"NOTFOUND "),
                ("mx1.example.net", b"NOTFOUND "),
            ):
                assert await client.ask(key) == answer, key
            assert lookup.report().granted == 1

    play(scene)
