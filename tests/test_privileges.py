"""Less is better: becoming another user for good, and trusting no place that strangers may change."""

import grp
import json
import os
import pwd
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from popbeforesmtp import privileges
from popbeforesmtp.errors import NotPermittedError, PopBeforeSmtpError, UnavailableError

NOBODY = pwd.getpwnam("nobody")

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")


def in_child(work: Callable[[], object]) -> object:
    """Do something in a process of its own, and return what came of it: a value, or an error's type and sentence."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = json.dumps({"value": work()})
        except PopBeforeSmtpError as error:
            said = json.dumps({"value": [type(error).__name__, error.exit_status, str(error)]})
        except BaseException as error:  # noqa: BLE001 - the parent fails with it
            said = json.dumps({"failed": repr(error)})
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        answer = json.loads(pipe.read())
    os.waitpid(child, 0)
    assert "failed" not in answer, answer
    return answer["value"]


def member() -> str:
    """Return a user that is in more groups than its own, as pop-before-smtp is in adm."""
    for group in grp.getgrall():
        for name in group.gr_mem:
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            if entry.pw_uid != 0 and entry.pw_gid != group.gr_gid:
                return name
    pytest.skip("nobody on this machine is in a second group")


@needs_root
def test_all_ids_and_all_groups_are_the_users() -> None:
    """Real, effective and saved; and the groups that let it read logs come with it, those of before do not stay."""
    user = member()
    entry = pwd.getpwnam(user)

    def become() -> object:
        os.setgroups([0, 12345])
        privileges.become(user)
        return [os.getresuid(), os.getresgid(), sorted(os.getgroups())]

    groups = sorted(os.getgrouplist(user, entry.pw_gid))
    assert len(groups) > 1
    assert in_child(become) == [[entry.pw_uid] * 3, [entry.pw_gid] * 3, groups]


@needs_root
def test_there_is_no_way_back_to_root() -> None:
    """Neither the user, nor the group, nor the groups; and no capability is left."""

    def become() -> object:
        privileges.become("nobody")
        allowed = []
        attempts: list[Callable[[], None]] = [
            lambda: os.setuid(0),
            lambda: os.seteuid(0),
            lambda: os.setresuid(0, 0, 0),
            lambda: os.setgid(0),
            lambda: os.setgroups([0]),
            lambda: os.chown("/", 0, 0),
        ]
        for number, attempt in enumerate(attempts):
            try:
                attempt()
            except PermissionError:
                continue
            allowed.append(number)
        status = Path("/proc/self/status").read_text().splitlines()
        return [allowed, [line.split()[1] for line in status if line.startswith(("CapEff", "CapPrm", "CapInh"))]]

    assert in_child(become) == [[], ["0" * 16] * 3]


@needs_root
def test_the_environment_is_the_users() -> None:
    """What is started later looks for its files there."""

    def become() -> object:
        privileges.become("nobody")
        return [os.environ["HOME"], os.environ["USER"], os.environ["LOGNAME"]]

    assert in_child(become) == [NOBODY.pw_dir, "nobody", "nobody"]


@needs_root
def test_a_user_that_is_nobody_is_said() -> None:
    """In one sentence with a way out; and nothing was given up."""

    def become() -> object:
        try:
            privileges.become("no-such-user")
        except UnavailableError as error:
            return [error.exit_status, str(error), list(os.getresuid())]
        return None

    said = in_child(become)
    assert isinstance(said, list)
    assert said[0] == os.EX_UNAVAILABLE
    assert said[1].startswith("there is no user 'no-such-user'; ")
    assert "\n" not in said[1]
    assert said[2] == [0, 0, 0]


@needs_root
def test_only_root_can_become_another_user() -> None:
    """Anybody else hears so in a sentence; who is that user already goes on."""

    def become(user: str) -> Callable[[], object]:
        def work() -> object:
            os.setgroups([])
            os.setresgid(NOBODY.pw_gid, NOBODY.pw_gid, NOBODY.pw_gid)
            os.setresuid(NOBODY.pw_uid, NOBODY.pw_uid, NOBODY.pw_uid)
            privileges.become(user)
            return os.getuid()

        return work

    assert in_child(become("daemon")) == [
        "NotPermittedError",
        os.EX_NOPERM,
        "--user daemon: only root can become another user",
    ]
    assert in_child(become("nobody")) == NOBODY.pw_uid


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Make a folder that only we may write to."""
    made = tmp_path / "folder"
    made.mkdir(mode=0o755)
    yield made
    made.chmod(0o755)


def unsafe(path: Path) -> str | None:
    """Return why a place is not safe, None where it is."""
    try:
        privileges.require_safe_place(path)
    except NotPermittedError as error:
        said = str(error)
    else:
        return None
    assert said.startswith(f"{path}: ")
    assert "\n" not in said
    return said


