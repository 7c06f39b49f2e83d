"""What scripts read: --version, --dumpconfig, --list, alone and together; --reprocess; what is not run, and why."""

from pathlib import Path

import pytest

from popbeforesmtp import __version__, cli
from popbeforesmtp.classic import words
from popbeforesmtp.classic.conf import LOGTIME, default

FOLDER = Path(__file__).parent / "conf"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str], str]:
    """Run a command line: its status, lines, and complaints."""
    status = cli.main(list(arguments))
    said = capsys.readouterr()
    return status, said.out.splitlines(), said.err


def test_the_version_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """As package scripts read it."""
    assert run(capsys, "--version") == (0, [f"version: {__version__}"], "")


def test_the_configuration_is_dumped_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    """In the classic's order; --version first."""
    conf = FOLDER / "dovecot.pl"
    status, lines, _ = run(capsys, f"--config={conf}", "--dumpconfig", "--version")
    assert status == 0
    assert lines[:5] == [
        f"version: {__version__}",
        f"config file: {conf}",
        "watchlog: /var/log/mail.log",
        "dbfile: /etc/postfix/pop-before-smtp",
        "logto: /var/log/pop-before-smtp",
    ]
    assert lines[5].startswith('pat: "^[LOGTIME] \\S+ (?:dovecot: )?(?:imap|pop3)-login: Login: ')
    assert lines[6].startswith('out_pat: "^[LOGTIME] ')
    assert lines[7:] == [f'logtime_pat: "{LOGTIME}"']


def test_flags_stand_over_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    """And a pattern that is not set is the classic's own."""
    flags = ("--dbfile=/srv/x", "--watchlog=/srv/log", "--debug", "--dump")
    _, lines, _ = run(capsys, f"--config={FOLDER / 'debian.pl'}", *flags)
    assert lines[1:4] == ["watchlog: /srv/log", "dbfile: /srv/x", "logto: -"]
    _, lines, _ = run(capsys, f"--config={FOLDER / 'untouched.pl'}", "--dump")
    assert f'pat: "{default("$pat")}"' in lines
    assert not any(line.startswith(("logto", "out_pat")) for line in lines)


def test_custom_match_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """In place of the patterns."""
    _, lines, _ = run(capsys, f"--config={FOLDER / 'many.pl'}", "--dumpconfig")
    assert lines[3] == "Using custom_match() subroutine for watchlog matching."
    assert not any(line.startswith("pat:") for line in lines)


def test_a_list_is_counted_indented_and_sorted_as_text() -> None:
    """One IP, several, none."""
    assert words.holds([]) == "The database holds 0 IPs."
    assert words.holds(["192.0.2.1"]) == "The database holds 1 IP:\n\t192.0.2.1"
    assert words.holds(["192.0.2.9", "192.0.2.10"]) == "The database holds 2 IPs:\n\t192.0.2.10\n\t192.0.2.9"


LINES = """\
Nov 22 07:00:00 mx1 ipop3d[1]: Login user=alice host=[192.0.2.10] nmsgs=0/0
Nov 22 07:00:05 mx1 ipop3d[1]: Login user=bob host=[10.0.0.7] nmsgs=0/0
Nov 22 07:01:00 mx1 postfix/smtpd[3]: connect from unknown[192.0.2.77]
Nov 22 07:02:00 mx1 ipop3d[1]: Auth user=alice host=[192.0.2.10] nmsgs=0/0
Nov 22 07:40:00 mx1 postfix/smtpd[3]: connect from unknown[192.0.2.77]
"""


