"""One lab for all end-to-end tests, a fresh daemon for each; and the number of tests that must have run."""

import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.lab import LOG, MAP, Daemon, Lab

AT_LEAST = 418
"""How many of these tests must run, and pass, where the whole suite does (`make test`)."""

_passed: list[str] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, by name, where there is no lab."""
    if "POPBEFORESMTP_LAB" not in os.environ:
        for item in items:
            if "end_to_end" in item.path.parts:
                item.add_marker(pytest.mark.skip(reason="run through tests/end_to_end/enter, as root"))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep the names of the tests that passed."""
    if report.when == "call" and report.passed and "end_to_end" in report.nodeid:
        _passed.append(report.nodeid.partition("::")[2])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of the servers' log beside a test that failed: it says what they were doing meanwhile."""
    report = yield
    if report.failed and "end_to_end" in item.path.parts and LOG.exists():
        report.sections.append((str(LOG), LOG.read_bytes()[-8000:].decode(errors="replace")))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print which end-to-end tests ran, and how many."""
    if _passed:
        terminalreporter.section("end-to-end tests that ran with real servers")
        for name in _passed:
            terminalreporter.write_line(name)
        terminalreporter.write_line(f"{len(_passed)} end-to-end tests passed")


def pytest_sessionfinish() -> None:
    """Tell how many ran to whoever runs them all."""
    if "POPBEFORESMTP_COUNTS" in os.environ:
        with Path(os.environ["POPBEFORESMTP_COUNTS"]).open("a") as counts:
            counts.write(f"{len(_passed)}\n")


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Start the servers, once."""
    started = Lab(tmp_path_factory.mktemp("lab"))
    started.start()
    yield started
    started.stop()


@pytest.fixture
def start(lab: Lab, tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Start pop-before-smtp with nothing remembered, on an empty log."""
    daemons: list[Daemon] = []
    for state in MAP.parent.glob("state.sqlite*"):
        state.unlink()
    Path("/var/log/mail.log.1").unlink(missing_ok=True)
    os.truncate(LOG, 0)

    def start(*, grace: str = "30m", more: str = "") -> Daemon:
        daemon = Daemon(lab.config(grace=grace, more=more), tmp_path / "daemon.log").ready()
        daemons.append(daemon)
        return daemon

    yield start
    while lab.clients.sessions:
        lab.clients.sessions.pop().close()
    for daemon in daemons:
        if daemon.process.poll() is None:
            daemon.stop()
        assert "Traceback" not in daemon.said()
