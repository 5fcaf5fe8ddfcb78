"""Patterns for names that never leave the homeserver, and who decides about a profile."""

import fnmatch
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalepass_provider.policy import Keep, LocalUsers, ProfilePolicy, check_pattern


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("admin", ["admin", "ADMIN"]),
        ("bot-*", ["bot-", "bot-1", "Bot-A", "bot-bot-"]),
        ("*-bot", ["-bot", "a-bot", "x-bot-bot"]),
        ("a*b*c", ["abc", "aXbXc".lower(), "abbcc", "a-b-c-b-c"]),
        ("a**b", ["ab", "axb"]),
        ("*x*", ["x", "axb", "xx"]),
        ("a.b+c", ["a.b+c"]),
        ("ab*ba", ["abba", "abxba"]),
    ],
)
def test_a_pattern_matches(pattern: str, names: list[str]) -> None:
    for name in names:
        assert LocalUsers([pattern]).match(name), name


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("admin", ["admin2", "xadmin", "", "adm.n"]),
        ("bot-*", ["bot", "abot-1", "robot-1"]),
        ("*-bot", ["bot", "a-bot2"]),
        ("a*b*c", ["acb", "ab", "ac", "abca"]),
        ("a.b", ["axb"]),
        ("ab*ba", ["aba", "ab", "ba"]),
        ("a*a", ["a"]),
    ],
)
def test_a_pattern_does_not_match(pattern: str, names: list[str]) -> None:
    for name in names:
        assert not LocalUsers([pattern]).match(name), name


@given(st.text("ab*", min_size=1, max_size=12), st.text("ab", max_size=12))
def test_it_is_what_a_shell_would_match(pattern: str, name: str) -> None:
    expected = re.fullmatch(fnmatch.translate(pattern), name) is not None

    assert LocalUsers([pattern]).match(name) == expected


def test_no_pattern_takes_long() -> None:
    local_users = LocalUsers(["a*" * 120 + "b"])
    begun = time.monotonic()

    for _ in range(100):
        assert not local_users.match("a" * 252)

    # a backtracking search would need longer than the universe is old
    assert time.monotonic() - begun < 60


def test_an_account_of_this_server_is_matched_by_its_name() -> None:
    local_users = LocalUsers(["admin"])

    assert local_users.match_mxid("@Admin:hs.example")
    assert not local_users.match_mxid("@alice:admin")


def test_without_patterns_there_is_nobody() -> None:
    assert not LocalUsers()
    assert not LocalUsers().match("admin")
    assert LocalUsers(["x*"])


@pytest.mark.parametrize(
    "pattern",
    ["", "Admin", "@admin", "@admin:hs.example", "a b", "a?", "[ab]", "^a$", "a\n", "é", "x" * 253],
)
def test_what_no_localpart_could_match_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="is a localpart such as admin"):
        check_pattern(pattern)


@pytest.mark.parametrize("pattern", ["*", "**"])
def test_a_pattern_for_everybody_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="matches everybody"):
        check_pattern(pattern)


@pytest.mark.parametrize("pattern", ["admin", "a*", "_x=/+.-", "*0"])
def test_other_patterns_are_taken_as_they_are(pattern: str) -> None:
    assert check_pattern(pattern) == pattern


def test_the_parts_of_the_profile_by_how_long_lalepass_decides() -> None:
    policy = ProfilePolicy()
    assert policy.parts(Keep.ALWAYS) == {"emails", "phones"}
    assert policy.parts(Keep.ON_CREATE) == {"display_name"}
    assert policy.parts(Keep.NEVER) == {"admin"}


def test_a_login_looks_at_the_profile_if_there_is_a_part_to_decide() -> None:
    nothing = dict.fromkeys(("display_name", "emails", "phones", "admin"), Keep.NEVER)
    assert not ProfilePolicy(**nothing).needs_profile
    assert ProfilePolicy(**{**nothing, "admin": Keep.ON_CREATE}).needs_profile
    assert ProfilePolicy(**{**nothing, "phones": Keep.ALWAYS}).needs_profile
