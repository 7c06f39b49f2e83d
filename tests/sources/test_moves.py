"""A log that is moved in every way, between any two looks: each line is read once.

What copytruncate itself loses, lines between its copy and its truncation, is never written here.
"""

import os
import random
import shutil
from pathlib import Path

import pytest

from popbeforesmtp.sources.file import FileSource
from tests.sources.following import append, drain, text

_SCENES = 40  # for each seed
_MOVES = 4
_KEPT = 6  # rotated files


class Scene:
    """A log, its writer, and a source that looks at it now and then."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.rng = rng
        self.log = folder / "mail.log"
        self.log.touch()
        self.source = FileSource(self.log)
        self.written: list[bytes] = []
        self.read: list[bytes] = []
        self.story: list[str] = []

    def say(self) -> None:
        """Write some lines, and perhaps have them read."""
        for _ in range(self.rng.randrange(3)):
            line = b"line %d: %b\n" % (
                len(self.written),
                b"x" * 300,
            )  # shorter copies are read twice, see pass_by_copied
            append(self.log, line)
            self.written.append(line)
        self.perhaps()

    def look(self) -> None:
        """Read what there is."""
        self.read += text(drain(self.source)).splitlines(keepends=True)
        self.story.append("look")

    def perhaps(self) -> None:
        """Look, or not."""
        if self.rng.random() < 0.5:
            self.look()

    def shift(self) -> Path:
        """Move the rotated files on, and return where the newest goes."""
        for number in range(_KEPT, 0, -1):
            old = self.log.with_name(f"mail.log.{number}")
            if old.exists():
                old.rename(self.log.with_name(f"mail.log.{number + 1}"))
        return self.log.with_name("mail.log.1")

    def truncate(self) -> None:
        """Truncate to nothing; what it holds was read, or nobody could."""
        self.look()
        os.truncate(self.log, 0)
        self.perhaps()

    def copytruncate(self) -> None:
        """Copy, then truncate."""
        self.perhaps()
        shutil.copyfile(self.log, self.shift())
        self.perhaps()
        os.truncate(self.log, 0)
        self.perhaps()

    def rename(self) -> None:
        """Rename, then create."""
        self.log.rename(self.shift())
        self.perhaps()
        self.log.touch()
        self.perhaps()

    def play(self) -> None:
        """Move the log a few times."""
        self.say()
        self.look()
        for _ in range(_MOVES):
            move = self.rng.choice((self.truncate, self.copytruncate, self.rename, self.say))
            self.story.append(move.__name__)
            move()
            self.say()
        self.look()
        self.source.close()


@pytest.mark.parametrize("seed", range(20))
def test_each_line_is_read_once_however_the_log_is_moved(tmp_path: Path, seed: int) -> None:
    """Renamed, copied and truncated, truncated to nothing, several times between two looks."""
    rng = random.Random(seed)
    for number in range(_SCENES):
        folder = tmp_path / str(number)
        folder.mkdir()
        scene = Scene(folder, rng)
        scene.play()
        assert sorted(scene.read) == sorted(scene.written), scene.story
