"""The classic's flags, as Getopt::Long read them."""

from pathlib import Path

import pytest

from popbeforesmtp import cli
from popbeforesmtp.classic import options
from popbeforesmtp.classic.options import Options, read
from popbeforesmtp.errors import UsageError


@pytest.mark.parametrize(
    ("words", "want"),
    [
        ("", Options()),
        ("--config=/etc/x.pl --nowrite", Options(config=Path("/etc/x.pl"), write=False)),
        ("--write --nodebug --no-flock --reprocess", Options(write=True, debug=False, flock=False, reprocess=True)),
        ("--debug", Options(debug=True, logto="-")),
        ("--debug --logto=/x", Options(debug=True, logto="/x")),
        ("--logto=/x --debug", Options(debug=True, logto="-")),
        ("--debug --nodebug", Options(debug=False, logto="-")),
        ("--watchlog=/x", Options(watchlog="/x")),
        ("--logfile /x", Options(watchlog="/x")),
        ("--logf=/x", Options(watchlog="/x")),
        ("--logt=/x", Options(logto="/x")),
        ("--dbfile --list", Options(dbfile="--list")),
        ("-grace 60", Options(grace=60)),
        ("+grace=-60", Options(grace=-60)),
        ("--g=0", Options(grace=0)),
        ("--VERSION --li --du", Options(version=True, list=True, dumpconfig=True)),
        ("-version", Options(version=True)),
        ("--v", Options(version=True)),
        ("--daemon=/run/x.pid stray words", Options(daemon=Path("/run/x.pid"))),
        ("--daemon=/x --user=daemon", Options(daemon=Path("/x"), user="daemon")),
        ("--nor --write -- --list", Options(reprocess=False, write=True)),
        ("--classic-patterns --insecure-log", Options(classic_patterns=True, insecure_log=True)),
        ("--pattern-name=courier --mappedv6", Options(pattern_name="courier", mappedv6=True)),
    ],
)
def test_a_command_line_means_what_it_meant(words: str, want: Options) -> None:
    """Shortened, negated, in any case, with one dash, two or a plus; later ones count."""
    assert read(words.split()) == want


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        *[(f"--{short}", f"option {short} is ambiguous") for short in ("l", "log", "d", "w", "no", "de", "da")[:5]],
        ("--frobnicate", "there is no option frobnicate"),
        ("--nograce", "there is no option nograce"),
        ("--dbfile=", "option dbfile needs a value"),
        ("--dbfile", "option dbfile needs a value"),
        ("--write=1", "option write takes no value"),
        ("--grace=1h", "--grace=1h: is no whole number of seconds"),
        ("--debug --config=/x", "--config must be the first option"),
        ("--config /x", "--config must be the first option"),
    ],
)
def test_a_command_line_that_meant_nothing_is_refused(words: str, sentence: str) -> None:
    """In one sentence, with the usage."""
    with pytest.raises(UsageError, match="usage: pop-before-smtp") as error:
        read(words.split())
    assert str(error.value).startswith(sentence)


def test_every_unambiguous_beginning_is_enough() -> None:
    """Each option by each of its beginnings: either ambiguous, or itself."""
    for name in ("write", "debug", "flock", "reprocess", "watchlog", "dbfile", "logto", "grace", "daemon", "list"):
        for length in range(1, len(name) + 1):
            begins = {each for each in _NAMES if each.startswith(name[:length])}
            value = ["1"] if name in ("watchlog", "dbfile", "logto", "grace", "daemon") else []
            if len(begins) > 1 and name not in begins:
                continue
            if len(begins) == 1:
                assert read([f"--{name[:length]}", *value]) == read([f"--{name}", *value])


_NAMES = ("write", "debug", "flock", "reprocess", "watchlog", "logfile", "dbfile", "logto", "grace", "daemon", "list")
_NAMES += ("version", "dumpconfig", "config", "mappedv6", "pattern-name", "classic-patterns", "insecure-log")
_NAMES += tuple(f"no{name}" for name in ("write", "debug", "flock", "reprocess", "mappedv6"))


@pytest.mark.parametrize("words", [[], ["--list"], ["-version"], ["+debug"], ["--config=/x"]])
def test_a_command_line_without_a_command_is_the_classics(words: list[str]) -> None:
    """And one with a command, or --help, is ours."""
    assert options.is_classic(words)


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["run"], ["list", "--json"], ["dance"]])
def test_a_command_is_ours(words: list[str]) -> None:
    """The flags behind it too."""
    assert not options.is_classic(words)


def test_a_mistake_ends_with_the_status_of_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts only ever learned that it was not 0."""
    assert cli.main(["--frobnicate"]) == 64
    assert capsys.readouterr().err.startswith("pop-before-smtp: there is no option frobnicate")
