"""``type = "socketmap"``: Postfix's and Sendmail's socketmap protocol (socketmap_table(5)).

A question is a netstring holding the map's name, a blank and the key; an answer is a netstring holding ``OK`` and the
result, or ``NOTFOUND``. The key is an address as Postfix writes it, or an IPv6 address as Sendmail does (all groups, in
lower case, behind ``ipv6:``), and is looked up exactly; host names and everything else are not found. Any map name is
answered alike.
"""

from functools import partial

from popbeforesmtp.addresses import ClientAddress, Network, NetworkSet, parse_address, uncompressed
from popbeforesmtp.listening import parse_endpoint
from popbeforesmtp.lookups import REFUSED, Permits
from popbeforesmtp.lookups._server import QuestionServer

_SENDMAIL = "ipv6:"
"""What Sendmail puts before an IPv6 address, in lower case as it asks for all keys."""

_LONGEST_QUESTION = 10_000  # bytes; Postfix's own limit (util/dict_sockmap.c)


def open_lookup(
    *,
    listen: str = "unix:/var/spool/postfix/pop-before-smtp/map",
    group: str = "postfix",
    result: str = "OK",
    restrict: tuple[Network, ...] = (),
) -> QuestionServer:
    """Answer socketmap questions.

    ``listen`` is "unix:" and a path, to whose socket ``group`` may connect, or "inet:host:port". ``result`` is what a
    client that may relay is answered with, an action of access(5). ``restrict`` are networks whose other clients are
    refused.
    """
    endpoint = parse_endpoint(listen)
    return QuestionServer(
        f"socketmap:{endpoint}", endpoint, group, _cut, partial(_answer, result.encode(), NetworkSet(restrict))
    )


def _answer(result: bytes, restrict: NetworkSet, question: bytes, permits: Permits) -> tuple[bytes, bool]:
    _, blank, key = question.partition(b" ")
    client = _client(key) if blank else None
    if client is None:
        return _netstring(b"NOTFOUND "), False  # the blank belongs to it
    if permits(client):
        return _netstring(b"OK " + result), True
    return _netstring(b"OK " + REFUSED if client in restrict else b"NOTFOUND "), False


def _client(key: bytes) -> ClientAddress | None:
    """Return the address that a key is; None where it is not the one way in which a mail server writes it."""
    text = key.decode("ascii", "replace")
    client = parse_address(text.removeprefix(_SENDMAIL))
    if client is None or text not in (client, f"{_SENDMAIL}{uncompressed(client)}"):
        return None
    return client if text == client or ":" in client else None  # IPv4 has nothing put before it


def _cut(buffer: bytearray) -> bytes | None:
    """Take one netstring off the front."""
    colon = buffer.find(b":", 0, 6)
    digits = bytes(buffer[: colon if colon >= 0 else 6])
    if not digits.isdigit() or (digits[:1] == b"0" and len(digits) > 1):
        raise ValueError("no netstring")
    if colon < 0:
        if len(digits) == 6:
            raise ValueError("no netstring")
        return None
    length = int(digits)
    if length > _LONGEST_QUESTION:
        raise ValueError("too long")
    end = colon + 1 + length
    if len(buffer) <= end:
        return None
    if buffer[end] != ord(","):
        raise ValueError("no netstring")
    question = bytes(buffer[colon + 1 : end])
    del buffer[: end + 1]
    return question


def _netstring(data: bytes) -> bytes:
    return b"%d:%s," % (len(data), data)
