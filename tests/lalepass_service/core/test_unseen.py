"""Which characters are none, and which can't be seen, at the edges of what is told apart."""

import pytest

from lalepass_service.core.unseen import is_no_text, is_seen


@pytest.mark.parametrize(
    "character", ["\0", "\x7f", "\x85", "\ud800", "\ufdd0", "\ufdef", "\ufffe", "\U0010ffff"]
)
def test_what_is_no_text(character: str) -> None:
    assert is_no_text(character)


@pytest.mark.parametrize("character", ["a", " ", "\ufdcf", "\ufdf0", "\ufffd", "\u00ad", "\ue000"])
def test_what_is_text(character: str) -> None:
    assert not is_no_text(character)


@pytest.mark.parametrize(
    "character", ["\x07", "\x85", "\ud800", "\u00ad", " ", "\u2028", "\u0301", "\u3164"]
)
def test_what_can_not_be_seen(character: str) -> None:
    assert not is_seen(character)


@pytest.mark.parametrize("character", ["a", "7", "\u00e9", "\u6f22", "_", "+", "\U0001f600"])
def test_what_can_be_seen(character: str) -> None:
    assert is_seen(character)
