"""What flags and variants come to, beyond what the whole configurations show."""

import re
import tomllib
from pathlib import Path

import pytest

from popbeforesmtp import config, wiring
from popbeforesmtp.classic import bridge, conf, meaning, options, toml
from popbeforesmtp.classic.conf import GLOBALS
from popbeforesmtp.classic.options import Options
from popbeforesmtp.classic.plan import DEBIAN, Plan, Weight
from popbeforesmtp.errors import ConfigError

FOLDER = Path(__file__).parent / "conf"
MANUAL = (Path(__file__).parents[2] / "contrib" / "man" / "pop-before-smtp-classic.7").read_text()


def plan(text: str, *flags: str, path: Path = Path("/etc/pop-before-smtp-conf.pl")) -> Plan:
    """Read a configuration's text and flags."""
    return meaning.mean(conf.parse(path, text), options.read(flags))


def data(found: Plan) -> dict[str, object]:
    """Return what it is written as."""
    return tomllib.loads(toml.write(found))


def test_flags_stand_over_what_is_set() -> None:
    """Each that has a variable."""
    text = "$grace = 60; $dbfile = '/a'; $logto = '/b'; $file_tail{'name'} = '/c'; $write = 1; $debug = 1;\n"
    flags = ("--grace=90", "--dbfile=/d", "--logto=/e", "--watchlog=/f", "--nowrite", "--nodebug")
    read = plan(text, *flags)
    assert (read.grace, read.dbfile, read.logto, read.source, read.write, read.debug) == (
        90, "/d", "/e", "/f", False, False,
    )  # fmt: skip
    assert data(read)["mta"] == []


def test_debian_keeps_its_files_elsewhere() -> None:
    """Its daemon had other defaults."""
    assert plan("1;", path=DEBIAN).dbfile == "/var/lib/pop-before-smtp/hosts"
    assert plan("1;", path=DEBIAN).watchlog == "/var/log/mail.log"
    assert plan("$dbfile = '/x';", path=DEBIAN).dbfile == "/x"


@pytest.mark.parametrize(
    ("name", "formats"), [("uw", ["uw"]), ("qmail", ["vpopmail"]), ("spop3d", ["solid-pop3d"]), ("auto", None)]
)
def test_plds_patterns_have_names(name: str, formats: list[str] | None) -> None:
    """--pattern-name, beside --mappedv6, without a configuration."""
    read = meaning.mean(None, options.read([f"--pattern-name={name}", "--mappedv6", "--dbfile=/var/lib/popbsmtp/x"]))
    assert read.formats == formats
    assert read.dbfile == "/var/lib/popbsmtp/x"
    assert not read.of(Weight.STOP)


def test_an_unknown_name_of_plds_is_refused() -> None:
    """With those that there are."""
    with pytest.raises(ConfigError, match="--pattern-name=x: there are uw, cyrus, courier, qmail, spop3d, auto"):
        bridge.settings_of(meaning.mean(None, options.read(["--pattern-name=x"])))


def test_without_a_configuration_the_map_is_the_classics_and_every_format_is_read() -> None:
    """Nobody said which server there is."""
    settings = bridge.settings_of(meaning.mean(None, Options()))
    assert settings.mtas is not None
    assert settings.mtas[0].values["map"] == "hash:/etc/postfix/pop-before-smtp"
    assert settings.lookups == ()
    assert all("formats" not in section.values for section in settings.sources or ())


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.pl")), ids=lambda path: path.stem)
def test_the_daemon_reads_what_migrate_writes(path: Path, tmp_path: Path) -> None:
    """By way of files or in memory: the same settings, the same formats."""
    try:
        found = meaning.mean(conf.load(path), Options())
        settings = bridge.settings_of(found)
    except ConfigError:
        pytest.skip("cannot be run")
    (tmp_path / "x.toml").write_text(toml.write(found))
    loaded = config.load(tmp_path / "x.toml")
    assert loaded.grace == settings.grace
    assert loaded.hold == settings.hold
    assert loaded.rules == settings.rules
    assert [section.key for section in loaded.sources or ()] == [section.key for section in settings.sources or ()]
    assert [section.key for section in loaded.mtas or ()] == [section.key for section in settings.mtas or ()]
    for name, text in found.own.items():
        folder = tmp_path / "formats.d"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.toml").write_text(text)
        (known,) = (each for each in wiring.formats(folder) if each.name == name)
        in_memory = wiring.read_format(name, text)
        assert known.programs == in_memory.programs
        assert [each.match.pattern for each in known.patterns] == [each.match.pattern for each in in_memory.patterns]


def test_a_complaint_about_what_was_written_names_its_line_there() -> None:
    """Not a line of the classic's configuration, that says something else."""
    found = plan('$dbvalue = "a\\tb";\n')
    with pytest.raises(ConfigError) as error:
        bridge.settings_of(found)
    match = re.match(
        r"/etc/pop-before-smtp-conf\.pl \(as `migrate` writes it\):([0-9]+): \[mta\] result: ", str(error.value)
    )
    assert match is not None
    assert toml.write(found).splitlines()[int(match[1]) - 1].startswith("result = ")


def test_own_formats_are_checked_with_the_settings() -> None:
    """A source may name them; a name that nothing has is refused."""
    settings = bridge.settings_of(meaning.mean(conf.load(FOLDER / "cucipop.pl"), Options()))
    settings = bridge.without_writing(settings)
    wiring.check(settings)
    settings.control.parent.rmdir()
    with pytest.raises(ConfigError, match="there is no format 'classic-1'; there are: "):
        wiring.check(config.parse(Path("x.toml"), '[[source]]\ntype = "stdin"\nformats = ["classic-1"]\n'))
    with pytest.raises(ConfigError, match="is no list of formats"):
        wiring.check(config.parse(Path("x.toml"), '[[source]]\ntype = "stdin"\nformats = "uw"\n'))


def test_every_danger_is_said_once() -> None:
    """One sentence for a server, whatever the number of its patterns."""
    found = meaning.mean(conf.load(FOLDER / "courier.pl"), Options())
    (note,) = found.of(Weight.NOTE)
    assert "who sent a long enough name was let in without a login" in note.what
    assert "--classic-patterns insists on yours" in note.what
    insisted = meaning.mean(conf.load(FOLDER / "courier.pl"), Options(classic_patterns=True))
    (note,) = insisted.of(Weight.NOTE)
    assert "used as it is, as --classic-patterns insists" in note.what


def test_the_manual_names_every_flag_and_variable() -> None:
    """What is taken is documented."""
    for flag in (*options._SWITCHES, *options._QUESTIONS, *options._VALUES):
        if flag != "logfile":  # another name of watchlog
            assert flag in MANUAL, flag
    for name in GLOBALS - {"$del_func", "$sync_func", "$flock_func", "$tail_init_func", "$tail_getline_func"}:
        assert name in MANUAL, name
