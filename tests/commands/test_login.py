"""The command that a server runs behind each login: it tells, says nothing, and never stands in the way."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from popbeforesmtp import cli
from tests.site import ROOT

Run = Callable[..., subprocess.CompletedProcess[bytes]]


class Listener:
    """What the daemon is to this command: a socket."""

    def __init__(self, path: Path) -> None:
        self.lines: list[bytes] = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> list[bytes]:
        """Stop; return all that was told."""
        if self._socket.fileno() >= 0:
            self._socket.shutdown(socket.SHUT_RDWR)  # accept() returns
            self._thread.join(timeout=10)
            self._socket.close()
        return self.lines

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as told:
                self.lines.append(told.readline())
                connection.sendall(b"ok\n")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the daemon would listen."""
    return tmp_path / "login"


@pytest.fixture
def listener(path: Path) -> Iterator[Listener]:
    """Listen there."""
    made = Listener(path)
    yield made
    made.close()


@pytest.fixture
def run(path: Path, tmp_path: Path) -> Run:
    """Run the command as Dovecot's script-login does: with its environment, and no other."""

    def run(
        *arguments: str | bytes, user: str | bytes = "alice", address: str = "192.0.2.10", service: str = "imap"
    ) -> subprocess.CompletedProcess[bytes]:
        program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from popbeforesmtp.cli import main; sys.exit(main())"
        own: list[str | bytes | Path] = ["login", "--service", service, "--socket", path]
        return subprocess.run(
            [sys.executable, "-I", "-c", program, *own, *arguments],
            env={
                "IP": address,
                "LOCAL_IP": "198.51.100.1",
                "USER": user,
                "HOME": str(tmp_path),
                "USERDB_KEYS": "HOME ",
            },
            input=b"",
            capture_output=True,
            timeout=60,
            check=False,
        )

    return run


def quiet(done: subprocess.CompletedProcess[bytes]) -> bool:
    """Say whether it said nothing and did not fail."""
    return (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("service", ["imap", "pop3"])
def test_it_tells_what_the_environment_says(listener: Listener, run: Run, service: str) -> None:
    """As Dovecot sets it; nothing is written, for standard output is the client."""
    assert quiet(run(service=service))
    assert listener.close() == [f"service={service} address=192.0.2.10 user=alice\n".encode()]


def test_options_go_before_the_environment(listener: Listener, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For servers that set another one."""
    monkeypatch.setenv("IP", "192.0.2.10")
    monkeypatch.setenv("USER", "alice")
    assert cli.main(["login", "--socket", str(path), "--address", "2001:db8::1", "--account", "bob"]) == 0
    assert listener.close() == [b"service=imap address=2001:db8::1 user=bob\n"]


def test_a_name_in_another_character_set_is_told_as_it_is(listener: Listener, run: Run) -> None:
    """Bytes are not ours to judge."""
    assert quiet(run(user=b"m\xfcller \xe2\x82\xac"))
    assert listener.close() == [b"service=imap address=192.0.2.10 user=m\xfcller \xe2\x82\xac\n"]


@pytest.mark.parametrize("name", ["a\nservice=imap address=9.9.9.9 user=b", "\n", "alice\n"])
def test_a_newline_in_a_name_is_not_sent(listener: Listener, run: Run, name: str) -> None:
    """What is behind it would be another login; the session goes on."""
    assert run("--", "/bin/echo", "on", user=name).stdout == b"on\n"
    assert listener.close() == []


def test_it_tells_first_and_then_runs_the_command_in_its_place(
    listener: Listener, run: Run, path: Path, tmp_path: Path
) -> None:
    """With its environment and the rest of its arguments, options and further `--` too, as the same process."""
    shell = 'echo $$ "$IP $USER $USERDB_KEYS" "$@"; exec sh -c "exit 3"'
    done = run("--", "/bin/sh", "-c", shell, "sh", "--service", "--", "-x y")
    pid, _, said = done.stdout.decode().partition(" ")
    assert int(pid) > 0
    assert said == "192.0.2.10 alice HOME  --service -- -x y\n"
    assert (done.returncode, done.stderr) == (3, b"")
    assert listener.close() == [b"service=imap address=192.0.2.10 user=alice\n"]


def test_the_command_has_what_the_server_left_open(listener: Listener, path: Path) -> None:
    """script-login hands the client over through descriptor 3."""
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "popbeforesmtp",
        "login",
        "--socket",
        path,
        "--address",
        "192.0.2.10",
    ]
    script = f"import os; os.write({writing}, b'here')"
    subprocess.run(
        [*command, "--account", "alice", "--", sys.executable, "-c", script],
        pass_fds=[writing], cwd=ROOT, timeout=60, check=True,
    )  # fmt: skip
    os.close(writing)
    assert os.read(reading, 16) == b"here"
    os.close(reading)


def test_the_command_runs_without_a_separator_too(run: Run, listener: Listener) -> None:
    """Whichever way the server's administrator wrote it."""
    assert run("/bin/echo", "on").stdout == b"on\n"


@pytest.mark.parametrize("there", ["nothing", "a file", "a dead socket", "a folder"])
def test_without_a_daemon_it_says_nothing_and_goes_on(run: Run, path: Path, there: str) -> None:
    """A login must not depend on us."""
    if there == "a file":
        path.touch()
    elif there == "a folder":
        path.mkdir()
    elif there == "a dead socket":
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
    assert quiet(run())
    assert run("--", "/bin/echo", "on").stdout == b"on\n"


def test_a_path_that_is_too_long_for_a_socket_is_no_failure(tmp_path: Path) -> None:
    """Nor any other that cannot be."""
    assert cli.main(["login", "--socket", str(tmp_path / ("x" * 200)), "--account", "a", "--address", "192.0.2.1"]) == 0


@pytest.mark.parametrize("full", [False, True], ids=["accepted late", "backlog full"])
def test_a_daemon_that_does_not_answer_is_not_waited_for_long(run: Run, path: Path, full: bool) -> None:
    """It is connected to by the kernel, and then nothing comes; or not even that."""
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(str(path))
        hanging.listen(0)
        with socket.socket(socket.AF_UNIX) as other:
            if full:
                other.connect(str(path))
            assert run("--", "/bin/echo", "on").stdout == b"on\n"


def test_a_daemon_that_hangs_up_is_no_failure(run: Run, path: Path) -> None:
    """As one does that does not believe us."""
    with socket.socket(socket.AF_UNIX) as rude:
        rude.bind(str(path))
        rude.listen()

        def hang_up() -> None:
            for _ in range(2):
                rude.accept()[0].close()

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        assert quiet(run())
        assert run("--", "/bin/echo", "on").stdout == b"on\n"
        thread.join(timeout=10)


@pytest.mark.parametrize("user", ["", "x" * 5000])
def test_a_strange_environment_is_no_failure(listener: Listener, run: Run, user: str) -> None:
    """Whether it counts is for the daemon to say."""
    assert quiet(run(user=user, address=""))


def test_a_command_that_is_not_there_is_an_error_on_standard_error(run: Run) -> None:
    """In one sentence, which ends up in the server's log and not at its client."""
    done = run("--", "/no/such/program")
    assert (done.returncode, done.stdout) == (os.EX_UNAVAILABLE, b"")
    assert done.stderr.startswith(b"pop-before-smtp: /no/such/program: cannot be run")
    assert done.stderr.count(b"\n") == 1
