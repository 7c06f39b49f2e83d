"""Every mistake in a configuration gets one sentence that says where and what to do, and its exit status."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from popbeforesmtp import cli, postconf

BAD = sorted((Path(__file__).parent / "bad_configs").glob("*.toml"))


@pytest.fixture(autouse=True)
def _no_postfix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Find none of Postfix's programs, whatever this machine has."""
    monkeypatch.setattr(postconf, "_PATH", str(tmp_path))


@pytest.fixture
def nobody() -> Iterator[None]:
    """Be a user that may read nothing of ours; everything that is imported late has been imported before."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    cli.main(["scan", "/dev/null"])
    cli.main(["run", "--config", "/nonexistent"])
    from popbeforesmtp import daemon, wiring  # noqa: F401

    os.seteuid(65534)
    yield
    os.seteuid(0)


@pytest.mark.parametrize("bad", BAD, ids=[path.stem for path in BAD])
def test_a_mistake_is_named_with_its_place_and_a_way_out(
    bad: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last thing said is the sentence that the file expects, and nothing looks like a crash."""
    first, _, rest = bad.read_text().partition("\n")
    status, _, sentence = first.removeprefix("# ").partition(" ")
    config = tmp_path / bad.name
    private = f'control = "{tmp_path}/control"' if "control" not in bad.stem else ""
    store = "" if "[store]" in rest else '\n[store]\ntype = "memory"\n'
    config.write_text(f"{private}\n{rest}{store}")
    assert cli.main(["run", "--config", str(config)]) == int(status)
    said = capsys.readouterr().err
    assert said.splitlines()[-1] == "pop-before-smtp: " + sentence.replace("{file}", str(config))
    assert "Traceback" not in said


def test_a_configuration_that_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--config names a file: it must be there."""
    path = tmp_path / "none.toml"
    assert cli.main(["run", "--config", str(path)]) == os.EX_CONFIG
    sentence = f"{path}: there is no such file; write one, or leave out --config to use what is found"
    assert capsys.readouterr().err == f"pop-before-smtp: {sentence}\n"


def test_a_log_that_may_not_be_read_is_said(
    nobody: None, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log is there, root's, and closed: the daemon says which group may read it, and ends."""
    os.seteuid(0)
    folder = Path("/tmp") / f"bad-configs-{os.getpid()}"
    folder.mkdir(mode=0o777)
    try:
        folder.chmod(0o755)
        os.chown(folder, 65534, -1)
        log, config = folder / "mail.log", folder / "config.toml"
        log.touch(0o600)
        config.write_text(
            f'control = "{folder}/control"\n[rules]\ntrusted = []\n[[source]]\ntype = "file"\npath = "{log}"\n'
            f'[store]\ntype = "memory"\n'
        )
        config.chmod(0o644)
        os.seteuid(65534)
        assert cli.main(["run", "--config", str(config)]) == os.EX_NOPERM
        said = capsys.readouterr().err.splitlines()[-1]
        assert said == (
            f"pop-before-smtp: {config}:4: [source]: {log}: may not be read by this user; on Debian,"
            " `usermod -aG adm USER` lets it read the logs"
        )
    finally:
        os.seteuid(0)
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["scan", "/none.log"], 69, "/none.log: there is no such file"),
        (["scan", "/"], 69, "/: is a folder; name a log file"),
        (["check", "host.example"], 64, "'host.example' is no IPv4 or IPv6 address"),
        (["run", "--confg", "x"], 64, "unrecognized arguments: --confg x; try `pop-before-smtp --help`"),
        (["dance"], 64, "argument COMMAND: invalid choice: 'dance'"),
    ],
    ids=["missing log", "folder", "name for address", "unknown option", "unknown command"],
)
def test_a_mistake_on_the_command_line_is_one_sentence(
    arguments: list[str], status: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the status of sysexits(3)."""
    assert cli.main(arguments) == status
    said = capsys.readouterr().err
    assert said.startswith(f"pop-before-smtp: {sentence}")
    assert said.count("\n") == 1


def test_a_broken_gz_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be unpacked is bad data."""
    path = tmp_path / "mail.log.gz"
    path.write_bytes(b"no gzip")
    assert cli.main(["scan", str(path)]) == os.EX_DATAERR
    assert capsys.readouterr().err.startswith(f"pop-before-smtp: {path}: cannot be read: ")
