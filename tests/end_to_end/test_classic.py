"""A site that ran the classic swaps the program: its flags, configuration, map, pid file and log stay as they are."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.lab import LOG, MAP_PORTS, SERVER4, Daemon, Lab, wait_for

HASH = Path("/var/lib/pop-before-smtp/clients.db")
PORT = MAP_PORTS["hash"]
CLIENT, UNKNOWN, OTHER = "192.0.2.10", "192.0.2.11", "192.0.2.12"

_CONF = r"""
use strict;
use vars qw($pat $grace $dbfile $logto %file_tail);
$grace = {grace};
$dbfile = '/var/lib/pop-before-smtp/clients';
$logto = '{log}';
$file_tail{{'name'}} = '{watched}';
$pat = '^[LOGTIME] \S+ (?:dovecot: )?(?:imap|pop3)-login: ' .
    'Login: .*? (?:\[|rip=)[:f]*(\d+\.\d+\.\d+\.\d+)[],]';
1;
"""

_CLASSIC_MAP = """
use DB_File; use Fcntl;
tie my %db, 'DB_File', shift, O_CREAT|O_RDWR, 0666, $DB_HASH or die "$!";
$db{$_} = 'ok' for @ARGV;
"""


class Site:
    """A site as the classic left it."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        self.log = folder / "pop-before-smtp.log"
        self.conf = folder / "pop-before-smtp-conf.pl"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.configure()

    def configure(self, *, grace: str = "30*60", watched: str = str(LOG)) -> None:
        """Write its configuration."""
        self.conf.write_text(_CONF.format(grace=grace, log=self.log, watched=watched))

    def command(self, *flags: str, config: bool = True) -> list[str]:
        """Return the classic's command line."""
        return [sys.executable, "-m", "popbeforesmtp", *([f"--config={self.conf}"] if config else []), *flags]

    def start(self, *flags: str, stdin: int | None = None) -> "subprocess.Popen[bytes]":
        """Start it in the foreground, and wait until it is ready."""
        process = subprocess.Popen(self.command(*flags), stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.processes.append(process)
        self.wait_for("ready authorizations=", process)
        return process

    def run(self, *flags: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return subprocess.run(self.command(*flags), capture_output=True, text=True, timeout=60, check=False)

    def said(self) -> str:
        """Return its log."""
        return self.log.read_text() if self.log.exists() else ""

    def wait_for(self, words: str, process: "subprocess.Popen[bytes] | None" = None) -> None:
        """Wait until it has said something."""
        wait_for(words, lambda: words in self.said() or (process is not None and process.poll() is not None))
        if words not in self.said():
            pytest.fail(self.said() + (process.stdout.read().decode() if process and process.stdout else ""))


@pytest.fixture
def site(lab: Lab, start: Callable[..., Daemon], tmp_path: Path) -> Iterator[Site]:
    """Give a site with an empty log and nothing remembered, and end what it started."""
    del start  # has emptied both
    HASH.unlink(missing_ok=True)
    made = Site(lab, tmp_path)
    yield made
    for process in made.processes:
        if process.poll() is None:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def accepts(site: Site, client: str) -> bool:
    """Say whether Postfix, by the hash map alone, lets a client relay."""
    return site.lab.clients.rcpt(client, PORT).accepted


def test_a_running_sites_map_is_taken_over(site: Site) -> None:
    """Made by Perl's DB_File: who logged in within the grace stays in, an entry that no line explains goes."""
    subprocess.run(["perl", "-e", _CLASSIC_MAP, str(HASH), CLIENT, UNKNOWN], check=True)
    assert accepts(site, CLIENT)
    assert accepts(site, UNKNOWN)
    assert site.lab.clients.imap_login(CLIENT)
    assert site.run("--list").stdout == f"The database holds 2 IPs:\n\t{CLIENT}\n\t{UNKNOWN}\n"
    site.start()
    assert f"added {CLIENT} to DB" in site.said()
    assert accepts(site, CLIENT)  # from the first map on: there is no moment without it
    assert not accepts(site, UNKNOWN)
    assert site.run("--list").stdout == f"The database holds 1 IP:\n\t{CLIENT}\n"


def test_a_login_opens_and_the_grace_closes_in_the_classics_words(site: Site) -> None:
    """Log lines as they are grepped for, by $grace of the file, and exit status 1 after SIGTERM."""
    site.configure(grace="2 + 1")
    process = site.start()
    assert not accepts(site, OTHER)
    assert site.lab.clients.pop3_login(OTHER)
    wait_for("it may relay", lambda: accepts(site, OTHER))
    site.wait_for(f"removed {OTHER} from DB")
    wait_for("it may no longer", lambda: not accepts(site, OTHER))
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=15) == 1
    lines = site.said().splitlines()
    assert lines[0].endswith(" starting up (v" + site.run("--version").stdout.split()[1] + ")")
    assert re.fullmatch(r"[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8} ", lines[0][:16])
    assert [line[16:] for line in lines if OTHER in line] == [f"added {OTHER} to DB", f"removed {OTHER} from DB"]
    assert "caught SIGTERM -- exiting" in site.said()


def test_an_init_script_starts_and_kills_it_by_its_pid_file(site: Site, tmp_path: Path) -> None:
    """--daemon returns 0 when it is ready, with the process id and a newline in the file."""
    pid_file = tmp_path / "pop-before-smtp.pid"
    assert site.run(f"--daemon={pid_file}", "--nodebug", "--flock").returncode == 0
    pid = int(pid_file.read_text().removesuffix("\n"))
    assert site.lab.clients.imap_login(CLIENT)
    wait_for("it may relay", lambda: accepts(site, CLIENT))
    os.kill(pid, signal.SIGTERM)
    wait_for("it is gone", lambda: not pid_file.exists())
    assert "caught SIGTERM -- exiting" in site.said()


def test_a_classic_daemon_that_was_stopped_is_swept_after(site: Site) -> None:
    """The sweep reads the classic's configuration too: a window goes on to its end, and no further."""
    site.configure(grace="10")
    process = site.start()
    assert site.lab.clients.imap_login(CLIENT)
    wait_for("it may relay", lambda: accepts(site, CLIENT))
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=15) == 1
    sweep = [sys.executable, "-m", "popbeforesmtp", "sweep", "--config", str(site.conf)]
    subprocess.run(sweep, check=True)
    assert accepts(site, CLIENT)

    def swept() -> bool:
        subprocess.run(sweep, check=True)
        return not accepts(site, CLIENT)

    wait_for("it may no longer", swept)


