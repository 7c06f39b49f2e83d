"""Policy: Postfix's questions about each recipient, answered OK or DUNNO and nothing else."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popbeforesmtp.addresses import ClientAddress, parse_network
from popbeforesmtp.lookups import REFUSED
from popbeforesmtp.lookups._server import QuestionServer
from popbeforesmtp.lookups.policy import open_lookup
from tests.lookups.asking import LISTED, UNLISTED, Client, answering, connected, permits_all, permits_one, play

OK, DUNNO, REJECT = b"action=OK\n\n", b"action=DUNNO\n\n", b"action=" + REFUSED + b"\n\n"
HEAD = b"request=smtpd_access_policy\n"
LONGEST = 65_536  # bytes


def request(*addresses: str, more: bytes = b"") -> bytes:
    """Write a question as Postfix does, with so many client addresses."""
    lines = [f"client_address={address}\n" for address in addresses]
    return (
        HEAD
        + b"protocol_state=RCPT\nprotocol_name=ESMTP\nhelo_name=mx1.example.net\nqueue_id=\nsender=a@example.net\n"
        + b"recipient=b@example.com\nrecipient_count=0\n"
        + "".join(lines).encode()
        + b"client_name=unknown\nreverse_client_name=unknown\ninstance=123.456.7\n"
        + more
        + b"\n"
    )


def serving(
    path: Path, permits: Callable[[ClientAddress], bool] = permits_one
) -> AbstractAsyncContextManager[QuestionServer]:
    """Answer policy questions."""
    return answering(open_lookup(listen=f"unix:{path}"), permits)


async def ask(client: Client, asked: bytes) -> bytes:
    """Ask one question and return the answer, up to and with its empty line."""
    await client.send(asked)
    answer = b""
    while not answer.endswith(b"\n\n"):
        byte = await client.receive(1)
        if not byte:
            break
        answer += byte
    return answer


def answers(asked: bytes) -> bytes:
    """Answer without a socket, where whatever is an address is permitted."""
    lookup = open_lookup(listen="unix:/nowhere")
    lookup._permits = permits_all
    return lookup.answers(bytearray(asked))


# Answers


def test_a_client_that_may_relay_is_ok_and_to_every_other_we_say_nothing(path: Path) -> None:
    """DUNNO leaves the decision to what follows in Postfix's restrictions."""

    async def scene() -> None:
        async with serving(path) as lookup, connected(path) as client:
            assert await ask(client, request(LISTED)) == OK
            assert await ask(client, request(UNLISTED)) == DUNNO
            report = lookup.report()
            assert (report.connections, report.questions, report.granted) == (1, 2, 1)

    play(scene)


def test_a_refused_network_is_rejected_but_for_its_clients(path: Path) -> None:
    """Exactly, also where a map could not say it; a host name is in no network."""
    lookup = open_lookup(
        listen=f"unix:{path}", restrict=(parse_network("192.0.2.0/31"), parse_network("2001:db8::/33"))
    )

    async def scene() -> None:
        async with answering(lookup, permits_one), connected(path) as client:
            for address, answer in (
                (LISTED, OK),
                ("192.0.2.0", REJECT),
                ("::ffff:192.0.2.0", REJECT),
                ("192.0.2.2", DUNNO),
                ("2001:db8:7fff::1", REJECT),
                ("2001:db8:8000::1", DUNNO),
                ("unknown", DUNNO),
                ("192.0.2", DUNNO),
            ):
                assert await ask(client, request(address)) == answer
            assert lookup.report().granted == 1

    play(scene)


@pytest.mark.parametrize(
    "address",
    [
        *("unknown", "mx1.example.net", "localhost", "", " ", "192.0.2", "192.0.2.", "192.0.2.1 ", " 192.0.2.1"),
        *("192.0.2.01", "192.0.2.0/24", "192.0.2.1=", "192.0.2.1,192.0.2.1", "192.0.2.1\0", "192.0.2.1\r", "١٩٢.0.2.1"),
        *("2001:db8", "2001:db8:", "[2001:db8::1]", "fe80::1%lo", "IPv6:2001:db8::1"),
    ],
)
def test_what_is_no_address_is_never_ok(path: Path, address: str) -> None:
    """A host name, a prefix or half an address names no client, whoever may relay."""

    async def scene() -> None:
        async with serving(path, permits_all), connected(path) as client:
            assert await ask(client, request(address)) == DUNNO
            assert await ask(client, request(LISTED)) == OK

    play(scene)


