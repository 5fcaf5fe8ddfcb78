import pytest

from lalepass_service.core.errors import InvalidInput
from lalepass_service.core.identifiers import (
    canonical_display_name,
    canonical_email,
    canonical_localpart,
    canonical_phone,
)
from tests.odd_input import ODD_USERS, OddUser

ODD_EVERYWHERE = ["", " ", "\0", "\n", "\ud800", "a\0b", pytest.param("x" * 100_000, id="100 kB")]


@pytest.mark.parametrize(
    "localpart",
    ["a", "alice", "a.b_c=d-e/f+g", "0", "_bridge_x", "-", pytest.param("a" * 252, id="252")],
)
def test_a_localpart_of_the_matrix_grammar_is_kept_as_it_is(localpart: str) -> None:
    assert localpart == canonical_localpart(localpart)


@pytest.mark.parametrize(
    "localpart",
    [
        *ODD_EVERYWHERE,
        "Alice",
        pytest.param("a" * 253, id="253"),
        "alice ",
        "alice\n",
        "@alice",
        "al!ce",
        "a:b",
        "müller",
    ],
)
def test_anything_else_is_no_localpart(localpart: str) -> None:
    with pytest.raises(InvalidInput):
        canonical_localpart(localpart)


@pytest.mark.parametrize("odd", ODD_USERS, ids=lambda odd: odd.why)
def test_nothing_odd_is_a_localpart(odd: OddUser) -> None:
    with pytest.raises(InvalidInput):
        canonical_localpart(odd.typed("hs.example"))


@pytest.mark.parametrize(
    ("typed", "canonical"),
    [
        ("Alice@Example.ORG", "alice@example.org"),
        ("a.b+c@example.org", "a.b+c@example.org"),
        ("STRASSE@example.org", "strasse@example.org"),
        ("straße@example.org", "strasse@example.org"),
        # the domain is another one, and belongs to somebody else
        ("a@Straße.example", "a@straße.example"),
        ("mu\u0308ller@example.org", "m\u00fcller@example.org"),
        ("M\u00dcLLER@example.org", "m\u00fcller@example.org"),
        ("a%b_c'd@example.org", "a%b_c'd@example.org"),
    ],
)
def test_spellings_of_one_address_are_one_address(typed: str, canonical: str) -> None:
    assert canonical == canonical_email(typed)
    assert canonical == canonical_email(canonical)


@pytest.mark.parametrize(
    "address",
    [
        *ODD_EVERYWHERE,
        "alice",
        "@example.org",
        "alice@",
        "a@b@c",
        "a b@example.org",
        "alice@example.org\n",
        "a\0@example.org",
        "\ud800@example.org",
        pytest.param("a" * 243 + "@example.org", id="255"),
    ],
)
def test_anything_else_is_no_address(address: str) -> None:
    with pytest.raises(InvalidInput):
        canonical_email(address)


@pytest.mark.parametrize("typed", ["+491701234567", "+49 170 1234567", "+49 (170) 123-45.67"])
def test_spellings_of_one_number_are_one_number(typed: str) -> None:
    assert canonical_phone(typed) == "491701234567"


@pytest.mark.parametrize(
    "number",
    [
        *ODD_EVERYWHERE,
        "491701234567",
        "+0491701234567",
        "00491701234567",
        "+1234",
        "+1234567890123456",
        "++491701234567",
        "+49170123456\u0667",
        "+49170abc4567",
        "+491701234567\n",
    ],
)
def test_anything_else_is_no_number(number: str) -> None:
    with pytest.raises(InvalidInput):
        canonical_phone(number)


def test_a_display_name_is_trimmed_and_composed() -> None:
    assert canonical_display_name("  Mu\u0308ller \U0001f600 ") == "M\u00fcller \U0001f600"


@pytest.mark.parametrize(
    "name", [*ODD_EVERYWHERE, "a\tb", "a\x85b", pytest.param("x" * 257, id="257")]
)
def test_control_characters_and_excess_are_no_display_name(name: str) -> None:
    with pytest.raises(InvalidInput):
        canonical_display_name(name)
