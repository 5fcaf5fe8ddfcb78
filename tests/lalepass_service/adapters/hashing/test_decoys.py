"""Names without a record are spread over the schemes like the records that are there."""

from collections import Counter
from collections.abc import Mapping

import pytest

from lalepass_service.adapters.hashing.decoys import Decoys

OURS = "argon2id,m=19456,t=2,p=1"
BCRYPT = "bcrypt,cost=12"
SYNAPSE = "synapse-bcrypt,cost=12"
NAMES = [f"name-{number}" for number in range(2000)]


def make(mix: Mapping[str, int], *, key: bytes = b"key") -> Decoys:
    decoys = Decoys(own_scheme=OURS, key=key)
    decoys.set_mix(mix)
    return decoys


def spread(decoys: Decoys) -> list[str]:
    chosen = [decoys.choose(name) for name in NAMES]
    return [OURS if record is None else record.scheme for record in chosen]


@pytest.mark.parametrize(
    "mix",
    [{}, {OURS: 9}, {"argon2id": 9}, {"argon2id": 4, OURS: 5}, {"md5": 9}, {BCRYPT: 0}],
    ids=str,
)
def test_where_there_are_only_ours_so_are_the_decoys(mix: dict[str, int]) -> None:
    assert set(spread(make(mix))) == {OURS}


def test_names_are_spread_like_the_records() -> None:
    shares = Counter(spread(make({OURS: 5, "argon2id": 1, SYNAPSE: 3, BCRYPT: 1})))

    expected = {OURS: 0.6, SYNAPSE: 0.3, BCRYPT: 0.1}
    assert set(shares) == set(expected)
    for scheme, share in expected.items():
        assert abs(shares[scheme] / len(NAMES) - share) < 0.05


def test_a_name_has_the_same_decoy_as_long_as_key_and_mix_are_the_same() -> None:
    mix = {OURS: 1, BCRYPT: 1}

    assert spread(make(mix)) == spread(make(dict(reversed(mix.items()))))
    assert spread(make(mix)) != spread(make(mix, key=b"another"))


def test_as_people_log_in_names_move_towards_our_own_hash_and_never_back() -> None:
    before = spread(make({OURS: 2, SYNAPSE: 8}))
    after = spread(make({OURS: 6, SYNAPSE: 4}))

    moved = {(old, new) for old, new in zip(before, after, strict=True) if old != new}
    assert moved == {(SYNAPSE, OURS)}


def test_rare_schemes_do_not_grow_without_bound() -> None:
    mix = {f"pbkdf2-sha256,rounds={rounds}": 1 + rounds for rounds in range(1, 1001)}

    assert len(set(spread(make(mix)))) <= 64


@pytest.mark.parametrize("name", ["", "\ud800", "\0", "x" * 10_000], ids=ascii)
def test_any_name_has_a_decoy(name: str) -> None:
    assert make({BCRYPT: 1}).choose(name) is not None