def test_reprocess_takes_each_lines_time_as_now(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--debug --nowrite --reprocess on a log: what was found, until when, and who came and went."""
    log, conf = tmp_path / "maillog", tmp_path / "conf.pl"
    log.write_text(LINES)
    conf.write_text("$mynet_func = \\&mine;\nsub mine { '10.0.0.0/8' }\n")
    status, lines, _ = run(capsys, f"--config={conf}", "--debug", "--nowrite", "--reproc", f"--watchlog={log}")
    ends = [line.rpartition(" ")[2] for line in lines if "setting" in line]
    assert status == 0
    assert int(ends[1]) - int(ends[0]) == 120
    assert lines[0][16:] == f"starting up (v{__version__})"
    assert lines[1:] == [
        "Nov 22 07:00:00 found ip=192.0.2.10 (0)",
        f"Nov 22 07:00:00 setting expiration time for ip=192.0.2.10 to {ends[0]}",
        "Nov 22 07:00:00 added 192.0.2.10 to DB",
        "Nov 22 07:00:05 ignoring local-net ip=10.0.0.7",
        "Nov 22 07:02:00 found ip=192.0.2.10 (0)",
        f"Nov 22 07:02:00 setting expiration time for ip=192.0.2.10 to {ends[1]}",
        "Nov 22 07:40:00 removed 192.0.2.10 from DB",
        "Nov 22 07:40:00 ------ reached end of log file ------",
    ]


def test_without_debug_only_who_comes_and_goes_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing at all without a log."""
    log, conf = tmp_path / "maillog", tmp_path / "conf.pl"
    log.write_text(LINES)
    conf.write_text("$mynet_func = \\&mine;\nsub mine { '10.0.0.0/8' }\n")
    _, lines, _ = run(capsys, f"--config={conf}", "--reprocess", "--logto=-", f"--watchlog={log}")
    assert [line[16:] for line in lines][1:3] == ["added 192.0.2.10 to DB", "removed 192.0.2.10 from DB"]
    assert run(capsys, f"--config={conf}", "--reprocess", f"--watchlog={log}") == (0, [], "")


def test_reprocess_writes_where_the_log_goes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Behind what is there, as the daemon; a log without any stamp is said, and no failure."""
    log, said = tmp_path / "maillog", tmp_path / "said"
    log.write_text("no stamp at all\n")
    said.write_text("before\n")
    flags = ("--debug", f"--logto={said}", "--reprocess", f"--watchlog={log}")
    assert run(capsys, *flags) == (0, [], "")
    lines = said.read_text().splitlines()
    assert lines[0] == "before"
    assert [line[16:] for line in lines[1:]] == [
        f"starting up (v{__version__})",
        "------ reached end of log file ------",
        "$logtime_pat did not match a timestamp",
    ]
    assert run(capsys, "--reprocess", f"--logto={tmp_path}/none/said", f"--watchlog={log}")[0] == 73


def test_an_open_session_holds_its_client(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With $out_pat sessions are counted, and the window begins to end with the last."""
    log = tmp_path / "maillog"
    log.write_text(
        "Nov 22 07:00:00 mx1 pop3d: LOGIN, user=a, ip=[192.0.2.38], port=[4]\n"
        "Nov 22 09:00:00 mx1 pop3d: LOGOUT, user=a, ip=[192.0.2.38], port=[4], top=0, retr=0, rcvd=1, sent=1, time=9\n"
        "Nov 22 09:31:00 mx1 cron[1]: tick\n"
    )
    conf = FOLDER / "many.pl"
    _, lines, _ = run(capsys, f"--config={conf}", "--debug", "--reprocess", f"--watchlog={log}")
    assert [line[7:15] + line[15:].partition(" to 1")[0] for line in lines[1:] if "reached" not in line] == [
        "07:00:00 found ip=192.0.2.38 (1)",
        "07:00:00 connection count for ip=192.0.2.38 is now 1",
        "07:00:00 added 192.0.2.38 to DB",
        "09:00:00 found ip=192.0.2.38 (-1)",
        "09:00:00 setting expiration time for ip=192.0.2.38",
        "09:31:00 removed 192.0.2.38 from DB",
    ]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("own-match", "own-match.pl:6: cannot be run: sub custom_match: code is not run; write its patterns as @login"),
        ("ip-blocking", "(and 2 more)"),
        ("pipe", "no command is run; pipe its output into --watchlog=-"),
        ("no-window", "$grace: 0 seconds are no window; write 1 to 3932100"),
        ("unclosed-quote", "unclosed-quote.pl:5: a text begins here"),
    ],
)
def test_what_cannot_be_run_is_one_sentence(name: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With file, line and what to write instead; the daemon does not start on a guess."""
    status, _, said = run(capsys, f"--config={FOLDER / f'{name}.pl'}", "--nowrite")
    assert status == 78
    assert sentence in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("flag", ["--watchlog=tail -F x |", "--watchlog=| x", "--grace=0", "--grace=-60"])
@pytest.mark.parametrize("config", [f"--config={FOLDER / 'uw-bracketed.pl'}", "--nowrite"], ids=["with", "without"])
def test_a_flag_that_would_guess_or_run_is_refused(flag: str, config: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside a classic configuration, beside ours, and beside none."""
    status, _, said = run(capsys, config, flag, "--nowrite")
    assert status == 78
    assert f"{flag}: " in said
    assert said.count("\n") == 1


def test_nothing_in_the_background_reads_standard_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The classic returned 0, and its daemon was dead by then."""
    status, _, said = run(capsys, "--nowrite", "--watchlog=-", f"--daemon={tmp_path}/pid")
    assert status == 64
    assert said.startswith("pop-before-smtp: standard input cannot be read in the background; leave out --daemon")
    path = tmp_path / "x.toml"
    path.write_text('mta = []\nlookup = []\n[rules]\ntrusted = []\n[[source]]\ntype = "stdin"\n')
    assert run(capsys, "run", "--config", str(path), "--daemon", f"{tmp_path}/pid")[0] == 64


def test_flags_work_beside_our_own_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that ends in .toml is one."""
    log, path = tmp_path / "maillog", tmp_path / "x.toml"
    log.write_text(LINES)
    path.write_text(
        f'grace = "60s"\n[rules]\ntrusted = []\n[[source]]\ntype = "file"\npath = "{log}"\nformats = ["uw"]\n'
    )
    _, lines, _ = run(capsys, f"--config={path}", "--dumpconfig")
    assert lines == [f"config file: {path}", f"watchlog: {log}"]
    status, lines, _ = run(capsys, f"--config={path}", "--debug", "--reprocess", "--grace=3600")
    assert status == 0
    assert lines[1] == "Nov 22 07:00:00 found ip=192.0.2.10 (0)"
    assert not any("removed" in line for line in lines)
