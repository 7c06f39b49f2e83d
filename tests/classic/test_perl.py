"""Perl is cut and evaluated, never run; whatever the file, it is read, refused or named."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popbeforesmtp import cli
from popbeforesmtp.classic import conf, meaning, toml
from popbeforesmtp.classic.options import Options
from popbeforesmtp.errors import ConfigError

PATH = Path("/etc/conf.pl")


def value(text: str) -> object:
    """Evaluate what a variable is set to."""
    read = conf.parse(PATH, f"$x = {text};\n1;")
    assert not read.code, read.code
    return read.value("$x")


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("30*60", 1800),
        ("2 ** 3 ** 2 - 1", 511),
        ("(1 + 2) * 3 . '!'", "9!"),
        ("1 . 2 + 3", 15),
        ("7 % 4 + 0x10 + 0b11 + 010", 30),
        ("1_800", 1800),
        ("10 / 4", 2.5),
        ("-5 + '12'", 7),
        (r"'it\'s \d\\'", r"it's \d\\"[:-1]),
        (r'"a\tb\$c\\d"', "a\tb$c\\d"),
        ("q{a{b}c}", "a{b}c"),
        ("q(a) . qq[b] . 'c'", "abc"),
        ("qr/^a b/i", "(?i:^a b)"),
        ("undef", None),
        ("'a' . # a comment with a 'quote\n  'b'", "ab"),
        ('"$dbfile.db"', "/etc/postfix/pop-before-smtp.db"),
        ('"${dbfile}s"', "/etc/postfix/pop-before-smtps"),
        ("$grace * 2", 3600),
    ],
)
def test_a_setting_is_evaluated_as_perl_does(text: str, want: object) -> None:
    """Numbers, texts, both together, and what was set before."""
    assert value(text) == want


@pytest.mark.parametrize(
    "text",
    [
        *(
            "`date`",
            "time",
            "$ENV{HOME}",
            "<STDIN>",
            "$unset",
            "f(1)",
            "1 ? 2 : 3",
            "1 / 0",
            "9 ** 9 ** 9",
            "'a' x 9",
            "!1",
        ),
        *("(" * 3000 + "1" + ")" * 3000, "-" * 3000 + "1", "$a = " * 3000 + "1"),
    ],
)
def test_what_is_more_than_a_setting_is_named_with_its_line(text: str) -> None:
    """Not guessed at."""
    read = conf.parse(PATH, f"\n$x = {text};\n1;")
    assert read.value("$x") is None
    assert [statement.line for statement in read.code] == [2]


def test_lists_hashes_and_elements_are_taken_in() -> None:
    """In every form that is in use."""
    read = conf.parse(
        PATH,
        "my @login = ('a', \"b\");\n$login[2] = 'c';\n%file_tail = (name => '/x', 'tail', -1);\n"
        "$file_tail{'interval'} = 1;\n@nets = qw( a b\n c );\n$a = $b = 5;\n$c = 'x'; $c .= 'y';\n__END__\n$c = 'z';",
    )
    assert [setting.value for _, setting in read.elements("login")] == ["a", "b", "c"]
    assert (read.value("$file_tail{name}"), read.value("$file_tail{tail}"), read.value("$file_tail{interval}")) == (
        "/x",
        -1,
        1,
    )
    assert read.value("@nets") == ["a", "b", "c"]
    assert (read.value("$a"), read.value("$b"), read.value("$c")) == (5, 5, "xy")
    assert not read.code


def test_what_stands_in_a_section_that_is_off_counts_for_nothing() -> None:
    """And what stands between two sections that are off does."""
    read = conf.parse(
        PATH,
        "=cut #== one ==START=\n$a = 1;\n'\n=cut #== one ==END=\n$b = 2;\n"
        "=cut #-- two --START-\n$c = 3;\n=cut #-- two --END-\n=head1 x\n$d = 4;\n=cut\n$e = 5;\n",
    )
    assert set(read.settings) == {"$b", "$e"}
    assert read.line("$e") == 12


def test_perl_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither the program, nor what a configuration would have it do."""
    marker, path = tmp_path / "marker", tmp_path / "conf.pl"
    perl = tmp_path / "perl"
    perl.write_text(f"#!/bin/sh\ntouch {marker}\n")
    perl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    path.write_text(
        f"BEGIN {{ system('touch {marker}') }}\nopen(F, '>{marker}');\n$x = `touch {marker}`;\n"
        f"$pat = '^[LOGTIME] \\S+ a: (?{{ `touch {marker}` }})(\\d+)';\n"
        f"$dbfile = \"@{{[ system('touch {marker}') ]}}\";\n"
    )
    assert cli.main(["migrate", str(path)]) == 1
    assert cli.main([f"--config={path}", "--nowrite"]) == 78
    assert not marker.exists()
    assert f"{path}:1: not carried over: `BEGIN" in capsys.readouterr().err


PIECES = st.sampled_from(
    [
        *("$pat", "$grace", "@login", "%h", "=", ".=", "'a'", '"b$x"', "q(", ")", "{", "}", "[0]", ";", "\n", "=cut\n"),
        *("#x\n", "sub f", "if (1)", "qr/a/", "s/a/b/", "/", "%", "&f", "<<'E'\n", "E\n", "1", "30*60", "my ", "\\"),
        *("(?:", "$", "qw(", "$file_tail{'name'}", "use strict", "foreach", "=>", ",", "-", "**"),
        "'^[LOGTIME] \\S+ p(?:a|b)?\\[\\d+\\]: (\\d+)'",
    ]
)


@given(st.lists(PIECES | st.text(max_size=4), max_size=40).map(" ".join))
@settings(max_examples=400, deadline=None)
def test_no_file_breaks_the_reader(text: str) -> None:
    """It is read or refused, and what is written is TOML."""
    import tomllib

    try:
        plan = meaning.mean(conf.parse(PATH, text), Options())
    except ConfigError as error:
        assert str(error).startswith(f"{PATH}:")  # noqa: PT017
        return
    tomllib.loads(toml.write(plan))
    for own in plan.own.values():
        tomllib.loads(own)


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_no_pattern_breaks_the_reader(pattern: str) -> None:
    """It becomes a format that can be read, or is named."""
    from popbeforesmtp import wiring

    quoted = pattern.replace("\\", "\\\\").replace("'", "\\'")
    for head in ("^[LOGTIME] \\S+ mypopd: (\\d+)", "", "^[LOGTIME] "):
        plan = meaning.mean(conf.parse(PATH, f"$pat = '{head.replace(chr(92), chr(92) * 2)}{quoted}';\n"), Options())
        for name, own in plan.own.items():
            wiring.read_format(name, own)
