"""A Debian machine in a folder, whose every change is gone afterwards: what the package is installed on.

It has the lab's network, clock, processes and mail log, and nothing else of it. Its first process is not systemd, so
services begin by their init scripts.
"""

import os
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CACHE = Path("/var/cache/pop-before-smtp-tests")
CLEAN, TOOLS, BUILT = CACHE / "bookworm", CACHE / "bookworm-tools", CACHE / "deb"
"""What `make-package` makes: a minimal Debian 12, another one with systemd, and the package with all that it needs."""

_OF_THE_KERNEL = ("proc", "sys", "dev", "run", "mnt", "tmp")


class Machine:
    """One machine."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command on it, and return what it prints."""
        done = subprocess.run(
            ["chroot", self.root, *command],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
        )
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def status(self, *command: str) -> int:
        """Run a command on it, and return its exit status."""
        return subprocess.run(["chroot", self.root, *command], capture_output=True, timeout=60, check=False).returncode

    def install(self, *packages: str) -> str:
        """Install packages, from the archive that was fetched before: there is no network."""
        options = ["-qq", "-y", "--no-install-recommends", "-o", "Dir::Cache::archives=/mnt/archives"]
        return self.run("apt-get", "install", *options, *packages)

    def path(self, name: str) -> Path:
        """Return where a file of its lies for us."""
        return self.root / name.lstrip("/")

    def place(self, name: str) -> tuple[str, str, str]:
        """Return a file's owner, group and mode, by the machine's own names."""
        owner, group, mode = self.run("stat", "-c", "%U %G %a", name).split()
        return owner, group, mode.rjust(4, "0")

    def files(self) -> dict[str, str]:
        """Return what there is, with kind, owner and mode; not what was mounted."""
        found = {}
        for folder, folders, names in os.walk(self.root):
            if folder == str(self.root):
                folders[:] = [name for name in folders if name not in _OF_THE_KERNEL]
            for name in (*folders, *names):
                path = Path(folder, name)
                status = path.lstat()
                kind = f"{stat.filemode(status.st_mode)} {status.st_uid}:{status.st_gid}"
                found["/" + str(path.relative_to(self.root))] = kind
        return found

    def accounts(self) -> dict[str, list[str]]:
        """Return its users and groups."""
        return {
            name: sorted(self.path(f"/etc/{name}").read_text().splitlines())
            for name in ("passwd", "group", "shadow", "gshadow")
        }


@contextmanager
def machine(folder: Path, *lower: Path) -> Iterator[Machine]:
    """Give a machine over others that stay as they are, the topmost first; ``upper`` in its folder keeps changes."""
    for name in ("upper", "work", "root"):
        (folder / name).mkdir(parents=True)
    root = folder / "root"
    layers = f"lowerdir={':'.join(map(str, lower))},upperdir={folder / 'upper'},workdir={folder / 'work'}"
    mounts = [["-t", "overlay", "-o", layers, "overlay", str(root)], ["-t", "proc", "proc", str(root / "proc")]]
    mounts += [["--rbind", "/dev", str(root / "dev")], ["-t", "tmpfs", "-o", "mode=0755", "tmpfs", str(root / "run")]]
    mounts += [["--bind", str(BUILT), str(root / "mnt")]]
    try:
        for mount in mounts:
            subprocess.run(["mount", *mount], check=True)
        (root / "run/lock").mkdir()
        yield Machine(root)
    finally:
        _end_processes(root)
        subprocess.run(["umount", "--recursive", "--lazy", root], check=True)


def _end_processes(root: Path) -> None:
    """Kill what still runs on it: process ids are our own, see ``enter``."""
    for _ in range(100):
        left = [path for path in Path("/proc").glob("[0-9]*") if _root_of(path) == str(root)]
        if not left:
            return
        for path in left:
            os.kill(int(path.name), 9)
        time.sleep(0.05)


def _root_of(process: Path) -> str:
    try:
        return str((process / "root").readlink())
    except OSError:
        return ""
