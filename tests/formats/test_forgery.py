"""Whatever strangers put into a line of a server: nobody but who wrote it is let in by it."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from popbeforesmtp.model import EventKind, LogMessage
from tests.hostile import ATTACKED, ENGINE, EVENTS, KEYWORDS, attacked, forge, forgeries
from tests.samples import NOW, lines, message


@pytest.mark.parametrize("sample", ATTACKED, ids=lambda path: path.stem)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_name_makes_a_line_say_something_else(sample: Path, data: st.DataObject) -> None:
    """Whatever stands in a user or mechanism: nobody else's address is let in, nobody else's line is read otherwise."""
    field = data.draw(st.sampled_from(attacked(sample)))
    whole_lines = st.sampled_from(lines(sample)).map(lambda line: forge(line.decode("utf-8", "replace")))
    hostile = "".join(data.draw(st.lists(st.one_of(st.sampled_from(KEYWORDS), whole_lines), min_size=1, max_size=5)))
    assert forgeries(sample, field, hostile.encode()) == []


@pytest.mark.parametrize("sample", EVENTS, ids=lambda path: path.stem)
def test_a_login_line_with_something_in_front_is_no_login(sample: Path) -> None:
    """A message that quotes another does not begin as it does."""
    texts = lines(sample)
    for number, event in EVENTS[sample]:
        whole_line = message(texts[number - 1])
        if event.kind is EventKind.LOGIN and whole_line is not None:
            for before in (b" ", b"x", b'"', b"x: ", whole_line.text[:20]):
                text = before + whole_line.text
                got = ENGINE.find(whole_line.program, text, 0, len(text))
                assert got is None or got.kind.event is not EventKind.LOGIN, text


@pytest.mark.parametrize("sample", EVENTS, ids=lambda path: path.stem)
def test_a_login_line_with_something_behind_names_nobody_else(sample: Path) -> None:
    """What follows is part of a name, or the line means nothing."""
    texts = lines(sample)
    for number, event in EVENTS[sample]:
        whole_line = message(texts[number - 1])
        if event.kind is EventKind.LOGIN and whole_line is not None:
            for behind in (b" ", b"x", b"]", b", ip=[9.9.9.9]", b" [9.9.9.9]", b" 9.9.9.9", b":9.9.9.9", b"\0"):
                text = whole_line.text + behind
                got = ENGINE.find(whole_line.program, text, 0, len(text))
                longer = behind[:1] == b":" and ":" in (event.client or "")  # still an address
                assert got is None or longer or got.client in (None, event.client), text


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([*ENGINE.programs, None]), st.binary(max_size=300))
def test_no_bytes_make_any_format_fail_or_log_in(program: bytes | None, data: bytes) -> None:
    """Noise means nothing, and raises nothing."""
    event = ENGINE.read(LogMessage(NOW, program, data))
    assert event is None or event.kind in (EventKind.OTHER, EventKind.CONNECT, EventKind.FAILURE)
