"""``type = "readsocket"``: questions of Exim's expansion ``${readsocket`` (its specification, chapter 11).

A question is the line ``check`` and an address as Exim has it in $sender_host_address; an answer is the word ``yes``,
``no`` or ``restricted``, without a newline, since Exim 4.96 leaves one in where its configuration wants it taken out.
Exim shuts its side down behind the question and reads until we hang up, which we do when it has. The address is looked
up exactly; whatever is no question is not answered at all, which Exim takes for nothing.
"""

from functools import partial

from popbeforesmtp.addresses import Network, NetworkSet, parse_address
from popbeforesmtp.listening import parse_endpoint
from popbeforesmtp.lookups import Permits
from popbeforesmtp.lookups._server import QuestionServer

_ASKS = b"check "
_LONGEST_QUESTION = 64  # bytes; an address has 45 at most


def open_lookup(
    *,
    listen: str = "unix:/var/lib/pop-before-smtp/exim/ask",
    group: str = "Debian-exim",
    restrict: tuple[Network, ...] = (),
) -> QuestionServer:
    """Answer Exim's questions.

    ``listen`` is "unix:" and a path, to whose socket ``group`` may connect, or "inet:host:port". Clients in
    ``restrict`` that may not relay are answered with a word of their own.
    """
    endpoint = parse_endpoint(listen)
    return QuestionServer(f"readsocket:{endpoint}", endpoint, group, _cut, partial(_answer, NetworkSet(restrict)))


def _answer(restrict: NetworkSet, question: bytes, permits: Permits) -> tuple[bytes, bool]:
    if not question.startswith(_ASKS):
        raise ValueError("no question")
    key = question.removeprefix(_ASKS)
    client = parse_address(key.decode("ascii", "replace"))
    if client is None or client.encode() != key:
        return b"no", False
    if permits(client):
        return b"yes", True
    return b"restricted" if client in restrict else b"no", False


def _cut(buffer: bytearray) -> bytes | None:
    """Take one line off the front."""
    end = buffer.find(b"\n", 0, _LONGEST_QUESTION)
    if end < 0:
        if len(buffer) >= _LONGEST_QUESTION:
            raise ValueError("too long")
        return None
    question = bytes(buffer[:end])
    del buffer[: end + 1]
    return question
