"""Endpoints, named as Postfix names them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popbeforesmtp.errors import ConfigError
from popbeforesmtp.listening import Endpoint, parse_endpoint


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("unix:/run/x", Endpoint(path=Path("/run/x"))),
        ("unix:/var/spool/postfix/a b:c", Endpoint(path=Path("/var/spool/postfix/a b:c"))),
        ("unix:/" + 106 * "x", Endpoint(path=Path("/" + 106 * "x"))),
        ("inet:127.0.0.1:10029", Endpoint(host="127.0.0.1", port=10029)),
        ("inet:[::1]:10029", Endpoint(host="::1", port=10029)),
        ("inet:localhost:1", Endpoint(host="localhost", port=1)),
        ("inet:mx1.example.net:65535", Endpoint(host="mx1.example.net", port=65535)),
    ],
)
def test_a_path_or_a_host_and_a_port_is_an_endpoint(text: str, endpoint: Endpoint) -> None:
    """An IPv6 address stands in brackets."""
    assert parse_endpoint(text) == endpoint


@pytest.mark.parametrize(
    "text",
    [
        *("", "unix", "unix:", "unix:run/x", "unix:./x", "/run/x", "tcp:127.0.0.1:25", "UNIX:/run/x"),
        *("inet:", "inet:25", "inet::25", "inet:127.0.0.1", "inet:127.0.0.1:", "inet:127.0.0.1:0", "inet:[]:25"),
        *(
            "inet:127.0.0.1:65536",
            "inet:127.0.0.1:-1",
            "inet:127.0.0.1:smtp",
            "inet:127.0.0.1:\uff12\uff15",
            "inet:h: 25",
        ),
        "unix:/" + 107 * "x",
        "unix:/" + 54 * "é",
    ],
)
def test_anything_else_is_refused_with_a_way_out(text: str) -> None:
    """The sentence holds what was written and what could be."""
    with pytest.raises(ConfigError) as caught:
        parse_endpoint(text)
    assert f'"{text}"' in str(caught.value)
    assert "unix:/absolute/path" in str(caught.value)


@given(
    st.one_of(
        st.text(max_size=30), st.text(max_size=30).map("inet:".__add__), st.text(max_size=9).map("unix:/".__add__)
    )
)
def test_no_text_makes_it_fail_in_another_way(text: str) -> None:
    """An endpoint or a sentence, never a traceback."""
    try:
        endpoint = parse_endpoint(text)
    except ConfigError:
        return
    assert (endpoint.path is None) == (0 < endpoint.port < 65536)


@pytest.mark.parametrize("text", ["unix:/run/x", "inet:127.0.0.1:10029", "inet:localhost:25"])
def test_an_endpoint_is_shown_as_it_was_written(text: str) -> None:
    """So it stands in the log and in main.cf alike."""
    assert str(parse_endpoint(text)) == text
