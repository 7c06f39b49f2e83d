"""Globs of account names."""

import time

import pytest

from popbeforesmtp.accounts import EVERYBODY, NOBODY, Accounts


@pytest.mark.parametrize(
    ("globs", "inside", "outside"),
    [
        (["alice"], ["alice", "ALICE"], ["alice2", "malice", "alice@example.com", ""]),
        (
            ["*@example.com"],
            ["a@example.com", "A@EXAMPLE.COM", "@example.com"],
            ["a@example.com.evil", "a@sub.example.com"],
        ),
        (["scan??"], ["scan01", "SCANab"], ["scan1", "scan001"]),
        (["[ab]ob"], ["aob", "BOB"], ["cob", "[ab]ob"]),
        (["[!a]lice"], ["blice"], ["alice"]),
        (["a.c", "x|y"], ["a.c", "x|y"], ["abc", "x", "y"]),
        (["[", "a]"], ["[", "a]"], ["a"]),
        (["Stra\u00dfe"], ["STRASSE", "stra\u00dfe"], ["strase"]),
        (["*"], ["", "anybody", "\udcff\n"], []),
        ([], [], ["", "alice"]),
        (["a*", "b*", "carol"], ["a", "bc", "carol"], ["carola", "xa", "x\na"]),
        (["a*b"], ["a\nb"], ["a\nb\n", "ab\n"]),
        (["caf\udce9"], ["caf\udce9"], ["caf\u00e9"]),
    ],
)
def test_a_glob_fits_whole_names_in_upper_and_lower_case(
    globs: list[str], inside: list[str], outside: list[str]
) -> None:
    """And everything but ``*``, ``?`` and ``[…]`` stands for itself."""
    accounts = Accounts(globs)
    assert [name for name in inside if name not in accounts] == []
    assert [name for name in outside if name in accounts] == []


def test_everybody_and_nobody_are_what_they_are_called() -> None:
    """The defaults of ``accounts`` and ``deny_accounts``."""
    assert "alice" in EVERYBODY
    assert "alice" not in NOBODY
    assert Accounts(["b", "a"]) == Accounts(["a", "b"]) != Accounts(["a"])
    assert (str(Accounts(["a", "b*"])), str(NOBODY)) == ("a, b*", "none")


def test_no_name_takes_long() -> None:
    """Whatever stranger chose it, and however many stars a glob has: not a second for 64 KiB."""
    accounts = Accounts(["*a" * 20 + "b"] * 3)
    started = time.process_time()
    assert "a" * 65_536 not in accounts
    assert time.process_time() - started < 1
