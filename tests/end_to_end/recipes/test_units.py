"""What systemd is told for some recipes: the very files of contrib, with the real tools of Debian's packages."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.lab import CONTRIB

DROP_INS = ["nftables/capability.conf", "opensmtpd/root.conf", "qmail/root.conf", "courier/root.conf"]


@pytest.mark.parametrize("drop_in", DROP_INS)
@pytest.mark.parametrize("unit", ["pop-before-smtp.service", "pop-before-smtp-sweep.service"])
def test_systemd_finds_no_mistake_in_a_unit_with_a_drop_in(unit: str, drop_in: str, tmp_path: Path) -> None:
    """Both read it."""
    shutil.copy(CONTRIB / "systemd" / unit, tmp_path)
    (tmp_path / f"{unit}.d").mkdir()
    shutil.copy(CONTRIB / drop_in, tmp_path / f"{unit}.d")
    complaints = _verify(tmp_path / unit)
    assert [line for line in complaints if "pop-before-smtp" in line and "is not executable" not in line] == []
    with (tmp_path / f"{unit}.d" / Path(drop_in).name).open("a") as broken:
        broken.write("NoSuchSetting=1\n")
    assert [line for line in _verify(tmp_path / unit) if "NoSuchSetting" in line]  # it was read


@pytest.mark.parametrize("suffix", ["path", "service"])
def test_systemd_finds_no_mistake_in_the_units_for_postgrey(suffix: str) -> None:
    """Of the same name, so that one starts the other."""
    assert _verify(CONTRIB / "postgrey" / f"pop-before-smtp-postgrey.{suffix}") == []


def _verify(unit: Path) -> list[str]:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"SYSTEMD_UNIT_PATH": f"{unit.parent}:", "PATH": "/usr/sbin:/usr/bin"},
    )
    return [line for line in done.stderr.splitlines() if str(unit.stem) in line]
