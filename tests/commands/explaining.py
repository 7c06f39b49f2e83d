"""A daemon and what ``explain`` says of it, line by line, for tests."""

import re
from datetime import UTC, datetime

from tests.site import CLIENT, Site, map_section, wait_for

NONE_SEEN = "logins seen: none that the daemon remembers"
SEEN = "logins seen, the newest first:"
LOG_IN = "to let it relay: log in to POP or IMAP from there, or `pop-before-smtp grant ADDRESS`"
RULES = [
    "written by the server itself",
    "names an account",
    "somebody proved who they are",
    "has a time",
    "the time is not in the future",
    "younger than its grace period",
    "the address may be authorized at all",
    "the address needs an authorization",
    "later than every revocation",
    "the service opens relay",
    "encrypted, where that is asked for",
    "the mechanism opens relay",
    "the account is not denied",
    "the account opens relay",
    "few enough accounts on the address",
    "few enough addresses of the account",
    "few enough clients let in within the last minute",
    "few enough clients that may relay",
]


def begin(site: Site, **changes: str) -> None:
    """Start a daemon with a map of its own."""
    section = map_section(site.folder / "clients")
    site.configure(**{**changes, "more": f"{changes.get('more', '')}\n{section}"})
    site.start()
    site.ready()


def write(site: Site, text: bytes, time: datetime | None = None) -> None:
    """Let Dovecot write a line."""
    stamp = (time or datetime.now(UTC)).isoformat().encode()
    with site.log.open("ab") as log:
        log.write(b"%b mx1 dovecot: %b\n" % (stamp, text))


def login(user: bytes, client: str, service: bytes = b"imap", session: bytes = b"abc") -> bytes:
    """Return what Dovecot writes when somebody logs in."""
    return b"%b-login: Login: user=<%b>, method=PLAIN, rip=%b, lip=198.51.100.1, mpid=7, session=<%b>" % (
        service,
        user,
        client.encode(),
        session,
    )


def log_in(site: Site, client: str = CLIENT, user: str = "alice") -> str:
    """Log in; return until when that opens relay, as people read it."""
    site.login(client, user=user)
    wait_for("the login is granted", lambda: client in site.windows())
    return local(site.windows()[client])


def local(time: str | datetime) -> str:
    """Write a time as the command does."""
    moment = datetime.fromisoformat(time) if isinstance(time, str) else time
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


def explain(site: Site, who: str, status: int) -> list[str]:
    """Return the lines, with short names for what no test can know; all rules that pass are one line."""
    done = site.command("explain", "--config", site.config, who)
    assert (done.returncode, done.stderr) == (status, "")
    text = done.stdout.replace(str(site.folder), "SITE")
    text = re.sub(r"\bid [0-9a-f]{12}\b", "id ID", text)
    passes = "".join(f"  passes  {rule}\n" for rule in RULES)
    if passes in text:
        return text.replace(passes, "  passes  (every rule)\n").splitlines()
    return re.sub(r"(  passes  .+\n)+", "  passes  …\n", text).splitlines()
