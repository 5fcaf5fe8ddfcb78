import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalepass_service.core.errors import PasswordRejected
from lalepass_service.core.model import Password
from lalepass_service.core.policy import PasswordPolicy, normal_form

POLICY = PasswordPolicy(min_length=8, max_length=16)


@pytest.mark.parametrize(
    "text",
    [
        "12345678",
        "x" * 16,
        " leading and",
        "\u05e1\u05d9\u05e1\u05de\u05d4" + "\u05d0" * 3,
        "\U0001f600" * 8,
        "a\tb\tc\td\t",
    ],
)
def test_length_is_all_that_counts(text: str) -> None:
    POLICY.examine(Password(text))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "at least 8"),
        ("1234567", "at least 8"),
        (" " * 12, "at least 8"),
        ("x" * 17, "at most 16"),
        ("nul\0nul\0nul", "typed"),
        ("surrogate\ud800", "typed"),
        # eight code points as typed, four in NFC
        ("u\u0308" * 4, "at least 8"),
    ],
)
def test_a_rejection_names_the_rule_and_not_the_password(text: str, rule: str) -> None:
    with pytest.raises(PasswordRejected, match=rule) as caught:
        POLICY.examine(Password(text))

    assert not text.strip() or text not in str(caught.value)


def test_the_same_letter_composed_differently_is_the_same_password() -> None:
    composed, decomposed = Password("M\u00fcller"), Password("Mu\u0308ller")

    assert normal_form(composed).reveal() == normal_form(decomposed).reveal()


def test_compatibility_characters_stay_different() -> None:
    assert normal_form(Password("\ufb01sh")).reveal() != normal_form(Password("fish")).reveal()


@given(st.text(max_size=40))
def test_the_normal_form_is_its_own_normal_form(text: str) -> None:
    once = normal_form(Password(text))

    assert once.reveal() == normal_form(once).reveal()
