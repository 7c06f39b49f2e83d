"""Logs of real servers, attacked on purpose: every line means exactly what its verdict says."""

import json
from pathlib import Path

import pytest

from popbeforesmtp.cli import main

FOLDER = Path(__file__).parents[1] / "sample_logs"
SAMPLES = sorted(FOLDER.glob("*.log"))
FORGED = "9.9.9.9"

Row = tuple[int, str, str | None, str | None]
"""Line, event, address, and the user of a login."""


def expected(sample: Path) -> list[Row]:
    """Read the verdicts beside a sample."""
    rows: list[Row] = []
    text = sample.with_suffix(".expect.tsv").read_bytes().decode("utf-8", "surrogateescape")
    for row in text.removesuffix("\n").split("\n"):
        line, event, address, user = row.split("\t")
        rows.append((int(line), "failure" if event == "fail" else event, address, user if event == "login" else None))
    return rows


def test_there_are_samples_and_each_has_its_verdicts() -> None:
    """A sample without verdicts would prove nothing."""
    assert SAMPLES
    assert [path.with_suffix("").stem for path in sorted(FOLDER.glob("*.expect.tsv"))] == [s.stem for s in SAMPLES]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_every_line_means_what_its_verdict_says_and_no_other_means_anything(
    sample: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is missed, nothing is invented, and no forgery works."""
    status = main(["scan", "--json", str(sample)])
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [
        (event["line"], event["event"], event["address"], event["user"] if event["event"] == "login" else None)
        for event in found
    ] == expected(sample)
    assert FORGED not in [event["address"] for event in found]
    assert {event["file"] for event in found} == {str(sample)}
    assert status == 0
