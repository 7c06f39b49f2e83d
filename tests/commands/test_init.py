"""What init writes and prints, for each mail server and for none."""

import grp
import os
from pathlib import Path

import pytest

from popbeforesmtp import cli, config, links, mtas, snippets, wiring
from popbeforesmtp.clock import SystemClock
from popbeforesmtp.errors import UnavailableError
from popbeforesmtp.links._ours import Ours
from popbeforesmtp.links._postfix import understand
from popbeforesmtp.snippets import postfix as postfix_snippets
from tests.bare import strip

SPOOL = "/var/spool/postfix"
US = Ours(("cdb:/var/lib/pop-before-smtp/clients",), (f"socketmap:unix:{SPOOL}/pop-before-smtp/map",), Path(SPOOL))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that has nothing."""
    strip(monkeypatch, tmp_path)
    return tmp_path


def test_with_nothing_a_configuration_is_written_all_the_same(
    machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever reads it knows what was found."""
    path = machine / "new.toml"
    assert cli.main(["init", str(path)]) == 0
    settings = config.load(path)
    wiring.check(settings)
    assert settings.sources is not None
    assert settings.sources[0].values == {"path": str(machine / "mail.log")}
    assert (settings.mtas, settings.rules.trusted) == (None, None)
    assert "#   log: " in path.read_text()
    assert "No mail server was found" in capsys.readouterr().out


def test_a_configuration_that_is_there_stays(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Unless --force says otherwise."""
    path = machine / "mine.toml"
    path.write_text("# mine\n")
    assert cli.main(["init", str(path)]) == 73
    assert path.read_text() == "# mine\n"
    assert "--force" in capsys.readouterr().err
    assert cli.main(["init", "--force", str(path)]) == 0
    assert config.load(path).sources


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give anything away")
def test_what_root_writes_may_be_read_by_the_daemon_s_group(
    machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And by nobody else, whosever the folder is; it is root's to write."""
    group = grp.getgrgid(os.getgid() + 1)
    monkeypatch.setattr("popbeforesmtp.privileges.USER", group.gr_name)
    path = machine / "new.toml"
    for force in ([], ["--force"]):
        assert cli.main(["init", *force, str(path)]) == 0
        status = path.stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (0, group.gr_gid, 0o640)
    assert f"pop-before-smtp run --config {path}" in capsys.readouterr().out


def test_a_dash_prints_and_writes_nothing(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is printed is a configuration."""
    assert cli.main(["init", "-"]) == 0
    config.parse(machine / "printed.toml", capsys.readouterr().out)
    assert list(machine.iterdir()) == []


def test_postfixs_lines_are_its_own_lists_with_us_in_the_right_place() -> None:
    """What nobody needs is not printed: without a blocklist nothing need be spared."""
    main = f"queue_directory = {SPOOL}\nsmtpd_relay_restrictions = permit_mynetworks, defer_unauth_destination\n"
    text = "\n".join(postfix_snippets._paragraphs(understand(main, "", ""), US))
    assert (
        "smtpd_relay_restrictions =\n    permit_mynetworks,\n    permit_auth_destination,\n"
        "    check_client_access socketmap:unix:pop-before-smtp/map:clients,\n    reject\n"
    ) in text
    assert "smtpd_recipient_restrictions" not in text
    strict = main + "smtpd_helo_restrictions = reject_unknown_helo_hostname\n"
    text = "\n".join(postfix_snippets._paragraphs(understand(strict, "", ""), US))
    assert (
        f"smtpd_helo_restrictions =\n    check_client_access {US.maps[0]},\n    reject_unknown_helo_hostname\n" in text
    )
    assert "They need an OK in front of each such check" in text


def test_every_mail_server_that_init_knows_can_be_written_for() -> None:
    """A text for one that has no map would be of no use; and each that is here is contrib's very file."""
    known = {path.stem for path in Path(snippets.__file__).parent.glob("*.py")} - {"__init__"}
    for name in known & set(wiring.names(mtas)):
        module = __import__(f"popbeforesmtp.snippets.{name}", fromlist=["here"])
        if name == "postfix":
            continue
        settings = config.parse(Path("/etc/x.toml"), module.configuration())
        wiring.check(settings)
        lines = module.lines(links.Machine(settings, SystemClock()))
        first = next(iter(sorted((Path(__file__).parents[2] / "contrib" / name).glob("*.m[c4]"))), None)
        assert lines.strip(), (name, first)


def test_a_text_that_is_missing_is_said() -> None:
    """An installation without contrib."""
    assert "smtpd_relay_restrictions" in snippets.contrib("postfix/main.cf")
    with pytest.raises(UnavailableError, match="is missing from this installation"):
        snippets.contrib("postfix/none.cf")
