"""The tools, once for all of these tests; and the daemon with a recipe."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.lab import CONTRIB, Clients
from tests.end_to_end.recipes.scene import LAYERS, PACKAGES, PROGRAMS, UNPACKED, Following, lay_over, run


@pytest.fixture(scope="package", autouse=True)
def tools() -> Iterator[None]:
    """Have all tools on this machine, and the programs of contrib where the recipes say that they are."""
    folders = [Path("/usr"), Path("/etc"), Path("/var/lib"), Path("/var/spool")]
    LAYERS.mkdir()
    for folder in folders:
        lay_over(folder, [UNPACKED / name / folder.relative_to("/") for name in PACKAGES])
    PROGRAMS.mkdir(parents=True)
    for program in ("command/write-list", "opensmtpd/update-table", "qmail/tcp-rules", "courier/smtpaccess"):
        shutil.copy(CONTRIB / program, PROGRAMS)
    for number, user in enumerate(("opensmtpd", "opensmtpq", "courier"), 990):  # what postinst scripts would make
        with Path("/etc/passwd").open("a") as passwd, Path("/etc/group").open("a") as group:
            passwd.write(f"{user}:x:{number}:{number}::/var/lib/opensmtpd/empty:/usr/sbin/nologin\n")
            group.write(f"{user}:x:{number}:\n")
    shutil.chown("/usr/sbin/smtpctl", group="opensmtpq")
    Path("/usr/sbin/smtpctl").chmod(0o2755)
    Path("/usr/bin/makedat").symlink_to("makedat.courier")
    yield
    for folder in reversed(folders):
        run("umount", "--recursive", "--lazy", folder)


@pytest.fixture(scope="package")
def clients() -> Clients:
    """Be another host."""
    return Clients()


@pytest.fixture(autouse=True)
def hang_up(clients: Clients) -> Iterator[None]:
    """Leave no session open."""
    yield
    while clients.sessions:
        clients.sessions.pop().close()


@pytest.fixture
def spawn() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start servers; the test's end stops them."""
    processes: list[subprocess.Popen[bytes]] = []

    def spawn(*command: str | Path, **settings: object) -> subprocess.Popen[bytes]:
        processes.append(subprocess.Popen(list(command), **settings))  # type: ignore[call-overload]
        return processes[-1]

    yield spawn
    for process in processes:
        process.terminate()
        process.wait(timeout=15)


@pytest.fixture
def follow(tmp_path: Path) -> Iterator[Callable[[str], Following]]:
    """Start the daemon with a recipe; the test's end stops it."""
    daemons: list[Following] = []

    def follow(recipe: str) -> Following:
        daemons.append(Following(tmp_path, CONTRIB / recipe))
        return daemons[-1]

    yield follow
    for daemon in daemons:
        if daemon.process.poll() is None:
            daemon.stop()
        assert "Traceback" not in daemon.said()
        assert "trying again" not in daemon.said()
