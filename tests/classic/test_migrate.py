"""``migrate`` writes a configuration that can be run, and compares on a log."""

import tomllib
from pathlib import Path

import pytest

from popbeforesmtp import cli, config, wiring

FOLDER = Path(__file__).parent / "conf"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run it: its status, output, and complaints."""
    status = cli.main(["migrate", *arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


def line_of(conf: Path, text: str) -> str:
    """Return a place in a file."""
    return f"{conf}:{next(n for n, line in enumerate(conf.read_text().splitlines(), 1) if text in line)}"


def test_what_was_carried_over_whole_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    """And what is otherwise stands in comments, with file and line."""
    conf = FOLDER / "dovecot.pl"
    status, text, said = run(capsys, str(conf))
    assert (status, said) == (0, "")
    assert f"# - {line_of(conf, '$pat =')}: $out_pat, $pat: read by our format dovecot" in text
    data = tomllib.loads(text)
    assert data["grace"] == "900s"
    assert data["source"] == [{"type": "file", "path": "/var/log/mail.log", "formats": ["dovecot"]}]


def test_what_was_not_carried_over_is_said_and_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error too, each with its line."""
    conf = FOLDER / "own-code.pl"
    status, text, said = run(capsys, str(conf))
    assert status == 1
    place = line_of(conf, 'system("logger started");')
    assert f'pop-before-smtp: {place}: not carried over: `system("logger started")`: code is not run' in said
    assert "Cannot be run until it is written otherwise:" in text
    assert tomllib.loads(text)


def test_what_a_configuration_says_reaches_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor another line of ours: control bytes of names and code are not printed."""
    conf = tmp_path / "conf.pl"
    conf.write_bytes(b"$x{'\x1b[2J\n# mta = 1'} = 1;\nsystem('\x1b[2J');\n$dbfile = \"/a\x1b\";\n")
    status, out, said = run(capsys, str(conf))
    assert status == 1
    assert "\x1b" not in out + said
    assert "[[mta]]" in out
    assert said.count("\n") == 2


def test_an_own_pattern_becomes_a_file_beside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Which formats.d takes, and nothing is written over."""
    status, out, _ = run(capsys, str(FOLDER / "cucipop.pl"), "--into", str(tmp_path))
    assert status == 0
    assert out.splitlines() == [str(tmp_path / "pop-before-smtp.toml"), str(tmp_path / "formats.d" / "classic-1.toml")]
    known = {each.name: each for each in wiring.formats(tmp_path / "formats.d")}
    assert known["classic-1"].programs == (b"cucipop",)
    assert config.load(tmp_path / "pop-before-smtp.toml").sources is not None
    assert cli.main(["migrate", str(FOLDER / "cucipop.pl"), "--into", str(tmp_path)]) == 73


def test_no_link_that_leads_nowhere_is_written_through(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Root may write into a folder where somebody else has put one."""
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "pop-before-smtp.toml").symlink_to(elsewhere)
    status, _, said = run(capsys, str(FOLDER / "cucipop.pl"), "--into", str(tmp_path))
    assert (status, elsewhere.exists()) == (73, False)
    assert f"{tmp_path / 'pop-before-smtp.toml'}: is there already" in said


def test_check_prints_each_line_that_is_read_differently(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What strangers wrote is escaped; lines that are read alike are not printed."""
    log = tmp_path / "maillog"
    log.write_bytes(
        b"Nov 22 07:00:00 mx1 pop3d: LOGIN, user=alice, ip=[::ffff:192.0.2.10]\n"
        b"Nov 22 07:00:01 mx1 pop3d: LOGIN, user=x, ip=[192.0.2.99] \x1b[2J, ip=[203.0.113.1]\n"
        b"Nov 22 07:00:02 mx1 imapd: LOGIN, user=bob, ip=[2001:db8::1], port=[40000], protocol=IMAP\n"
        b"Nov 22 07:00:03 mx1 postfix/smtpd[1]: nothing\n"
    )
    status, out, said = run(capsys, str(FOLDER / "courier.pl"), "--check", str(log))
    assert status == 1
    assert out.splitlines() == [
        f"{log}:2: classic: login 192.0.2.99; here: nothing: Nov 22 07:00:01 mx1 pop3d: LOGIN, user=x,"
        " ip=[192.0.2.99] \\x1b[2J, ip=[203.0.113.1]",
        f"{log}:3: classic: nothing; here: login 2001:db8::1: Nov 22 07:00:02 mx1 imapd: LOGIN, user=bob,"
        " ip=[2001:db8::1], port=[40000], protocol=IMAP",
    ]
    assert said == f"pop-before-smtp: {log}: 4 lines, 2 logins, 2 read differently\n"


def test_check_ends_with_0_where_all_is_read_alike(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The site may swap."""
    log = tmp_path / "maillog"
    log.write_text("Nov 22 07:00:00 mx1 pop3d: LOGIN, user=alice, ip=[::ffff:192.0.2.10]\n")
    assert run(capsys, str(FOLDER / "courier.pl"), "--check", str(log))[0] == 0
    assert cli.main(["migrate", str(FOLDER / "courier.pl"), "--check", str(tmp_path / "none")]) == 69
    assert cli.main(["migrate", str(tmp_path / "none.pl")]) == 78
