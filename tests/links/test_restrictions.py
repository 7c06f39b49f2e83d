"""Postfix's restriction lists, read as Postfix reads them, judged and mended."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popbeforesmtp.links._restrictions import (
    Fate,
    Restriction,
    before,
    claims,
    fate,
    is_strict,
    mend_checks,
    mend_relay,
    parse,
    shown,
)

ASK = Restriction("check_client_access", "socketmap:unix:pop-before-smtp/map:clients")


def meant(each: Restriction) -> bool:
    """Say whether it is ours."""
    return "pop-before-smtp" in each.argument


def read(text: str, name: str = "relay", **classes: str) -> tuple[Restriction, ...]:
    """Read a list."""
    return parse(text, name, classes)


def test_commas_blanks_braces_and_line_ends_separate() -> None:
    """An argument stands behind some, braces hold blanks, and words are case-insensitive."""
    found = read("Permit_mynetworks,check_policy_service\n { unix:x, timeout=2s, { default_action=DEFER a b } } reject")
    assert [str(each) for each in found] == [
        "permit_mynetworks",
        "check_policy_service { unix:x, timeout=2s, { default_action=DEFER a b } }",
        "reject",
    ]


def test_a_table_alone_is_the_check_of_its_list() -> None:
    """access(5): in the client list the client's, in the recipient list the recipient's."""
    assert str(read("hash:/etc/x", "client")[0]) == "check_client_access hash:/etc/x"
    assert str(read("hash:/etc/x", "recipient")[0]) == "check_recipient_access hash:/etc/x"
    assert str(read("hash:/etc/x", "relay")[0]) == "check_recipient_access hash:/etc/x"


def test_classes_stand_for_what_is_in_them() -> None:
    """Also one in another, and one in itself does not go on for ever."""
    found = read("outer, reject", outer="inner, permit_mynetworks", inner="permit_auth_destination")
    assert shown(found) == "permit_auth_destination, permit_mynetworks, reject"
    assert read("again", again="again")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("permit_mynetworks, reject", Fate.REFUSED),
        ("permit_mynetworks, defer_unauth_destination", Fate.REFUSED),
        ("permit_mynetworks, permit, reject", Fate.LET_IN),
        ("check_client_access static:OK, reject", Fate.LET_IN),
        ("check_client_access static:DUNNO, reject", Fate.REFUSED),
        ("permit_mynetworks, warn_if_reject reject", Fate.NEXT),
        ("reject_unknown_client_hostname", Fate.NEXT),
        ("", Fate.NEXT),
    ],
)
def test_what_becomes_of_a_strangers_mail_to_others(text: str, expected: Fate) -> None:
    """What is refused for other reasons, or only with a warning, does not count."""
    assert fate(read(text))[0] is expected


def test_what_clients_say_of_themselves_is_no_proof() -> None:
    """In front of the end it lets in whoever claims it; behind, nobody comes there."""
    assert claims(read("check_sender_access hash:/x, reject")) == Restriction("check_sender_access", "hash:/x")
    assert claims(read("check_helo_access hash:/x, reject")) is not None
    assert claims(read("check_client_access hash:/x, reject")) is None
    assert claims(read("reject, check_sender_access hash:/x")) is None


def test_what_roaming_clients_fail() -> None:
    """Blocklists, missing names, greylisting; a policy service of ours is none."""
    strict = "reject_rbl_client x, reject_rhsbl_helo x, reject_unknown_client_hostname, check_policy_service inet:a:1"
    assert all(is_strict(each, meant) for each in read(strict))
    mild = "reject_unknown_recipient_domain, check_policy_service unix:pop-before-smtp/policy, warn_if_reject"
    assert not any(is_strict(each, meant) for each in read(f"{mild} reject_rbl_client x"))


def test_a_mended_list_keeps_what_is_the_administrators() -> None:
    """And has us once, behind permit_auth_destination and in front of the end."""
    mended = mend_relay(read("permit_mynetworks, permit_tls_clientcerts, defer_unauth_destination"), ASK, meant)
    assert shown(mended) == f"permit_mynetworks, permit_tls_clientcerts, permit_auth_destination, {ASK}, reject"
    assert mend_relay(mended, ASK, meant) == mended
    checks = mend_checks(read("permit_auth_destination, reject_rbl_client x, permit", "recipient"), ASK, meant)
    assert shown(checks) == f"{ASK}, reject_rbl_client x, permit"
    assert mend_checks(checks, ASK, meant) == checks


WORDS = st.sampled_from(
    ["permit_mynetworks", "permit", "reject", "reject_unauth_destination", "permit_auth_destination", "warn_if_reject",
     "reject_rbl_client x", "check_sender_access hash:/x", "check_client_access static:OK", str(ASK), "hash:/x"]
)  # fmt: skip


@given(st.lists(WORDS, max_size=8))
def test_whatever_was_there_a_mended_list_is_no_open_relay(words: list[str]) -> None:
    """It refuses strangers, believes nobody's claims, asks us once, and inbound mail does not wait for us."""
    mended = mend_relay(read(", ".join(words)), ASK, meant)
    assert fate(mended) == (Fate.REFUSED, mended[-1])
    assert claims(mended) is None
    assert [each for each in mended if meant(each)] == [ASK]
    assert before(mended, "permit_auth_destination", mended.index(ASK))


@given(st.text())
def test_no_text_breaks_the_reader(text: str) -> None:
    """main.cf is not ours."""
    fate(read(text))
