"""What the links of Postfix say of a configuration, as far as postconf alone tells it; the real one is end to end."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from popbeforesmtp.addresses import NO_NETWORKS
from popbeforesmtp.config import Section, Settings
from popbeforesmtp.detect import Found
from popbeforesmtp.links import (
    Finding,
    Level,
    Machine,
    postfix_checks,
    postfix_inbound,
    postfix_lookup,
    postfix_postscreen,
    postfix_relay,
)
from tests.clocks import FakeClock
from tests.links.test_postfix import ASK, US, postfix

Look = Callable[[Machine], Iterable[Finding]]


def machine(more: str = "", **settings: str) -> Machine:
    """Return a machine whose Postfix has these lines, and whose daemon offers a map and both sockets."""
    made = Machine(Settings(), FakeClock())
    section = Section("postfix", settings, {}, None)
    made.__dict__.update(  # what it would ask for, once
        postfix=postfix(more=more),
        map_names=list(US.maps),
        lookup_names=list(US.sockets),
        _answers=(None, None, None),
        _found=(Found((), (section,), (), NO_NETWORKS), None),
    )
    made.__dict__["_wanted_maps"], made.__dict__["_wanted_lookups"] = list(US.maps), list(US.sockets)
    return made


def said(look: Look, on: Machine, level: Level) -> list[str]:
    """Return what a link says."""
    return [f"{finding.found} -> {finding.change}" for finding in look(on) if finding.level is level]


def test_a_submission_service_that_does_not_ask_is_no_fault() -> None:
    """Most want those who send there to authenticate; whoever does not is told the very command."""
    assert said(postfix_lookup.look, machine(), Level.WRONG) == []
    assert said(postfix_lookup.look, machine(), Level.NOTE) == [
        "submission/inet does not ask us: who sends there must authenticate -> if roaming clients send there too:"
        " postconf -P 'submission/inet/smtpd_relay_restrictions=permit_mynetworks,permit_sasl_authenticated,"
        "permit_auth_destination,check_client_access,socketmap:unix:pop-before-smtp/map:clients,reject'"
    ]


def test_what_main_cf_says_is_said_once() -> None:
    """However many services have it from there."""
    found = said(postfix_checks.look, machine("smtpd_helo_restrictions = reject_invalid_helo_hostname\n"), Level.WRONG)
    assert len(found) == 1
    assert found[0].endswith(
        f"'smtpd_helo_restrictions = check_client_access {US.maps[0]}, reject_invalid_helo_hostname'"
    )


def test_without_a_map_the_policy_service_spares_the_checks() -> None:
    """Never the socketmap, which would put inbound mail off."""
    on = machine("smtpd_client_restrictions = reject_unknown_client_hostname\n")
    on.__dict__["map_names"] = []
    (found,) = said(postfix_checks.look, on, Level.WRONG)
    assert (
        "check_policy_service { unix:pop-before-smtp/policy, timeout=2s, try_limit=1, default_action=DUNNO }" in found
    )


def test_our_own_policy_service_is_no_greylisting() -> None:
    """Written as contrib/postfix/policy.cf has it."""
    service = "check_policy_service { unix:pop-before-smtp/policy, timeout=2s, try_limit=1, default_action=DUNNO }"
    on = machine(f"smtpd_recipient_restrictions = {service}, reject_rbl_client rbl.example\n")
    for look in (postfix_checks.look, postfix_inbound.look, postfix_relay.look):
        assert said(look, on, Level.WRONG) == []


@pytest.mark.parametrize(("result", "sound"), [("OK", False), ("permit", True)])
def test_postscreen_understands_permit_alone(result: str, sound: bool) -> None:
    """Its access list is asked, and the word is what counts."""
    on = machine(
        "postscreen_dnsbl_sites = rbl.example\n"
        f"postscreen_access_list = {US.maps[0]}\npostscreen_dnsbl_action = drop\n",
        result=result,
    )
    on.__dict__["postfix"] = replace(on.__dict__["postfix"], postscreen=True)
    assert (said(postfix_postscreen.look, on, Level.WRONG) == []) is sound


def test_a_relay_list_of_ours_is_well() -> None:
    """The check itself is where it belongs."""
    assert ASK in postfix().parameters["smtpd_relay_restrictions"]
    for look in (postfix_relay.look, postfix_inbound.look, postfix_checks.look):
        assert said(look, machine(), Level.WRONG) == []
