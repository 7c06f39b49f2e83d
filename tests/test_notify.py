"""systemd, played by a datagram socket: told when the daemon is ready and that it lives, and left to kill it if not."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest

from tests.site import CLIENT, OTHER, Held, Site, in_map, map_section, permitted, state, wait_for

_HANG = """
import pathlib
from popbeforesmtp.windows import Windows
usual = Windows.expire
def expire(windows):
    if pathlib.Path("hang").exists():
        pathlib.Path("hang").read_bytes()  # a FIFO that nobody writes to
    usual(windows)
Windows.expire = expire
"""


class Systemd:
    """The service manager's end of NOTIFY_SOCKET."""

    def __init__(self, site: Site, address: str = "") -> None:
        self._site = site
        self.address = address or str(site.folder / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.address.replace("@", "\0"))
        self.said: list[tuple[float, str]] = []
        self.answered: list[bool | None] = []  # what the socketmap said at each READY=1
        self._thread: threading.Thread | None = None

    def listen(self) -> "Systemd":
        """Begin to take what is said."""
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()
        return self

    def start(self, usec: int | None = None, program: str = "") -> subprocess.Popen[bytes]:
        """Start the service, with a watchdog where ``usec`` says how long its silence may last."""
        watchdog = {} if usec is None else {"WATCHDOG_USEC": str(usec)}
        return self._site.start(program=program, NOTIFY_SOCKET=self.address, **watchdog)

    def times(self, what: str) -> list[float]:
        """Return when something was said."""
        return [at for at, text in self.said if what in text.splitlines()]

    def ready(self, count: int = 1) -> None:
        """Wait for READY=1."""
        wait_for("READY=1", lambda: len(self.times("READY=1")) >= count)

    def status(self) -> str:
        """Return the last status text."""
        texts = [text for _, text in self.said if text.startswith("STATUS=")]
        return texts[-1].strip() if texts else ""

    def miss(self, usec: int) -> None:
        """Wait until the service has said nothing for so long that systemd would kill it."""
        wait_for(
            "the watchdog misses the daemon", lambda: time.monotonic() - self.times("WATCHDOG=1")[-1] > usec / 1_000_000
        )

    def close(self) -> None:
        """End."""
        if self._thread is not None:
            self.socket.shutdown(socket.SHUT_RDWR)
            self._thread.join(10)
        self.socket.close()

    def _listen(self) -> None:
        while text := self.socket.recv(4096).decode():
            if "READY=1" in text.splitlines():
                self.answered.append(permitted(self._site.socketmap, CLIENT))
            self.said.append((time.monotonic(), text))


@pytest.fixture
def systemd(site: Site) -> Iterator[Systemd]:
    """Listen as systemd does."""
    manager = Systemd(site).listen()
    yield manager
    site.close()
    manager.close()


def test_it_is_ready_only_when_the_socketmap_answers(site: Site, systemd: Systemd) -> None:
    """While a map is not yet true nothing is said; at the moment of READY=1 the first question is answered."""
    held = Held(site.folder / "clients")
    site.configure(more=map_section(site.folder / "clients"))
    systemd.start()
    wait_for("the daemon waits for the map", lambda: (state(site) or {}).get("state") == "starting")
    assert systemd.times("READY=1") == []
    held.release()
    systemd.ready()
    assert systemd.answered == [False]
    assert len(systemd.times("READY=1")) == 1


def test_it_is_ready_through_an_abstract_socket_too(site: Site) -> None:
    """An address that begins with an at sign is no path."""
    manager = Systemd(site, f"@pop-before-smtp-test-{os.getpid()}").listen()
    manager.start()
    try:
        manager.ready()
    finally:
        site.close()
        manager.close()


@pytest.mark.parametrize(("usec", "longest"), [(4_000_000, 2.0), (1_500_000, 0.75)])
def test_it_says_that_it_lives_and_how_it_goes(site: Site, systemd: Systemd, usec: int, longest: float) -> None:
    """Well within the watchdog's time while there is nothing to do; the text tells how many clients may relay."""
    systemd.start(usec)
    systemd.ready()
    wait_for("a status", lambda: systemd.status() == "STATUS=0 clients may relay")
    site.login(CLIENT)
    site.login(OTHER)
    wait_for("another status", lambda: systemd.status() == "STATUS=2 clients may relay")
    began, until = len(systemd.times("WATCHDOG=1")), time.monotonic() + 1.1 * usec / 1_000_000
    wait_for("time passes", lambda: time.monotonic() > until)
    times = [*systemd.times("WATCHDOG=1")[began - 1 :], time.monotonic()]
    assert len(times) > 2
    assert max(later - earlier for earlier, later in pairwise(times)) < longest


def test_a_status_says_what_is_wrong(site: Site, systemd: Systemd) -> None:
    """A log that is not there is worth a look."""
    site.configure(source=f'"{site.folder}/none.log"')
    systemd.start(3_000_000)
    wait_for("a status", lambda: f"look at: {site.folder}/none.log: waiting for the file" in systemd.status())


@pytest.mark.parametrize("how", ["stopped", "blocked"])
def test_a_daemon_that_hangs_is_missed_and_its_successor_changes_no_window(
    site: Site, systemd: Systemd, how: str
) -> None:
    """Whether the process stands still or its loop waits for something: systemd kills it, and all is as it was."""
    usec = 3_000_000
    clients = site.folder / "clients"
    site.configure(more=map_section(clients))
    process = systemd.start(usec, _HANG)
    systemd.ready()
    site.login(CLIENT)
    wait_for("the login is in the map", lambda: in_map(clients.with_suffix(".lmdb")) == {CLIENT})
    wait_for("the login is stored", lambda: CLIENT in site.windows())
    before = site.windows()
    if how == "stopped":
        process.send_signal(signal.SIGSTOP)
    else:
        os.mkfifo(site.folder / "hang")
    systemd.miss(usec)
    assert process.poll() is None
    process.kill()
    process.wait(timeout=10)
    (site.folder / "hang").unlink(missing_ok=True)
    site.login(OTHER)
    systemd.start(usec, _HANG)
    systemd.ready(2)
    assert systemd.answered == [False, True]
    wait_for("what was logged meanwhile is read", lambda: OTHER in site.windows())
    assert site.windows()[CLIENT] == before[CLIENT]
    wait_for("the map has both", lambda: in_map(clients.with_suffix(".lmdb")) == {CLIENT, OTHER})


def test_a_service_manager_that_is_not_there_hinders_nothing(site: Site) -> None:
    """The socket's name may come from an environment that somebody else made."""
    process = site.start(NOTIFY_SOCKET=str(site.folder / "none"), WATCHDOG_USEC="3000000")
    wait_for("it answers or ends", lambda: permitted(site.socketmap, CLIENT) is not None or process.poll() is not None)
    assert process.poll() is None
    site.login(CLIENT)
    wait_for("a login is granted", lambda: permitted(site.socketmap, CLIENT))


@pytest.mark.parametrize("how", ["gone", "full"])
def test_it_ends_at_sigterm_whatever_became_of_the_service_manager(site: Site, how: str) -> None:
    """A socket that is gone, or that takes no more, is no reason to stay."""
    manager = Systemd(site)
    process = manager.start()
    assert b"READY=1" in manager.socket.recv(4096)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as flood:
        flood.setblocking(False)
        if how == "gone":
            Path(manager.address).unlink()
        else:
            with suppress(BlockingIOError):
                while True:
                    flood.sendto(b"X", manager.address)
        process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(timeout=3) == 0
        finally:
            manager.close()
    assert not site.socketmap.exists()
