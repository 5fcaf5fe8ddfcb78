"""Which spellings mean an account of this server, and which never leave the homeserver."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalepass_provider.identity import can_be_password, threepid_identifier, user_identifier
from lalepass_wire import EmailIdentifier, PhoneIdentifier, UserIdentifier
from tests.odd_input import ODD_USERS, OddUser

HERE = "hs.example"


@pytest.mark.parametrize(
    "typed",
    ["alice", "Alice", "ALICE", "@alice:hs.example", "@Alice:hs.example", "@ALICE:hs.example"],
)
def test_all_spellings_of_an_account_are_one(typed: str) -> None:
    assert user_identifier(typed, server_name=HERE) == UserIdentifier(localpart="alice")


@pytest.mark.parametrize("localpart", ["a", "0", "a.b_c=d-e/f+g", "_x", "x" * 243])
def test_every_localpart_that_matrix_allows_is_taken(localpart: str) -> None:
    assert user_identifier(localpart, server_name=HERE) == UserIdentifier(localpart=localpart)
    qualified = f"@{localpart}:{HERE}"
    assert user_identifier(qualified, server_name=HERE) == UserIdentifier(localpart=localpart)


def test_an_mxid_has_at_most_255_bytes() -> None:
    assert user_identifier("x" * 244, server_name=HERE) is None


def test_a_server_with_a_port_in_its_name_is_recognised() -> None:
    typed = user_identifier("@zoe:hs.example:8448", server_name="hs.example:8448")

    assert typed == UserIdentifier(localpart="zoe")


@pytest.mark.parametrize("odd", ODD_USERS, ids=lambda odd: odd.why)
def test_odd_names_are_refused_here(odd: OddUser) -> None:
    assert user_identifier(odd.typed(HERE), server_name=HERE) is None


@given(st.text())
def test_whatever_is_typed_is_either_nobody_or_a_localpart_of_the_contract(typed: str) -> None:
    identifier = user_identifier(typed, server_name=HERE)

    assert identifier is None or identifier.localpart == typed.lower()


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_domain_but_our_own_is_taken(localpart: str, domain: str) -> None:
    if domain != HERE:
        assert user_identifier(f"@{localpart}:{domain}", server_name=HERE) is None


@pytest.mark.parametrize("typed", ["a@x.org", "A@X.ORG", "A@x.Org"])
def test_an_address_is_folded(typed: str) -> None:
    assert threepid_identifier("email", typed) == EmailIdentifier(address="a@x.org")


def test_two_domains_stay_two_domains() -> None:
    assert threepid_identifier("email", "A@Straße.de") == EmailIdentifier(address="a@straße.de")
    assert threepid_identifier("email", "ß@x.org") == EmailIdentifier(address="ss@x.org")


def test_dots_and_plus_signs_make_different_addresses() -> None:
    assert threepid_identifier("email", "a.b+c@x.org") == EmailIdentifier(address="a.b+c@x.org")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "@",
        "a@",
        "@b",
        "a@b@c",
        "a b@c.org",
        "a@c.org ",
        "a@c.org\n",
        "a\0@c.org",
        "\ud800@c.org",
        "a" * 250 + "@c.org",
        "a@" + "c" * 200_000,
    ],
)
def test_what_is_no_address_is_refused_here(address: str) -> None:
    assert threepid_identifier("email", address) is None


def test_a_phone_number_is_its_digits() -> None:
    assert threepid_identifier("msisdn", "491701234567") == PhoneIdentifier(number="491701234567")


@pytest.mark.parametrize(
    "number", ["", "+491701234567", "0491701234567", "49 170", "1234", "1" * 16, "٤٩١٧٠١٢٣", "1\n"]
)
def test_what_is_no_number_is_refused_here(number: str) -> None:
    assert threepid_identifier("msisdn", number) is None


@pytest.mark.parametrize("medium", ["", "EMAIL", "email ", "fax", "m.id.user"])
def test_another_medium_is_refused_here(medium: str) -> None:
    assert threepid_identifier(medium, "a@x.org") is None


@pytest.mark.parametrize(
    "password", ["x", "correct horse", " leading", "päss", "密码", "👍", "x" * 512]
)
def test_a_password_that_may_be_right_is_worth_a_call(password: str) -> None:
    assert can_be_password(password)


@pytest.mark.parametrize(
    "password", ["", " ", "\t \n", "\u3000", "\0", "a\0b", "a\ud800", "x" * 513, "x" * 200_000]
)
def test_a_password_that_nobody_can_have_is_not(password: str) -> None:
    assert not can_be_password(password)
