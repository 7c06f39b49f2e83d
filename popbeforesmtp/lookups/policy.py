"""``type = "policy"``: Postfix's policy delegation protocol (SMTPD_POLICY_README).

A question is lines of ``name=value`` and an empty line; an answer is ``action=`` and an empty line. A client that may
relay is answered ``OK``, everybody else ``DUNNO``: never REJECT, so that no fault of ours can lose mail, but for the
networks that the administrator restricts. Here, unlike with a socketmap, Postfix can be told what to do when nobody
answers: ``default_action=DUNNO`` only brings back the checks that a roaming client was to be spared.
"""

from functools import partial

from popbeforesmtp.addresses import Network, NetworkSet, parse_address
from popbeforesmtp.listening import parse_endpoint
from popbeforesmtp.lookups import REFUSED, Permits
from popbeforesmtp.lookups._server import QuestionServer

_LONGEST_QUESTION = 65_536  # bytes; Postfix's own attributes are a few thousand


def open_lookup(
    *,
    listen: str = "unix:/var/spool/postfix/pop-before-smtp/policy",
    group: str = "postfix",
    restrict: tuple[Network, ...] = (),
) -> QuestionServer:
    """Answer policy questions.

    ``listen`` is "unix:" and a path, to whose socket ``group`` may connect, or "inet:host:port". ``restrict`` are
    networks whose clients are refused unless they may relay.
    """
    endpoint = parse_endpoint(listen)
    return QuestionServer(f"policy:{endpoint}", endpoint, group, _cut, partial(_answer, NetworkSet(restrict)))


def _answer(restrict: NetworkSet, question: bytes, permits: Permits) -> tuple[bytes, bool]:
    if not question.startswith(b"request=smtpd_access_policy\n"):
        raise ValueError("no policy question")
    addresses = [line.partition(b"=")[2] for line in question.split(b"\n") if line.startswith(b"client_address=")]
    client = parse_address(addresses[0].decode("ascii", "replace")) if len(addresses) == 1 else None
    if client is not None and permits(client):
        return b"action=OK\n\n", True
    refused = client is not None and client in restrict
    return b"action=%b\n\n" % (REFUSED if refused else b"DUNNO"), False


def _cut(buffer: bytearray) -> bytes | None:
    """Take one request off the front."""
    end = buffer.find(b"\n\n")
    if end > _LONGEST_QUESTION or (end < 0 and len(buffer) > _LONGEST_QUESTION):
        raise ValueError("too long")
    if end < 0:
        return None
    question = bytes(buffer[: end + 1])
    del buffer[: end + 2]
    return question
