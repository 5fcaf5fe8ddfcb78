import pytest

from lalepass_service.core.digests import NOWHERE, Digests, source_prefix
from lalepass_service.core.model import Password
from lalepass_service.core.softlock import GUESS_BYTES

DIGESTS = Digests(b"k" * 32)


def test_a_guess_has_one_name_for_each_account_and_key() -> None:
    names = {
        DIGESTS.guess("alice", Password("secret")),
        DIGESTS.guess("bob", Password("secret")),
        DIGESTS.guess("alice", Password("Secret")),
        Digests(b"x" * 32).guess("alice", Password("secret")),
        DIGESTS.source("alice", "secret"),
        DIGESTS.guess("alices", Password("ecret")),
    }

    assert len(names) == 6
    assert {len(name) for name in names} == {GUESS_BYTES}
    assert DIGESTS.guess("alice", Password("secret")) in names


def test_an_attempt_is_another_one_if_anything_about_it_is_another() -> None:
    names = [
        DIGESTS.attempt(account, Password(password), source=source)
        for account in ("alice", "bob")
        for password in ("secret", "Secret", "m\u00fcller", "mu\u0308ller", "\ud800")
        for source in (b"s", b"t")
    ]
    names += [DIGESTS.guess("alice", Password("secret")), DIGESTS.source("alice", "secret")]

    assert len(set(names)) == len(names)
    assert DIGESTS.attempt("alice", Password("secret"), source=b"s") == names[0]


def test_what_is_right_for_one_account_is_not_for_another() -> None:
    names = {
        DIGESTS.right(account, Password(password))
        for account in (b"alice", b"bob", b"alice as she was")
        for password in ("secret", "Secret", "\ud800")
    }

    assert len(names) == 9


def test_each_name_lies_somewhere_else_among_the_accounts() -> None:
    near = [DIGESTS.near(name) for name in ("alice", "bob", "alice")]

    assert near[0] == near[2] != near[1]
    assert {len(each) for each in near} == {2 * GUESS_BYTES}


def test_what_is_outside_is_named_by_its_kind_and_not_by_itself() -> None:
    names = [DIGESTS.name(text, kind=kind) for text in ("a", "b") for kind in ("lane", "rate")]

    assert len(set(names)) == 4
    assert names[0] == DIGESTS.name("a", kind="lane")
    assert {len(name) for name in names} == {2 * GUESS_BYTES}


def test_a_source_has_another_name_for_each_account() -> None:
    names = [
        DIGESTS.source(account, prefix)
        for account in ("alice", "bob")
        for prefix in ("192.0.2.7", "192.0.2.8")
    ]
    assert len(set(names)) == 4
    assert DIGESTS.source("alice", "192.0.2.7") == names[0]


def test_a_password_is_the_same_however_its_letters_are_composed() -> None:
    composed, decomposed = Password("m\u00fcller"), Password("mu\u0308ller")

    assert DIGESTS.guess("alice", composed) == DIGESTS.guess("alice", decomposed)


def test_what_can_not_be_encoded_has_a_name_too() -> None:
    assert DIGESTS.guess("alice", Password("\ud800")) != DIGESTS.guess("alice", Password("?"))


@pytest.mark.parametrize(
    ("ip", "prefix"),
    [
        (None, None),
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7%eth0", "192.0.2.7"),
        ("::ffff:0:192.0.2.7", "192.0.2.7"),
        ("64:ff9b::192.0.2.7", "192.0.2.7"),
        ("64:ff9b::192.0.2.8", "192.0.2.8"),
        # Right beside them.
        ("64:ff9b::1:192.0.2.7", "64:ff9b::/64"),
        ("64:ff9b:1::192.0.2.7", "64:ff9b:1::/64"),
        ("::fffe:192.0.2.7", "::/64"),
        ("::192.0.2.7", "::/64"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_a_source_is_an_address_or_a_customers_network(ip: str | None, prefix: str | None) -> None:
    assert source_prefix(ip) == prefix


def test_nowhere_is_no_source() -> None:
    assert DIGESTS.source("alice", None) == NOWHERE
