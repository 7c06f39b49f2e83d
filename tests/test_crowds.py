"""Counts of accounts and addresses, by themselves."""

from popbeforesmtp.active import mark
from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.crowds import CROWD, Crowds
from tests.test_pipeline import CLIENT

OTHER = ClientAddress("192.0.2.11")


def test_a_single_account_costs_nothing() -> None:
    """The active set knows it by its mark."""
    crowds = Crowds()
    crowds.granted(CLIENT, "alice", 100.0, None)
    crowds.granted(CLIENT, "alice", 200.0, (mark("alice"), 100.0))
    assert not crowds._accounts
    assert crowds.accounts(CLIENT, "alice", 0.0, (mark("alice"), 200.0)) == 0
    assert crowds.accounts(CLIENT, "bob", 0.0, (mark("alice"), 200.0)) == 1
    assert crowds.accounts(CLIENT, "bob", 200.0, (mark("alice"), 200.0)) == 0


def test_accounts_count_until_their_own_ends() -> None:
    """To the second, and a shorter login makes none shorter."""
    crowds = Crowds()
    crowds.granted(CLIENT, "bob", 200.0, (mark("alice"), 100.0))
    crowds.granted(CLIENT, "bob", 150.0, (mark("bob"), 200.0))
    assert crowds.accounts(CLIENT, "carol", 99.9, None) == 2
    assert crowds.accounts(CLIENT, "carol", 100.0, None) == 1
    assert crowds.accounts(CLIENT, "carol", 200.0, None) == 0


def test_exactly_so_many_accounts_are_a_crowd() -> None:
    """One fewer is none, nor is one whose window has just ended."""
    crowds = Crowds()
    for number in range(CROWD - 1):
        crowds.granted(CLIENT, f"u{number}", 100.0, (mark("u0"), 100.0))
    assert crowds.crowded(0.0) == []
    crowds.granted(CLIENT, "last", 200.0, (mark("u0"), 100.0))
    assert crowds.crowded(0.0) == [(CLIENT, CROWD)]
    assert crowds.crowd(CLIENT, 99.9) == CROWD
    assert crowds.crowded(100.0) == []


def test_purging_lets_go_of_what_has_ended_and_of_nothing_else() -> None:
    """Of both counts."""
    crowds = Crowds(of_accounts=True)
    crowds.granted(CLIENT, "alice", 100.0, None)
    crowds.granted(CLIENT, "bob", 200.0, (mark("alice"), 100.0))
    crowds.granted(OTHER, "bob", 300.0, None)
    crowds.purge(100.0)
    assert crowds._accounts == {CLIENT: {mark("bob"): 200.0}, OTHER: {mark("bob"): 300.0}}
    assert crowds._addresses == {mark("bob"): {CLIENT: 200.0, OTHER: 300.0}}
    crowds.purge(300.0)
    assert (crowds._accounts, crowds._addresses) == ({}, {})


def test_a_client_that_ended_has_no_accounts_any_more() -> None:
    """Nor one that is told anew."""
    crowds = Crowds(of_accounts=True)
    crowds.granted(CLIENT, "bob", 200.0, (mark("alice"), 100.0))
    crowds.settle(CLIENT)
    crowds.granted(CLIENT, "carol", 200.0, None)
    assert crowds.accounts(CLIENT, "dave", 0.0, None) == 1
    assert crowds.addresses(OTHER, "bob", 0.0) == 0
    assert crowds.addresses(OTHER, "carol", 0.0) == 1
    crowds.ended(CLIENT)
    assert crowds.accounts(CLIENT, "dave", 0.0, None) == 0
