import re

from hypothesis import given
from hypothesis import strategies as st

from lalepass_service.core.words import is_made_of, words_in

names = st.lists(st.text("abc", min_size=3, max_size=4), max_size=4)


def test_a_name_is_its_parts_and_itself() -> None:
    assert set(words_in("Alice.Smith42")) == {
        "alicesmith42",
        "alicesmith",
        "alice",
        "smith42",
        "smith",
    }


def test_what_is_too_short_to_mean_anybody_is_no_word() -> None:
    assert set(words_in("a b.cd_e1")) == {"abcde", "abcde1"}
    assert set(words_in("42")) == set()


@given(names, st.text("abc12-", max_size=14))
def test_it_says_the_same_as_a_regular_expression(words: list[str], text: str) -> None:
    squeezed = text.replace("-", "")
    # The digits of these words and texts are disjoint from their letters, so counting them is easy.
    pattern = "|".join([*map(re.escape, words), "[0-9]"])
    expected = (
        re.fullmatch(f"(?:{pattern})+", squeezed) is not None
        and not squeezed.isdecimal()
        and sum(c.isdecimal() for c in squeezed) <= 8
    )

    assert is_made_of(text, set(words)) == expected


@given(st.text(max_size=300), st.sets(st.text(min_size=1, max_size=5), max_size=5))
def test_it_has_an_answer_to_everything(text: str, words: set[str]) -> None:
    found = {word for each in words for word in words_in(each)}

    assert is_made_of(text, found) in {True, False}
