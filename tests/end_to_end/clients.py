"""Clients on the other host of the small network that ``enter`` makes: they log in, wait for mail, and send some."""

import ctypes
import imaplib
import os
import poplib
import smtplib
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from tests.end_to_end.configurations import SOCKETMAP_PORT

Result = TypeVar("Result")
SERVER4, SERVER6 = "198.51.100.1", "2001:db8:ffff::1"
OUTSIDE, OWN = "somebody@elsewhere.example", "user@lab.example"
_CLONE_NEWNET = 0x40000000  # setns(2)


def answers(host: str, port: int) -> bool:
    """Say whether a server greets there."""
    try:
        with socket.create_connection((host, port), timeout=1) as connection:
            return bool(connection.recv(1))
    except OSError:
        return False


@dataclass
class Answer:
    """What a mail server said to one command."""

    code: int
    text: str

    @property
    def accepted(self) -> bool:
        """Whether the recipient was taken."""
        return self.code == 250


class _Imap(imaplib.IMAP4):
    """An IMAP client that binds its address."""

    def __init__(self, client: str) -> None:
        self._client = client
        super().__init__(server_for(client), timeout=10)

    def _create_socket(self, timeout: float | None) -> socket.socket:
        return socket.create_connection((self.host, self.port), timeout, source_address=(self._client, 0))


class IdleSession:
    """An IMAP session that waits for new mail (IDLE, RFC 2177), as phones keep open for hours."""

    def __init__(self, client: str, user: str, password: str) -> None:
        self._imap = _Imap(client)
        self._imap.login(f'"{user}"', password)  # imaplib quotes the password alone
        self._imap.select()
        self._imap.send(b"idle IDLE\r\n")
        while not (line := self._imap.readline()).startswith(b"+"):
            assert line, "Dovecot does not let us wait"

    def logout(self) -> None:
        """Stop waiting, and log out."""
        self._imap.send(b"DONE\r\n")
        while not self._imap.readline().startswith(b"idle "):
            pass
        self._imap.logout()

    def close(self) -> None:
        """Go without a word; of a session that was logged out nothing is left."""
        with suppress(OSError):
            self._imap.shutdown()


class Clients:
    """The other host: its addresses log in and send mail."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, initializer=self._enter)
        self.sessions: list[smtplib.SMTP | IdleSession] = []

    @staticmethod
    def _enter() -> None:
        """Move this thread, and only this thread, to the other host."""
        descriptor = os.open("/run/netns/clients", os.O_RDONLY)
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        os.close(descriptor)

    def __call__(self, function: Callable[[], Result]) -> Result:
        """Run something on the other host."""
        return self._thread.submit(function).result(timeout=60)

    def pop3_login(
        self,
        client: str,
        user: str = "alice",
        password: str = "secret",
        *,
        port: int = 110,
    ) -> bool:
        """Log in to POP3 and out again; say whether it worked."""

        def login() -> bool:
            with socket.create_connection((server_for(client), port), timeout=10, source_address=(client, 0)) as raw:
                pop = poplib.POP3.__new__(poplib.POP3)
                pop.sock, pop.file, pop._debugging = raw, raw.makefile("rb"), 0  # type: ignore[attr-defined]
                pop._getresp()  # type: ignore[attr-defined]
                try:
                    pop.user(user)
                    pop.pass_(password)
                except poplib.error_proto:
                    return False
                pop.quit()
                return True

        return self(login)

    def imap_login(self, client: str, user: str = "alice", password: str = "secret") -> bool:
        """Log in to IMAP and out again; say whether it worked."""

        def login() -> bool:
            imap = _Imap(client)
            try:
                imap.login(user, password)
            except imaplib.IMAP4.error:
                return False
            finally:
                imap.logout()
            return True

        return self(login)

    def idle(self, client: str, user: str = "alice", password: str = "secret") -> IdleSession:
        """Log in to IMAP and stay, waiting for mail; the test's end closes the session."""
        session = self(lambda: IdleSession(client, user, password))
        self.sessions.append(session)
        return session

    def smtp(self, client: str, port: int = SOCKETMAP_PORT) -> smtplib.SMTP:
        """Begin an SMTP session; the test's end closes it."""

        def begin() -> smtplib.SMTP:
            smtp = smtplib.SMTP(
                server_for(client), port, local_hostname="client.example", timeout=30, source_address=(client, 0)
            )
            smtp.ehlo()
            return smtp

        session = self(begin)
        self.sessions.append(session)
        return session

    def rcpt(self, client: str, port: int = SOCKETMAP_PORT, to: str = OUTSIDE) -> Answer:
        """Ask in a new session whether mail to somebody is taken; no mail is sent."""
        smtp = self.smtp(client, port)
        try:
            return rcpt(smtp, to)
        finally:
            smtp.close()
            self.sessions.remove(smtp)


def server_for(client: str) -> str:
    """Return the server's address of the client's kind."""
    return SERVER6 if ":" in client else SERVER4


def rcpt(smtp: smtplib.SMTP, to: str = OUTSIDE) -> Answer:
    """Ask in an open session whether mail to somebody is taken, then take it back."""
    smtp.mail("sender@client.example")
    code, text = smtp.rcpt(to)
    smtp.rset()
    return Answer(code, text.decode(errors="replace"))