def test_a_question_without_a_client_or_with_two_is_never_ok() -> None:
    """Also where both are the same: whoever could add a line would choose his address."""
    assert answers(request(LISTED)) == OK
    assert answers(request()) == DUNNO
    assert answers(HEAD + b"\n") == DUNNO
    assert answers(request(LISTED, LISTED)) == DUNNO
    assert answers(request(UNLISTED, LISTED)) == DUNNO
    assert answers(request(LISTED, "")) == DUNNO


@pytest.mark.parametrize(
    "line",
    [
        *(b"helo_name=192.0.2.1", b"reverse_client_address=192.0.2.1", b"client_address", b"client_address:192.0.2.1"),
        *(b"Client_Address=192.0.2.1", b"client_address =192.0.2.1", b" client_address=192.0.2.1", b"192.0.2.1"),
        *(b"sender=client_address=192.0.2.1", b"sender=\rclient_address=192.0.2.1", b"server_address=192.0.2.1"),
    ],
)
def test_no_other_attribute_is_taken_for_the_client(line: bytes) -> None:
    """Much of a question is a stranger's own text."""
    assert answers(request(more=line + b"\n")) == DUNNO
    assert answers(request("unknown", more=line + b"\n")) == DUNNO


@pytest.mark.parametrize(
    ("spelled", "canonical"),
    [
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("2001:0db8::0001", "2001:db8::1"),
        ("2001:db8:0:0:0:0:0:1", "2001:db8::1"),
        ("2001:db8::0:1", "2001:db8::1"),
        ("::ffff:192.0.2.1", LISTED),
        ("::FFFF:c000:201", LISTED),
    ],
)
def test_an_address_spelled_otherwise_gets_what_its_canonical_form_gets(
    path: Path, spelled: str, canonical: str
) -> None:
    """It is the same client, and its neighbour is another."""
    asked: list[ClientAddress] = []

    def permits(client: ClientAddress) -> bool:
        asked.append(client)
        return client == canonical

    async def scene() -> None:
        async with serving(path, permits), connected(path) as client:
            assert await ask(client, request(canonical)) == OK
            assert await ask(client, request(spelled)) == OK
            assert await ask(client, request("2001:DB8::2")) == DUNNO
            assert asked == [canonical, canonical, "2001:db8::2"]

    play(scene)


def test_whether_a_client_may_relay_is_asked_at_each_question(path: Path) -> None:
    """A window that ends between two questions of one connection has ended."""
    listed: set[ClientAddress] = set()

    async def scene() -> None:
        async with serving(path, listed.__contains__), connected(path) as client:
            assert await ask(client, request(LISTED)) == DUNNO
            listed.add(ClientAddress(LISTED))
            assert await ask(client, request(LISTED)) == OK
            listed.clear()
            assert await ask(client, request(LISTED)) == DUNNO

    play(scene)


LINES = st.one_of(
    st.binary(min_size=1, max_size=40).filter(lambda line: b"\n" not in line),
    st.sampled_from(["", LISTED, "2001:db8::1", "REJECT", "mx1"]).map("client_address={}".format).map(str.encode),
    st.binary(max_size=20).map(lambda value: b"client_address=" + value.replace(b"\n", b"")),
)


@given(st.lists(LINES, max_size=5))
def test_no_question_is_answered_with_anything_but_ok_and_dunno(lines: list[bytes]) -> None:
    """Never REJECT: no fault of ours can lose mail."""
    assert answers(HEAD + b"".join(line + b"\n" for line in lines) + b"\n") in (OK, DUNNO)


