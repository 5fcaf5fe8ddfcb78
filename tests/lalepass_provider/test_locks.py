"""A set of names that keeps digests only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalepass_provider.locks import LockedNames

NAMES = st.text("abc.", min_size=1, max_size=3)


@given(st.lists(st.tuples(st.booleans(), NAMES), max_size=60))
def test_it_is_a_set(steps: list[tuple[bool, str]]) -> None:
    names, expected = LockedNames(), set[str]()
    for adds, name in steps:
        was_in = name in expected
        if adds:
            assert names.add(name) is not was_in
            expected.add(name)
        else:
            assert names.discard(name) is was_in
            expected.discard(name)
        assert len(names) == len(expected)
    for name in ("a", "b", "ab", "abc", *expected):
        assert (name in names) == (name in expected)


@given(st.sets(NAMES, max_size=40))
def test_what_was_written_down_is_the_same_set(expected: set[str]) -> None:
    names = LockedNames()
    for name in expected:
        names.add(name)

    restored = LockedNames.restore(key=names.key, digests=names.digests())

    assert len(restored) == len(expected)
    assert all(name in restored for name in expected)
    assert restored.add("not-in-it")
    assert restored.discard("not-in-it")
    assert restored.digests() == names.digests()


def test_many_names_are_told_apart() -> None:
    names = LockedNames()
    for number in range(20_000):
        names.add(f"locked.{number}")

    assert all(f"locked.{number}" in names for number in range(20_000))
    assert not any(f"free.{number}" in names for number in range(20_000))
    # each has eight bytes, in ascending order over all of them
    digests = names.digests()
    assert len(digests) == 8 * 20_000


def test_two_sets_keep_different_digests_of_one_name() -> None:
    one, other = LockedNames(), LockedNames()
    one.add("bob")
    other.add("bob")

    assert one.digests() != other.digests()


def test_it_does_not_pretend_to_know_the_names() -> None:
    with pytest.raises(TypeError, match="no names"):
        list(LockedNames())


def test_a_broken_record_is_none() -> None:
    with pytest.raises(ValueError, match="bytes length not a multiple"):
        LockedNames.restore(key=b"k" * 16, digests=b"1234567")
