"""What postconf prints, and what of it asks us."""

from pathlib import Path

import pytest

from popbeforesmtp.links._ours import Ours, hurdles, is_asked, policy_options
from popbeforesmtp.links._postfix import Postfix, understand
from popbeforesmtp.links._restrictions import Restriction

SPOOL = "/var/spool/postfix"
US = Ours(
    ("lmdb:/var/lib/pop-before-smtp/clients",),
    (f"socketmap:unix:{SPOOL}/pop-before-smtp/map", f"policy:unix:{SPOOL}/pop-before-smtp/policy"),
    Path(SPOOL),
)
ASK = "check_client_access socketmap:unix:pop-before-smtp/map:clients"
MASTER = """\
smtp       inet  n       -       y       -       -       smtpd
submission inet  n       -       n       -       -       smtpd -o smtpd_relay_restrictions=reject
smtps      inet  n       -       -       -       -       smtpd
qmgr       unix  n       -       n       300     1       qmgr
"""
OVERRIDES = "submission/inet/smtpd_relay_restrictions = permit_sasl_authenticated,reject\n"


def postfix(relay: str = f"permit_mynetworks, permit_auth_destination, {ASK}, reject", more: str = "") -> Postfix:
    """Return a Postfix with these lines."""
    main = f"compatibility_level = 3.6\nqueue_directory = {SPOOL}\nsmtpd_relay_restrictions = {relay}\n{more}"
    return understand(main, MASTER, OVERRIDES)


def test_each_smtpd_has_its_own_overrides_and_root_folder() -> None:
    """What is no smtpd is no service; a dash means no chroot since compatibility level 1."""
    services = postfix().services
    assert [(each.name, each.chroot) for each in services] == [
        ("smtp/inet", True), ("submission/inet", False), ("smtps/inet", False)
    ]  # fmt: skip
    assert services[1].value("smtpd_relay_restrictions") == "permit_sasl_authenticated,reject"
    old = understand("compatibility_level = 0\n", MASTER, "")
    assert old.services[2].chroot


def test_who_is_asked_and_who_is_not() -> None:
    """Its own list overrides that of main.cf."""
    smtp, submission, _ = postfix().services
    assert is_asked(US, smtp)
    assert not is_asked(US, submission)
    assert hurdles(US, submission)[1] == [("relay", Restriction("reject"))]


@pytest.mark.parametrize(
    ("check", "chroot", "right"),
    [
        (ASK, True, True),
        (ASK, False, True),
        (f"check_client_access socketmap:unix:{SPOOL}/pop-before-smtp/map:clients", False, True),
        (f"check_client_access socketmap:unix:{SPOOL}/pop-before-smtp/map:clients", True, False),
        ("check_client_access socketmap:unix:/pop-before-smtp/map:clients", True, True),
        ("check_client_access socketmap:unix:/pop-before-smtp/map:clients", False, False),
        ("check_client_access lmdb:/var/lib/pop-before-smtp/clients", True, True),
        ("check_client_access proxy:lmdb:/var/lib/pop-before-smtp/clients", True, True),
        ("check_client_access hash:/var/lib/pop-before-smtp/clients", True, False),
        ("check_sender_access lmdb:/var/lib/pop-before-smtp/clients", True, False),
        ("check_policy_service unix:pop-before-smtp/policy", True, True),
        ("check_policy_service { unix:pop-before-smtp/policy, timeout=2s }", False, True),
        ("check_policy_service unix:pop-before-smtp/map", True, False),
    ],
)
def test_a_name_is_followed_as_postfix_follows_it(check: str, chroot: bool, right: bool) -> None:
    """Measured (mta.md): relative with and without a chroot, absolute below it or on the whole machine."""
    service = next(each for each in postfix().services if each.chroot is chroot)
    restriction = Restriction(*check.split(" ", 1))
    assert US.means(restriction)
    assert (US.problem(restriction, service) is None) is right


def test_a_map_in_mynetworks_asks_us_too() -> None:
    """There it is exact, and permit_mynetworks is the question."""
    found = postfix("permit_mynetworks, reject", f"mynetworks = 127.0.0.0/8, {US.maps[0]}\n")
    assert is_asked(US, found.services[0])


def test_overrides_are_mended_where_they_stand() -> None:
    """`postconf -P` takes no blanks (3.7); what cannot do without is a line for master.cf."""
    smtp, submission, _ = postfix().services
    assert smtp.setting("smtpd_relay_restrictions", "a, b c") == "postconf -e 'smtpd_relay_restrictions = a, b c'"
    wanted = "postconf -P 'submission/inet/smtpd_relay_restrictions=a,b,c'"
    assert submission.setting("smtpd_relay_restrictions", "a, b c") == wanted
    assert submission.setting("smtpd_relay_restrictions", "b { c }").startswith("master.cf, submission/inet: -o {")


def test_the_options_of_a_policy_service_are_read() -> None:
    """Those with blanks have braces of their own."""
    found = policy_options("{ unix:x, timeout=2s, { default_action=DEFER 4.3.0 later } }")
    assert found == {"timeout": "2s", "default_action": "DEFER 4.3.0 later"}
    assert policy_options("unix:x") == {}