def test_the_log_is_opened_again_at_sighup(site: Site) -> None:
    """As logrotate asks for; and the configuration is read again."""
    process = site.start()
    rotated = site.log.rename(f"{site.log}.1")
    process.send_signal(signal.SIGHUP)
    wait_for("a new log", site.log.exists)
    assert site.lab.clients.imap_login(CLIENT)
    site.wait_for(f"added {CLIENT} to DB")
    assert "added" not in rotated.read_text()


def test_lines_come_through_syslogs_pipe(site: Site) -> None:
    """--watchlog=- reads standard input until it ends, and then the status is not 0."""
    process = site.start("--watchlog", "-", stdin=subprocess.PIPE)
    line = f"imap-login: Login: user=<alice>, method=PLAIN, rip={CLIENT}, lip=198.51.100.1, mpid=1, session=<AAAA>"
    stamp = subprocess.run(["date", "+%b %e %T"], capture_output=True, text=True, check=True).stdout.strip()
    assert process.stdin is not None
    process.stdin.write(f"{stamp} mx1 dovecot: {line}\n".encode())
    process.stdin.flush()
    wait_for("it may relay", lambda: accepts(site, CLIENT))
    process.stdin.close()
    assert process.wait(timeout=15) == 1


def test_a_pattern_of_the_sites_own_opens_for_its_program_alone(site: Site) -> None:
    """Any other program's line with the same text opens nothing, nor does what is no address."""
    with site.conf.open("a") as conf:
        conf.write("$pat = '^[LOGTIME] \\S+ mypopd(?:-ssl)?\\[\\d+\\]: login from (\\S+)';\n1;\n")
    site.start()
    for tag, text in (("other", f"login from {UNKNOWN}"), ("mypopd", "login from 192.0.2.999"), ("mypopd-ssl", "")):
        command = ["logger", "--id=77", "-p", "mail.info", "-t", tag, text or f"login from {CLIENT}"]
        subprocess.run(command, check=True)
    wait_for("it may relay", lambda: accepts(site, CLIENT))
    assert not accepts(site, UNKNOWN)
    assert "192.0.2.999" not in site.said()


def test_an_open_session_outlives_the_grace(site: Site) -> None:
    """By $out_pat: until it ends, and a grace longer."""
    site.configure(grace="8")  # the log counts as read five seconds after the start
    with site.conf.open("a") as conf:
        conf.write(
            "$out_pat = '^[LOGTIME] \\S+ dovecot: imap-login: Disconnected.* rip=(\\d+\\.\\d+\\.\\d+\\.\\d+),';\n1;\n"
        )
    site.start()
    assert site.lab.clients.imap_login(OTHER)  # logouts are being seen
    site.wait_for(f"removed {OTHER} from DB")
    raw = site.lab.clients(lambda: socket.create_connection((SERVER4, 143), source_address=(CLIENT, 0)))
    try:
        raw.sendall(b"a login alice secret\r\n")
        site.wait_for(f"added {CLIENT} to DB")
        assert site.lab.clients.imap_login(OTHER)  # a window as long as the grace, begun later than ours
        wait_for("the other's is over", lambda: site.said().count(f"removed {OTHER} from DB") == 2)
        assert accepts(site, CLIENT)
        raw.sendall(b"b logout\r\n")
    finally:
        raw.close()
    site.wait_for(f"removed {CLIENT} from DB")
    wait_for("it may no longer", lambda: not accepts(site, CLIENT))


def test_what_migrate_writes_lets_the_same_client_in(site: Site, start: Callable[..., Daemon], lab: Lab) -> None:
    """The same map, by `run` and TOML."""
    migrate = [sys.executable, "-m", "popbeforesmtp", "migrate", str(site.conf)]
    text = subprocess.run(migrate, capture_output=True, text=True, check=True).stdout
    assert 'grace = "1800s"' in text
    daemon = start(more=text.replace('grace = "1800s"', "").replace(f'log = "{site.log}"', ""))
    assert lab.clients.imap_login(CLIENT)
    wait_for("it may relay", lambda: accepts(site, CLIENT))
    assert daemon.stop() == 0


def test_a_user_without_rights_tries_it_out(site: Site) -> None:
    """--debug --nowrite writes to standard output what would be done, and touches neither map nor store."""
    site.configure()
    LOG.chmod(0o644)
    Path(site.conf).chmod(0o644)
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *site.command("--debug", "--nowrite")]
    for folder in (site.conf.parent, *site.conf.parent.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    try:
        assert site.lab.clients.imap_login(CLIENT)
        seen = []
        for line in process.stdout:
            seen.append(line)
            if "added" in line:
                break
        assert f"found ip={CLIENT} (0)" in "".join(seen)
        assert f"added {CLIENT} to DB" in seen[-1]
        assert not HASH.exists()
    finally:
        process.kill()
        process.communicate()
