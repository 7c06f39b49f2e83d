"""What explain shows on a terminal of names and reasons that strangers chose: text, and nothing but text."""

import os

import pytest

from tests.commands.explaining import begin, local, log_in, login, write
from tests.site import CLIENT, Site, wait_for


def on_terminal(site: Site, *arguments: str | bytes) -> bytes:
    """Run a command on a terminal, and return all that it sends there."""
    ours, theirs = os.openpty()
    try:
        site.command(*map(os.fsdecode, arguments), "--config", site.config, capture_output=False, stdout=theirs)
        os.close(theirs)
        said = b""
        try:
            while part := os.read(ours, 65536):
                said += part
        except OSError:  # EIO: nobody has it open any more
            pass
        return said.replace(b"\r\n", b"\n")
    finally:
        os.close(ours)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"\x9b2J\xc2\x9b31mroot\xc2\x85\xff", r"\x9b2J\u009b31mroot\u0085\xff"),
        ("\u202egnp.ecila\u2066\u200b\u2028a".encode(), r"\u202egnp.ecila\u2066\u200b\u2028a"),
        (rb"\u202e", r"\\u202e"),
        (b"alice, rip=9.9.9.9 (imap, dovecot)", "alice, rip=9.9.9.9 (imap, dovecot)"),
    ],
    ids=["C1 and invalid UTF-8", "right to left", "backslash", "delimiters"],
)
def test_a_hostile_account_name_is_only_text_on_a_terminal(site: Site, name: bytes, shown: str) -> None:
    """It moves no cursor, hides nothing and turns no line round, asked by the address or by the name itself."""
    begin(site)
    write(site, login(name, CLIENT))
    wait_for("the login is granted", lambda: CLIENT in site.windows())
    until = local(site.windows()[CLIENT])
    entry = f"  {CLIENT} until {until}: login of {shown} (imap, dovecot) in {site.folder}/mail.log, offset 0, id "
    for who, first in ((CLIENT.encode(), f"{CLIENT} may relay until"), (name, f"account {shown}: opens relay for:")):
        said = on_terminal(site, b"explain", who).decode("ascii")
        assert all(letter.isprintable() or letter == "\n" for letter in said)
        lines = said.splitlines()
        assert lines[0].startswith(first)
        assert lines[1].startswith(entry)
        assert lines[3].endswith(f" {CLIENT} {shown} imap granted ({site.folder}/mail.log, offset 0)")
        assert lines[4] == f"a login of {shown} from {CLIENT} now:"


def test_hostile_words_of_whoever_asks_and_revokes_are_only_text_on_a_terminal(site: Site) -> None:
    """An escape sequence as an account's name and as a reason, which the next one reads."""
    begin(site)
    name, reason = b"\x1b]0;owned\x07\x1b[2Jalice\xe2\x80\xae", b"\x1b[31mspam\x7f\xff"
    said = on_terminal(site, b"revoke", b"--user", name, b"--for", b"1h", b"--reason", reason).decode("ascii")
    shown = r"\x1b]0;owned\x07\x1b[2Jalice\u202e"
    assert said.splitlines()[1].startswith(f"logins of {shown} open nothing until ")
    lines = on_terminal(site, b"explain", name).decode("ascii").splitlines()
    assert lines[0] == f"account {shown}: opens relay for no address now"
    assert lines[1].startswith(f"revoked: account {shown.casefold()} at ")
    assert rf" by uid {os.getuid()} (\x1b[31mspam\x7f\\xff); " in lines[1]
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("encoding", ["iso-8859-1", "ascii"])
def test_a_terminal_that_does_not_know_a_letter_gets_it_escaped(site: Site, encoding: str) -> None:
    """A name of another alphabet stops neither explain nor list."""
    site.start()
    site.ready()
    log_in(site, user="Ωé")
    shown = {"iso-8859-1": "\\u03a9é", "ascii": "\\u03a9\\xe9"}[encoding]
    for arguments in (("explain", CLIENT), ("explain", "Ωé"), ("list",)):
        environ = site.environ({"PYTHONIOENCODING": encoding})
        done = site.command(*arguments, "--config", site.config, env=environ, encoding=encoding)
        assert (done.returncode, done.stderr) == (0, "")
        assert shown in done.stdout
