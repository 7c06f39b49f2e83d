"""A log that is moved in every way, between any two looks: each line is read once.

But for what copytruncate itself loses: a line between its copy and its truncation is read once, or never. Where it was
read, what the copy holds may be read twice, if that is compressed or the reader restarted before it is looked at.
"""

import gzip
import os
import random
import shutil
from pathlib import Path

import pytest

from popbeforesmtp.sources.file import FileSource
from tests.sources.following import append, wait_for_threads

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
        self.unsure: set[bytes] = set()  # what may be lost
        self.read: list[bytes] = []
        self.checkpoint: str | None = None
        self.down = False
        self.story: list[str] = []

    def say(self, *, sure: bool = True) -> None:
        """Write some lines, and perhaps have them read."""
        for _ in range(self.rng.randrange(3)):
            line = b"line %d: %b\n" % (
                len(self.written),
                b"x" * 300,
            )  # shorter copies are read twice, see pass_by_copied
            append(self.log, line)
            self.written.append(line)
            if not sure:
                self.unsure.add(line)
        self.perhaps()

    def look(self) -> None:
        """Read what there is, unless nobody does at present."""
        if self.down:
            return
        while (block := self.source.read()) is not None or self.source.report().state.startswith("unpacking"):
            if block is None:
                wait_for_threads()
            else:
                self.read += block.data.splitlines(keepends=True)
                self.checkpoint = block.checkpoint  # of an empty log, too
        self.story.append("look")

    def perhaps(self) -> None:
        """Look, or not."""
        if self.rng.random() < 0.5:
            self.look()

    def shift(self) -> Path:
        """Move the rotated files on, and return where the newest goes."""
        for number in range(_KEPT, 0, -1):
            for suffix in ("", ".gz"):
                old = self.log.with_name(f"mail.log.{number}{suffix}")
                if old.exists():
                    old.rename(self.log.with_name(f"mail.log.{number + 1}{suffix}"))
        return self.log.with_name("mail.log.1")

    def truncate(self) -> None:
        """Truncate to nothing; what it holds was read, or nobody could, so it is not done while nobody looks."""
        self.look()
        os.truncate(self.log, 0)
        self.perhaps()

    def copytruncate(self) -> None:
        """Copy, then truncate; perhaps something is written in between."""
        self.perhaps()
        shutil.copyfile(self.log, self.shift())
        self.perhaps()
        if self.rng.random() < 0.3:
            self.say(sure=False)
        os.truncate(self.log, 0)
        self.perhaps()

    def rename(self) -> None:
        """Rename, then create."""
        self.log.rename(self.shift())
        self.perhaps()
        self.log.touch()
        self.perhaps()

    def compress(self) -> None:
        """Compress the newest rotated file, as logrotate does a while later: it keeps the time."""
        path = self.log.with_name("mail.log.1")
        if path.exists():
            packed, status = self.log.with_name("mail.log.1.gz"), path.stat()
            packed.write_bytes(gzip.compress(path.read_bytes()))
            os.utime(packed, ns=(status.st_atime_ns, status.st_mtime_ns))
            path.unlink()
        self.perhaps()

    def restart(self) -> None:
        """Go away and come back, with the place that was kept last; meanwhile something happens to the log."""
        self.source.close()
        self.down = True
        for _ in range(self.rng.randrange(3)):
            move = self.rng.choice((self.copytruncate, self.rename, self.compress, self.say))
            self.story.append(f"{move.__name__}, while down")
            move()
        self.down = False
        self.source = FileSource(self.log, self.checkpoint)

    def play(self) -> None:
        """Move the log a few times."""
        self.say()
        self.look()
        for _ in range(_MOVES):
            moves = (self.truncate, self.copytruncate, self.rename, self.compress, self.restart, self.say)
            move = self.rng.choice(moves)
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
        # Whether a copy holds all that was read is not known of a compressed one, nor by whoever was away.
        may_repeat = scene.unsure and {"restart", "compress"} & {step.partition(",")[0] for step in scene.story}
        assert may_repeat or len(set(scene.read)) == len(scene.read), scene.story
        assert set(scene.written) - scene.unsure <= set(scene.read) <= set(scene.written), scene.story
