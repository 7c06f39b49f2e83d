"""``make run`` shows the real daemon at work, and leaves nothing behind."""

import signal
import subprocess
import sys
from pathlib import Path

DEMO = Path(__file__).parents[1] / "contrib" / "demo" / "demo.py"


def test_the_demonstration_shows_grants_and_expiries_and_cleans_up() -> None:
    """On a machine without logins it plays a log; SIGTERM ends it with 0."""
    demo = subprocess.Popen(
        [sys.executable, str(DEMO), "--demo", "--grace", "3s"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert demo.stdout is not None
    said = []
    for line in demo.stdout:
        said.append(line)
        if "expired client=192.0.2.10" in line:
            demo.send_signal(signal.SIGTERM)
    assert demo.wait(timeout=20) == 0
    demo.stdout.close()
    text = "".join(said)
    assert "granted client=192.0.2.10 user=alice service=pop3" in text
    assert 'refused client=127.0.0.2 user=bob reason="never-authorized network"' in text
    assert "stopping reason=SIGTERM" in text
    folder = Path(text.partition("Following ")[2].partition("/mail.log")[0])
    assert folder.name.startswith("pop-before-smtp.")
    assert not folder.exists()
