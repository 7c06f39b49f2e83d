"""A machine that has nothing of what is looked for: no log, no mail server, no units."""

from pathlib import Path

import pytest

from popbeforesmtp import detect, postconf
from popbeforesmtp.links import units
from popbeforesmtp.snippets import exim


def strip(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Have everything looked for in an empty folder."""
    monkeypatch.setattr(detect, "MAIL_LOGS", (folder / "mail.log",))
    monkeypatch.setattr(detect, "JOURNALS", (folder / "journal",))
    monkeypatch.setattr(postconf, "_PATH", str(folder))
    monkeypatch.setattr(units, "SYSTEMD", folder / "systemd")
    monkeypatch.setattr(units, "CRONTABS", (folder / "crontab",))
    monkeypatch.setattr(exim, "DEBIAN", folder / "update-exim4.conf.conf")
    monkeypatch.setattr(detect, "SENDMAIL", folder / "sendmail.mc")
