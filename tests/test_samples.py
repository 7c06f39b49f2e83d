"""Logs of real servers, attacked on purpose: every line means exactly what its verdict says."""

import json
from pathlib import Path

import pytest

from popbeforesmtp.cli import main
from tests.samples import FOLDER, FORGED, SAMPLES, Meaning, is_untrusted, lines, meanings, mistakes


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


UNNAMED = b"Closing NULL session"
"""What Perdition writes of who has not logged in: also of who has not tried."""


@pytest.mark.parametrize("sample", [s for s in SAMPLES if not is_untrusted(s)], ids=lambda path: path.stem)
def test_failures_are_read_exactly_too(sample: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """None is missed and none is added."""
    main(["scan", "--json", str(sample)])
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    texts = lines(sample)
    assert [(event["line"], event["event"]) for event in events] == [
        (line, meaning.event) for line, meaning in meanings(sample).items() if UNNAMED not in texts[line - 1]
    ]
    assert all(event["address"] in (meanings(sample)[event["line"]].address, None) for event in events)