@given(st.binary(max_size=60) | st.lists(LINES, max_size=3).map(b"\n\n".join).map(HEAD.__add__))
def test_no_bytes_make_it_fail(data: bytes) -> None:
    """They are answered, waited for, or end the connection; nothing else may happen to the others."""
    try:
        said = answers(data)
    except ValueError:
        return
    assert said.replace(OK, b"").replace(DUNNO, b"") == b""


# Requests


def test_a_question_may_be_split_at_every_byte(path: Path) -> None:
    """What the kernel makes of a write is not ours to choose: there is one answer, and only behind the empty line."""
    asked = request(LISTED)

    async def scene() -> None:
        async with serving(path) as lookup, connected(path) as client, connected(path) as other:
            for cut in range(1, len(asked)):
                await client.send(asked[:cut])
                before = lookup.report().questions
                assert await ask(other, request(UNLISTED)) == DUNNO  # shows that our first piece was read
                assert lookup.report().questions == before + 1
                assert await ask(client, asked[cut:]) == OK
                assert lookup.report().questions == before + 2

    play(scene)


def test_several_questions_on_one_connection_are_answered_in_their_order(path: Path) -> None:
    """Postfix keeps its connection; and also where many come in one write, the last one half."""
    asked = (request(LISTED) + request(UNLISTED) + request("unknown")) * 200 + request(LISTED)
    expected = (OK + DUNNO + DUNNO) * 200

    async def scene() -> None:
        async with serving(path) as lookup, connected(path) as client:
            for _ in range(3):
                assert await ask(client, request(LISTED)) == OK
                assert await ask(client, request(UNLISTED)) == DUNNO
            sending = asyncio.create_task(client.send(asked[:-1]))
            assert await client.receive(len(expected)) == expected
            await sending
            assert await ask(client, asked[-1:]) == OK
            assert lookup.report().connections == 1

    play(scene)


@pytest.mark.parametrize(
    "wrong",
    [
        *(b"\n\n", b"\n" + request(LISTED), b"x\n\n", b"\0\n\n", b"GET / HTTP/1.0\n\n", b"19:clients 192.0.2.1,\n\n"),
        *(b"client_address=192.0.2.1\n\n", b"client_address=192.0.2.1\nrequest=smtpd_access_policy\n\n"),
        *(b"request=\nclient_address=192.0.2.1\n\n", b"request=smtpd_access_policy2\nclient_address=192.0.2.1\n\n"),
        *(b"Request=smtpd_access_policy\nclient_address=192.0.2.1\n\n", b" " + request(LISTED)),
        *(b"request=smtpd_access_policy\r\nclient_address=192.0.2.1\r\n\n\n", b"request=junk_policy\n\n"),
    ],
)
def test_what_is_no_policy_request_ends_the_connection_and_no_other(path: Path, wrong: bytes) -> None:
    """Whoever speaks another protocol here is not answered."""

    async def scene() -> None:
        async with serving(path, permits_all), connected(path) as client, connected(path) as other:
            await client.send(wrong)
            assert await client.is_hung_up_on()
            assert await ask(other, request(LISTED)) == OK

    play(scene)


def test_a_question_of_the_greatest_length_is_answered(path: Path) -> None:
    """Also where it comes in pieces."""
    room = LONGEST - len(request(LISTED, more=b"x=\n"))
    asked = request(LISTED, more=b"x=" + b"y" * room + b"\n")
    assert len(asked) == LONGEST

    async def scene() -> None:
        async with serving(path), connected(path) as client:
            assert await ask(client, asked) == OK
            await client.send(asked[:-1])
            await asyncio.sleep(0.01)
            assert await ask(client, asked[-1:]) == OK

    play(scene)


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "without its end"])
def test_a_question_that_is_too_long_ends_the_connection_and_no_other(path: Path, whole: bool) -> None:
    """Nothing longer is waited for, so that it cannot fill the memory."""
    asked = request(LISTED, more=b"x=" + b"y" * LONGEST + b"\n")

    async def scene() -> None:
        async with serving(path), connected(path) as client, connected(path) as other:
            await client.send(asked if whole else asked[: LONGEST + 1])
            assert await client.is_hung_up_on()
            assert await ask(other, request(LISTED)) == OK

    play(scene)