@pytest.mark.parametrize("there", [False, True], ids=["new file", "file"])
def test_a_place_that_is_ours_is_safe(folder: Path, there: bool) -> None:
    """Below /tmp too, whose sticky bit keeps others from our folder; and a folder that is yet to be made."""
    if there:
        (folder / "file").touch()
    assert stat.S_IMODE(Path("/tmp").stat().st_mode) == 0o1777
    assert folder.is_relative_to("/tmp")
    assert unsafe(folder / "file") is None
    assert unsafe(folder / "none" / "deeper" / "file") is None


@needs_root
@pytest.mark.parametrize("deeper", ["file", "ours/file"], ids=["in it", "below it"])
def test_a_folder_of_somebody_else_is_not_safe(folder: Path, deeper: str) -> None:
    """He could put another file there, or move away the folder between."""
    (folder / "ours").mkdir()
    shutil.chown(folder, "nobody")
    said = unsafe(folder / deeper)
    assert said is not None
    assert f"{folder} belongs to user {NOBODY.pw_uid}" in said


@pytest.mark.parametrize(("mode", "safe"), [(0o777, False), (0o757, False), (0o1777, True), (0o755, True)])
@pytest.mark.parametrize("deeper", ["file", "ours/file"], ids=["in it", "below it"])
def test_a_folder_that_all_may_write_to_is_safe_only_with_its_sticky_bit(
    folder: Path,
    mode: int,
    safe: bool,
    deeper: str,
) -> None:
    """Without it everybody may rename what is in it."""
    (folder / "ours").mkdir()
    folder.chmod(mode)
    said = unsafe(folder / deeper)
    assert (said is None) == safe
    assert safe or (said is not None and f"{folder} may be written by others" in said)


def test_a_symbolic_link_in_a_files_place_is_not_safe(folder: Path) -> None:
    """Wherever it points to, and though nothing is there."""
    (folder / "target").touch()
    for name, target in (("link", "target"), ("dangling", "none")):
        (folder / name).symlink_to(target)
        said = unsafe(folder / name)
        assert said is not None
        assert "is a symbolic link" in said


@needs_root
def test_a_file_of_somebody_else_is_not_safe(folder: Path) -> None:
    """In a folder with a sticky bit he may have put it there before us."""
    folder.chmod(0o1777)
    (folder / "file").touch()
    shutil.chown(folder / "file", "nobody")
    said = unsafe(folder / "file")
    assert said is not None
    assert f"belongs to user {NOBODY.pw_uid}" in said


@needs_root
def test_a_folder_that_is_a_link_is_as_safe_as_the_link_and_what_it_points_to(folder: Path, tmp_path: Path) -> None:
    """An administrator's link to a safe folder is fine; one of a stranger, or to a stranger's folder, is not."""
    link = tmp_path / "link"
    link.symlink_to(folder)
    assert unsafe(link / "file") is None
    os.lchown(link, NOBODY.pw_uid, -1)
    assert unsafe(link / "file") is not None
    os.lchown(link, 0, -1)
    shutil.chown(folder, "nobody")
    assert unsafe(link / "file") is not None


@needs_root
def test_a_link_on_the_way_of_a_link_counts_too(folder: Path, tmp_path: Path) -> None:
    """A link to a link in a stranger's folder: he can set the second one anew."""
    his = tmp_path / "his"
    his.mkdir()
    (his / "second").symlink_to(folder)
    (tmp_path / "first").symlink_to(his / "second")
    assert unsafe(tmp_path / "first" / "file") is None
    shutil.chown(his, "nobody")
    assert unsafe(tmp_path / "first" / "file") is not None


@needs_root
def test_a_folder_of_the_user_that_we_became_is_safe(folder: Path) -> None:
    """What is ours depends on who we are."""
    outer = Path("/tmp") / f"test-privileges-{os.getpid()}"
    (outer / "his").mkdir(parents=True)
    shutil.chown(outer / "his", "nobody")

    def look() -> object:
        before = unsafe(outer / "his" / "file")
        privileges.become("nobody")
        return [before is not None, unsafe(outer / "his" / "file")]

    try:
        assert in_child(look) == [True, None]
    finally:
        shutil.rmtree(outer)


@pytest.mark.parametrize(
    ("soft", "hard", "expected"), [(256, 300, 300), (1024, 20000, 8192), (9000, 20000, 9000), (64, 64, 64)]
)
def test_a_daemon_may_have_as_many_files_open_as_its_unit_allows(soft: int, hard: int, expected: int) -> None:
    """Also where no unit started it; never fewer than it had."""
    program = (
        "import resource; from popbeforesmtp.privileges import allow_files; "
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard})); allow_files(); "
        "print(*resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == f"{expected} {hard}\n"
