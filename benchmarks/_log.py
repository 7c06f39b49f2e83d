#!/usr/bin/env python3
"""Writes the log that the benchmarks read: ``_log.py LINES OUT``. The same number of lines gives the same bytes.

Postfix, its filters and Dovecot at 50 lines a second; one line of eighteen is a login, which is many. 20,000 clients,
some far busier than others (Zipf), one of five IPv6. In a few lines of Postfix stands the text of a login.
"""

import itertools
import random
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

CLIENTS = 20_000
START = datetime(2026, 3, 2, tzinfo=UTC)
RATE = 50  # lines a second
_SESSION = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_HERE, _ELSEWHERE = "192.0.2.25", "mail{0}.d{1:03}.example.org[198.51.100.{2}]"


class Generator:
    """Makes the lines of one thing after the other that happens on a mail server."""

    def __init__(self) -> None:
        self._random = random.Random(1)
        self._clients = [self._address() for _ in range(CLIENTS)]
        self._weights = list(itertools.accumulate(1 / rank for rank in range(1, CLIENTS + 1)))

    def lines(self) -> Iterator[bytes]:
        """Give lines without end."""
        happenings: list[tuple[Callable[[], list[str]], int]] = [
            (self._delivery, 44),
            (self._submission, 9),
            (self._rejection, 45),
            (self._session, 48),
            (self._failure, 11),
            (self._probe, 6),
            (self._decoy, 1),
        ]
        kinds, weights = zip(*happenings, strict=True)
        time = START
        while True:
            for kind in self._random.choices(kinds, weights, k=1000):
                for line in kind():
                    time += timedelta(microseconds=self._number(2_000_000 // RATE))
                    yield f"{time.isoformat(timespec='microseconds')} mx1 {line}\n".encode()

    def _number(self, most: int) -> int:
        return 1 + int(self._random.random() * most)

    def _address(self) -> str:
        if self._random.random() < 0.2:
            return f"2001:db8:{self._number(65534):x}:{self._number(65534):x}::{self._number(65534):x}"
        return f"10.{self._number(254)}.{self._number(254)}.{self._number(254)}"

    def _client(self) -> tuple[str, str]:
        """Choose who is busy now: an address and its user."""
        (number,) = self._random.choices(range(CLIENTS), cum_weights=self._weights)
        return self._clients[number], f"user{number}@d{number % 200:03}.example.org"

    def _queue_id(self) -> str:
        return f"4{self._number(1 << 50):X}z"

    def _session_id(self) -> str:
        return "".join(self._random.choices(_SESSION, k=20))

    def _delivery(self) -> list[str]:
        queue_id, (_, user), pid = self._queue_id(), self._client(), self._number(60_000)
        host = _ELSEWHERE.format(pid % 5000, pid % 200, pid % 250)
        return [
            f"postfix/smtpd[{pid}]: connect from {host}",
            f"postfix/smtpd[{pid}]: {queue_id}: client={host}",
            f"postfix/cleanup[{pid + 1}]: {queue_id}: message-id=<{queue_id}.{pid}@d{pid % 200:03}.example.org>",
            f"opendkim[811]: {queue_id}: {host} not internal",
            f"opendkim[811]: {queue_id}: DKIM verification successful",
            f"postfix/qmgr[1203]: {queue_id}: from=<x{pid}@example.net>, size={pid}, nrcpt=1 (queue active)",
            f"dovecot: lmtp({pid + 2}): Connect from local",
            f"dovecot: lmtp({user})<{pid + 2}><{self._session_id()}>: msgid=<{queue_id}>: saved mail to INBOX",
            f"postfix/lmtp[{pid + 3}]: {queue_id}: to=<{user}>, relay=mx1.example.org[private/dovecot-lmtp],"
            f" delay=0.3, delays=0.1/0.01/0.02/0.17, dsn=2.0.0, status=sent (250 2.0.0 <{user}> Saved)",
            f"dovecot: lmtp({pid + 2}): Disconnect from local: Client has quit the connection (state=READY)",
            f"postfix/qmgr[1203]: {queue_id}: removed",
            f"postfix/smtpd[{pid}]: disconnect from {host} ehlo=2 starttls=1 mail=1 rcpt=1 data=1 quit=1 commands=7",
        ]

    def _submission(self) -> list[str]:
        queue_id, (client, user), pid = self._queue_id(), self._client(), self._number(60_000)
        return [
            f"postfix/submission/smtpd[{pid}]: connect from unknown[{client}]",
            f"postfix/submission/smtpd[{pid}]: Anonymous TLS connection established from unknown[{client}]: TLSv1.3"
            " with cipher TLS_AES_256_GCM_SHA384 (256/256 bits) key-exchange X25519 server-signature RSA-PSS",
            f"postfix/submission/smtpd[{pid}]: {queue_id}: client=unknown[{client}], sasl_method=PLAIN,"
            f" sasl_username={user}",
            f"postfix/cleanup[{pid + 1}]: {queue_id}: message-id=<{queue_id}@example.org>",
            f"postfix/qmgr[1203]: {queue_id}: from=<{user}>, size={pid}, nrcpt=1 (queue active)",
            f"postfix/smtp[{pid + 2}]: {queue_id}: to=<x{pid}@remote.example.net>, relay=mx.example[203.0.113.7]:25,"
            " delay=1.4, delays=0.2/0/0.4/0.8, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued)",
            f"postfix/qmgr[1203]: {queue_id}: removed",
        ]

    def _rejection(self) -> list[str]:
        client, pid = f"203.0.113.{self._number(250)}", self._number(60_000)
        return [
            f"postfix/smtpd[{pid}]: connect from unknown[{client}]",
            f"postfix/smtpd[{pid}]: NOQUEUE: reject: RCPT from unknown[{client}]: 554 5.7.1 Service unavailable;"
            f" Client host [{client}] blocked; from=<spam{pid}@bad.example> to=<user{pid}@example.org>",
            f"postfix/smtpd[{pid}]: disconnect from unknown[{client}] ehlo=1 mail=1 rcpt=0/1 quit=1 commands=3/4",
        ]

    def _session(self) -> list[str]:
        (client, user), pid, session = self._client(), self._number(60_000), self._session_id()
        service = "pop3" if self._random.random() < 0.3 else "imap"
        return [
            f"dovecot: {service}-login: Login: user=<{user}>, method=PLAIN, rip={client}, lip={_HERE}, mpid={pid}, TLS,"
            f" session=<{session}>",
            f"dovecot: {service}({user})<{pid}><{session}>: Disconnected: Logged out in=142 out={pid}",
        ]

    def _failure(self) -> list[str]:
        (client, user), pid = self._client(), self._number(20)
        return [
            f"dovecot: auth: passwd-file({user},{client}): Password mismatch",
            f"dovecot: imap-login: Disconnected (auth failed, 1 attempts in {pid} secs): user=<{user}>, method=PLAIN,"
            f" rip={client}, lip={_HERE}, TLS, session=<{self._session_id()}>",
        ]

    def _probe(self) -> list[str]:
        return [
            f"dovecot: pop3-login: Disconnected: Connection closed (no auth attempts in {self._number(20)} secs):"
            f" user=<>, rip={self._client()[0]}, lip={_HERE}, session=<{self._session_id()}>"
        ]

    def _decoy(self) -> list[str]:
        return [
            f"postfix/cleanup[{self._number(60_000)}]: {self._queue_id()}: warning: header Subject: dovecot:"
            f" imap-login: Login: user=<x>, method=PLAIN, rip=203.0.113.66, lip={_HERE}, mpid=7, TLS from local"
        ]


def main() -> None:
    """Write it."""
    count, out = int(sys.argv[1]), Path(sys.argv[2])
    with out.open("wb") as file:
        file.writelines(itertools.islice(Generator().lines(), count))


if __name__ == "__main__":
    main()
