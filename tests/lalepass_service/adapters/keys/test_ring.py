import base64
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalepass_service.adapters.keys.ring import KeyRing, is_key_id, key_of
from lalepass_service.core.errors import UnreadableRecord
from lalepass_service.core.model import UserId

ALICE, BOB = UserId("id-alice"), UserId("id-bob")
PHC = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaC1jYW5hcnktN2YzYQ"
CANARY = "canary-7f3a"
HEAD = "$lpw$v=1,k=aaaa$"


def a_ring(*, active: str = "aaaa", ids: str = "aaaa bbbb", digest: bytes = b"d" * 32) -> KeyRing:
    keys = {key_id: key_id.encode() * 8 for key_id in ids.split()}
    return KeyRing(keys=keys, active=active, digest=digest)


@given(st.text(alphabet=st.characters(codec="utf-8")), st.text(min_size=1, max_size=40))
def test_what_was_wrapped_comes_back(text: str, owner: str) -> None:
    stored = a_ring().seal(f"${text}", user_id=UserId(owner))

    assert a_ring().open(stored, user_id=UserId(owner)) == f"${text}"


def test_a_wrapped_record_is_one_line_that_names_its_key() -> None:
    stored = a_ring(active="bbbb").seal(PHC, user_id=ALICE)

    assert stored.startswith("$lpw$v=1,k=bbbb$")
    assert stored.isascii()
    assert stored.isprintable()
    assert PHC not in stored
    assert key_of(stored) == "bbbb"


def test_no_two_wraps_are_alike() -> None:
    assert len({a_ring().seal(PHC, user_id=ALICE) for _ in range(100)}) == 100


def test_a_record_that_is_not_wrapped_names_no_key() -> None:
    assert key_of(PHC) is None
    assert key_of("") is None


def test_a_record_of_another_user_does_not_open() -> None:
    stored = a_ring().seal(PHC, user_id=ALICE)

    with pytest.raises(UnreadableRecord, match="aaaa"):
        a_ring().open(stored, user_id=BOB)


def test_each_bit_counts() -> None:
    """The nonce, the ciphertext and the tag, and nothing else is encoded."""
    stored = a_ring().seal("$x$", user_id=ALICE)
    encoded = stored.removeprefix(HEAD)
    raw = bytearray(base64.b64decode(encoded + "=" * (-len(encoded) % 4)))
    assert len(raw) == 12 + len("$x$") + 16
    for position in range(len(raw)):
        raw[position] ^= 1
        with pytest.raises(UnreadableRecord):
            a_ring().open(HEAD + base64.b64encode(raw).rstrip(b"=").decode(), user_id=ALICE)
        raw[position] ^= 1


@pytest.mark.parametrize("text", ["$x$", "$xy$", "$xyz$"])
def test_each_character_counts(text: str) -> None:
    """Base64 has spellings that mean the same: a record has one of them only."""
    stored = a_ring().seal(text, user_id=ALICE)
    for position in range(len(HEAD), len(stored)):
        for other in "ABCDabcd019+/=-_ \n$":
            changed = stored[:position] + other + stored[position + 1 :]
            if changed != stored:
                with pytest.raises(UnreadableRecord):
                    a_ring().open(changed, user_id=ALICE)


@pytest.mark.parametrize("extra", ["", "A", "AAAA", "=", "\n", "$"])
def test_a_record_that_was_cut_or_lengthened_does_not_open(extra: str) -> None:
    stored = a_ring().seal(PHC, user_id=ALICE)

    with pytest.raises(UnreadableRecord):
        a_ring().open((stored if extra else stored[:-1]) + extra, user_id=ALICE)


def test_a_record_does_not_open_under_the_name_of_another_key() -> None:
    """The id is authenticated, also if two files held the same key."""
    same = KeyRing(keys={"aaaa": b"k" * 32, "bbbb": b"k" * 32}, active="aaaa", digest=b"d" * 32)
    stored = same.seal(PHC, user_id=ALICE)

    with pytest.raises(UnreadableRecord, match="bbbb"):
        same.open(stored.replace("k=aaaa", "k=bbbb"), user_id=ALICE)


