"""How a program of the administrator's is run, which may be, and what it cannot do to us."""

import os
import signal
import stat
import time
from datetime import timedelta
from pathlib import Path

import pytest

from popbeforesmtp.errors import NotPermittedError, UnavailableError
from popbeforesmtp.mtas import MapError, _program
from popbeforesmtp.mtas.command import open_map
from tests.clocks import START, FakeClock
from tests.mtas.contract import A, B, C
from tests.mtas.programs import Write, open_list
from tests.site import wait_for

SOON = START + timedelta(seconds=90)


def test_it_gets_nothing_of_our_environment_and_no_file_of_ours(
    clock: FakeClock, program: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither secrets nor an open log; and what it writes may be read by others."""
    monkeypatch.setenv("SECRET", "x")
    with (tmp_path / "ours").open("w") as ours:
        os.set_inheritable(ours.fileno(), True)
        before = os.umask(0o077)
        try:
            open_list(clock, *program(f"exec >{tmp_path}/seen; env; pwd; ls -l /proc/$$/fd")).replace({A: SOON})
        finally:
            os.umask(before)
    seen = (tmp_path / "seen").read_text()
    assert "SECRET" not in seen
    assert "ours" not in seen
    assert {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "/"} <= set(seen.splitlines())
    assert stat.S_IMODE((tmp_path / "seen").stat().st_mode) == 0o644


def test_one_that_hangs_is_killed_with_all_that_it_started(
    clock: FakeClock, program: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the others are not tried: they would hang too."""
    monkeypatch.setattr(_program, "SECONDS", 0.5)
    command = program(f"sleep 600 & echo $! >{tmp_path}/child; echo waiting >&2; wait")
    began = time.monotonic()
    with pytest.raises(MapError, match=r"did not end in 0.5 s: waiting$"):
        open_list(clock, *command).replace({A: SOON})
    assert time.monotonic() - began < 20
    child = int((tmp_path / "child").read_text())
    wait_for("the child ends", lambda: not _runs(child))
    several = open_map(clock=clock, grant=(*command, "{address}"), expire=(*command, "{address}"), clear=("/bin/true",))
    with pytest.raises(MapError, match=r"did not end in 0.5 s: waiting$"):  # one, and no more
        several.replace(dict.fromkeys([A, B, C], SOON))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_what_it_left_running_is_not_waited_for(clock: FakeClock, program: Write) -> None:
    """Though that still holds its standard error."""
    began = time.monotonic()
    open_list(clock, *program("sleep 20 & exit 0")).replace({A: SOON})
    with pytest.raises(MapError, match="status 4"):
        open_list(clock, *program("sleep 20 & exit 4")).replace({A: SOON})
    assert time.monotonic() - began < 15


def test_what_it_complains_is_told_shortened(clock: FakeClock, program: Write) -> None:
    """With its lines in one; what it prints is nobody's business."""
    command = program("echo printed; echo one >&2; echo >&2; echo '  two' >&2; yes | head -c 9999 >&2; kill -TERM $$")
    with pytest.raises(MapError, match=f"was ended by signal {signal.SIGTERM:d}: one; two; y; ") as error:
        open_list(clock, *command).replace({A: SOON})
    assert "printed" not in str(error.value)
    assert len(str(error.value)) < 1000


def test_one_that_is_gone_when_it_is_needed_is_trouble(clock: FakeClock, program: Write) -> None:
    """Which may pass, as a full disk may."""
    command = program("exit 0")
    access_map = open_list(clock, *command)
    Path(command[0]).unlink()
    with pytest.raises(MapError, match="cannot be run: No such file"):
        access_map.replace({A: SOON})


# Which may be run


def test_a_program_that_others_can_write_is_not_run(clock: FakeClock, program: Write, tmp_path: Path) -> None:
    """They would do with our rights what they like; so too where they could put another in its place."""
    command = program("exit 0")
    open_list(clock, *command)
    Path(command[0]).chmod(0o757)
    with pytest.raises(NotPermittedError, match="may be written by others"):
        open_list(clock, *command)
    Path(command[0]).chmod(0o755)
    tmp_path.chmod(0o757)
    try:
        with pytest.raises(NotPermittedError, match="may be written by others"):
            open_list(clock, *command)
    finally:
        tmp_path.chmod(0o755)


def test_a_program_of_another_user_is_not_run(clock: FakeClock, program: Write) -> None:
    """Whoever owns it may write it."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to give a file away")
    command = program("exit 0")
    os.chown(command[0], 65534, -1)
    with pytest.raises(NotPermittedError, match="belongs to"):
        open_list(clock, *command)


@pytest.mark.parametrize("path", ["/nonexistent/program", "/etc/passwd", "/etc"])
def test_what_is_no_program_is_said(clock: FakeClock, path: str) -> None:
    """Before anything else."""
    with pytest.raises(UnavailableError, match="is no program"):
        open_list(clock, path)
