"""``formats`` lists, shows and tests what is known; ``scan --explain`` tells why a line means nothing."""

import json
from pathlib import Path

import pytest

from popbeforesmtp import cli, wiring

LOGIN = (
    "2026-11-22T07:14:00+00:00 mx1 dovecot: imap-login: Login: user=<alice>, method=PLAIN, rip=192.0.2.10,"
    " lip=198.51.100.1, mpid=4711, TLS, session=<AAAA>"
)


def explained(tmp_path: Path, capsys: pytest.CaptureFixture[str], *lines: str) -> list[str]:
    """Explain some lines."""
    log = tmp_path / "mail.log"
    log.write_text("".join(f"{line}\n" for line in lines))
    cli.main(["scan", "--explain", str(log)])
    return [line.partition(": ")[2] for line in capsys.readouterr().out.splitlines()]


def test_all_formats_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Each with its programs."""
    assert cli.main(["formats", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert [each["name"] for each in json.loads(line)] == sorted(known.name for known in wiring.formats())
    assert cli.main(["formats"]) == 0
    assert "dovecot" in capsys.readouterr().out


def test_a_format_is_shown_as_it_is_written_and_can_be_used_as_ones_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Shown, kept under another name, and read."""
    assert cli.main(["formats", "show", "popa3d"]) == 0
    (tmp_path / "mine.toml").write_text(capsys.readouterr().out.replace('"popa3d"', '"minepop"'))
    log = tmp_path / "mail.log"
    log.write_text(
        "Nov 22 07:14:00 mx1 minepop[5]: Session from 192.0.2.1\n"
        "Nov 22 07:14:00 mx1 minepop[5]: Authentication passed for alice\n"
    )
    assert cli.main(["scan", "--json", "--formats-dir", str(tmp_path), "--format", "mine", str(log)]) == 0
    event = json.loads(capsys.readouterr().out)
    assert (event["event"], event["address"], event["format"]) == ("login", "192.0.2.1", "mine")


def test_the_samples_of_a_format_are_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Exit status 1 where a line differs from its label."""
    assert cli.main(["formats", "test", "dovecot", "popa3d"]) == 0
    assert "as labelled" in capsys.readouterr().out
    (tmp_path / "dovecot-x.log").write_text(LOGIN + "\n")
    (tmp_path / "dovecot-x.expect.tsv").write_text("1\tlogin\t192.0.2.11\talice\n")
    assert cli.main(["formats", "--samples", str(tmp_path), "test", "dovecot"]) == 1
    assert "line 1" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["formats", "show", "nothing"], ["scan", "--format", "nothing", "x"]])
def test_a_format_that_is_not_there_is_named(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """With those that are."""
    assert cli.main(arguments) == 64
    assert "dovecot" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("title = 1", "programs is missing"),
        ('title = "x"\nprograms = ["x"]\nnonsense = 1\npattern = []', "nonsense"),
        ('title = "x"\nprograms = ["x"]\n[[pattern]]\nevent = "login"\nmatch = "("', "mine"),
        ("no toml", "no TOML"),
        ('template = "courier"', "template"),
        ('template = "dovecot"\nlogin_log_format_elements = "user=<%u>"', "remote_ip"),
    ],
)
def test_a_format_of_ones_own_that_is_wrong_is_named_with_its_file(
    text: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what is wrong with it."""
    (tmp_path / "mine.toml").write_text(text)
    assert cli.main(["formats", "--formats-dir", str(tmp_path)]) == 78
    said = capsys.readouterr().err
    assert str(tmp_path / "mine.toml") in said
    assert complaint in said


def test_a_pattern_of_ones_own_that_takes_too_long_matches_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever a line holds, the others do not wait for it."""
    (tmp_path / "slow.toml").write_text(
        'title = "x"\nprograms = ["slow"]\n[[pattern]]\nevent = "login"\n'
        "match = '''(?P<user>(?:a|aa)+)+[ ](?P<address>[0-9.]+)'''\n"
    )
    log = tmp_path / "mail.log"
    log.write_text(f"Nov 22 07:14:00 mx1 slow: {'a' * 2000}!\nNov 22 07:14:00 mx1 slow: a 192.0.2.1\n")
    assert cli.main(["scan", "--json", "--formats-dir", str(tmp_path), "--format", "slow", str(log)]) == 0
    assert [json.loads(line)["line"] for line in capsys.readouterr().out.splitlines()] == [2]


def test_a_line_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Why it means what it means, or how far the nearest pattern came."""
    wrong = LOGIN.replace("lip=", "lap=")
    assert explained(tmp_path, capsys, LOGIN, wrong, "junk", "", "Nov 22 07:14:00 mx1 cron[1]: x") == [
        "login of 192.0.2.10, by format dovecot",
        "program 'dovecot': the nearest pattern is dovecot's login, which stopped at byte 64, before"
        " 'ap=198.51.100.1, mpid=4711, TLS, session'",
        "no header that we know",
        "empty",
        "program 'cron': no format reads it",
    ]


def test_a_login_that_opens_no_mailbox_is_explained_and_not_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The daemon refuses it by name."""
    line = LOGIN.replace("imap-login", "submission-login")
    (said,) = explained(tmp_path, capsys, line)
    assert said.startswith("login of 192.0.2.10, by format dovecot; submission opens no mailbox: refused, unless")
    assert cli.main(["scan", "--json", str(tmp_path / "mail.log")]) == 0
    assert capsys.readouterr().out == ""


def test_hostile_text_is_escaped_where_a_line_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A terminal obeys escapes."""
    (said,) = explained(tmp_path, capsys, "Nov 22 07:14:00 mx1 dovecot: imap-login: Login: user=<x\x1b[2J")
    assert "\x1b" not in said


def test_a_line_of_a_session_says_that_it_waits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Alone it authorizes nobody."""
    (said,) = explained(tmp_path, capsys, "Nov 22 07:14:00 mx1 popa3d[5]: Session from 192.0.2.1")
    assert "alone it authorizes nobody" in said


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (LOGIN.replace("192.0.2.10", "192.0.2.256"), "but '192.0.2.256' is no address"),
        (LOGIN[: LOGIN.index(", lip=") + 3], "wants more behind the line's end"),
        (
            "Nov 22 07:14:00 mx1 pop3d: LOGIN, user=user=x, ip=[192.0.2.1], port=[1]",
            "but 'user=' stands there 2 times, so a name holds it",
        ),
    ],
)
def test_a_line_that_a_pattern_reads_to_its_end_is_explained_too(
    line: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong with it stands nowhere in particular."""
    assert why in explained(tmp_path, capsys, line)[0]


def test_a_login_behind_a_record_that_was_cut_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It looks like any other."""
    cut = f"Nov 22 07:14:00 mx1 pop3d: LOGIN FAILED, user={'A' * 490}"
    login = "Nov 22 07:14:00 mx1 pop3d: LOGIN, user=alice, ip=[192.0.2.1], port=[1]"
    assert "behind a record that the logger has cut" in explained(tmp_path, capsys, cut, login)[1]