def test_a_wrong_key_does_not_open() -> None:
    stored = a_ring().seal(PHC, user_id=ALICE)
    other = KeyRing(keys={"aaaa": b"k" * 32}, active="aaaa", digest=b"d" * 32)

    with pytest.raises(UnreadableRecord, match="the key aaaa does not open it"):
        other.open(stored, user_id=ALICE)


def test_a_missing_key_is_named() -> None:
    stored = a_ring().seal(PHC, user_id=ALICE)

    with pytest.raises(UnreadableRecord, match="the key aaaa is missing"):
        a_ring(active="bbbb", ids="bbbb").open(stored, user_id=ALICE)


@pytest.mark.parametrize(
    "stored",
    [
        "$lpw$",
        "$lpw$v=1,k=$AAAA",
        "$lpw$v=1,k=AAAA$AAAA",
        "$lpw$v=2,k=aaaa$AAAA",
        "$lpw$v=1,k=aaaa",
        "$lpw$v=1,k=aaaa$",
        "$lpw$v=1,k=aaaa$AAAA\n",
        f"$lpw$v=1,k={'a' * 17}$AAAA",
    ],
)
def test_a_damaged_head_is_no_record_from_before_there_were_keys(stored: str) -> None:
    with pytest.raises(UnreadableRecord):
        key_of(stored)


@pytest.mark.parametrize("rest", ["A", "AA", "AAAA", "AAAAAAAAAAAAAAAA", "A" * 38])
def test_a_record_that_is_too_short_does_not_open(rest: str) -> None:
    with pytest.raises(UnreadableRecord):
        a_ring().open(HEAD + rest, user_id=ALICE)


def test_nothing_is_wrapped_twice() -> None:
    stored = a_ring().seal(PHC, user_id=ALICE)

    with pytest.raises(ValueError, match="wrapped already") as caught:
        a_ring().seal(stored, user_id=ALICE)
    assert stored not in str(caught.value)


def test_neither_errors_nor_a_print_hold_a_secret() -> None:
    ring = KeyRing(keys={"aaaa": CANARY.ljust(32).encode()}, active="aaaa", digest=b"d" * 32)
    stored = ring.seal(PHC, user_id=ALICE)
    with pytest.raises(UnreadableRecord) as caught:
        ring.open(stored, user_id=BOB)

    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    for text in (repr(ring), str(ring), str(caught.value)):
        assert CANARY not in text
        assert stored not in text
    with pytest.raises(TypeError):
        pickle.dumps(ring)


def test_what_is_derived_depends_on_the_purpose_and_the_secret_only() -> None:
    one = a_ring().derive("soft-lock")

    assert len(one) == 32
    assert one == a_ring(active="bbbb", ids="bbbb cccc").derive("soft-lock")
    assert one != a_ring().derive("sources")
    assert one != a_ring(digest=b"e" * 32).derive("soft-lock")


def test_what_is_derived_is_the_same_in_every_version() -> None:
    """Another value would be a new start for all that is recognised by digests."""
    assert a_ring().derive("soft-lock").hex() == (
        "c150f0876dfc128375a3d736233e96a1371c940dcdefa3070560f4d1b298437f"
    )


def test_a_record_of_the_first_version_opens() -> None:
    stored = (
        "$lpw$v=1,k=aaaa$hYJ3lP3hDa1sBR+zJFuvLyEcrZbsrVflJzZSoJfkVzzZEgEb1rd+P8"
        "IT70xWP3dg6fvCfhLVRx+FvEOLaBZJReeZgFa5teEMeh6XG7pq7iQ0pdTZ5cNL3XevpJx3Lwf+Ulc"
    )

    assert a_ring().open(stored, user_id=ALICE) == PHC


@pytest.mark.parametrize(
    "name", ["", "a", "abc", "ABCD", "ab-d", "äbcd", "../a", "a" * 17, "abcd\n"]
)
def test_what_can_not_be_an_id(name: str) -> None:
    assert not is_key_id(name)
