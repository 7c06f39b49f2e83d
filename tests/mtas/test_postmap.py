"""Maps of the types that postmap(1) writes: each change is a new file in the old one's place."""

import os
from pathlib import Path

import pytest

from tests.mtas.contract import A, B, ends
from tests.mtas.maps import KINDS, make, needs_postfix, read

pytestmark = needs_postfix


@pytest.mark.parametrize("kind", ["cdb", "hash", "btree"], indirect=True)
def test_a_change_that_changes_nothing_restarts_nobody(tmp_path: Path, kind: str) -> None:
    """Each write of such a map makes every smtpd start anew; who came and went in one burst is no reason for it."""
    file = tmp_path / f"clients{KINDS[kind]}"
    access_map = make(tmp_path, kind=kind)
    access_map.replace(ends([A]))
    with file.open() as before:
        access_map.change({}, [B])
        access_map.change(ends([A]), [])
        assert file.stat().st_ino == os.fstat(before.fileno()).st_ino


@pytest.mark.parametrize("kind", ["cdb", "hash", "btree"], indirect=True)
def test_a_map_that_cannot_be_changed_in_place_is_replaced_by_a_rename(tmp_path: Path, kind: str) -> None:
    """Whoever has the old file open keeps it whole."""
    file = tmp_path / f"clients{KINDS[kind]}"
    access_map = make(tmp_path, kind=kind)
    access_map.replace(ends([A]))
    data = file.read_bytes()
    with file.open("rb") as before:
        access_map.change(ends([B]), [A])
        assert os.fstat(before.fileno()).st_nlink == 0
        assert before.read() == data
    assert set(read(tmp_path, kind)) == {B}
