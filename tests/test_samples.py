"""Logs of real servers, attacked on purpose: every line means exactly what its verdict says."""

import json
from pathlib import Path

import pytest

from popbeforesmtp.cli import main
from tests.samples import FOLDER, FORGED, SAMPLES, Meaning, is_untrusted, meanings, mistakes


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
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = [(event["line"], Meaning(event["event"], event["address"], event["user"])) for event in events]
    assert mistakes(meanings(sample), found, untrusted=is_untrusted(sample)) == []
    assert {event["file"] for event in events} <= {str(sample)}
    assert status == (0 if events else 1)


@pytest.mark.parametrize("sample", [sample for sample in SAMPLES if is_untrusted(sample)], ids=lambda path: path.stem)
def test_nobody_is_let_in_by_a_log_that_cannot_say_who_it_was(sample: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It has no addresses, as mailutils' has not, or strangers can write whole lines into it, as into nginx's own."""
    main(["scan", "--json", str(sample)])
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event for event in events if event["event"] == "login" or event["address"] == FORGED] == []


@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.stem.startswith(("dovecot-2.3", "dovecot-2.4", "mixed"))])
def test_dovecots_samples_are_read_exactly(sample: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Failures too: none is missed and none is added."""
    main(["scan", "--json", str(sample)])
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    rows = [
        row.split("\t")
        for row in sample.with_suffix(".expect.tsv")
        .read_bytes()
        .decode("utf-8", "surrogateescape")
        .strip("\n")
        .split("\n")
    ]
    assert [(each["line"], each["event"], each["address"]) for each in events] == [
        (int(row[0]), "failure" if row[1] == "fail" else row[1], row[2]) for row in rows
    ]
