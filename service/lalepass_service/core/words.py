"""Is a password nothing but words that anybody would try for this account?

Precisely: both sides are folded (NFKC, no capitals) and lose all signs, blanks and what is unseen.
What is left of the password must be a sequence of words of the account, with digits before, between
and behind them. So "Alice-2024!", "alice.alice" and "SmithAlice" are refused for Alice Smith;
"malice2024" and "alice likes tea" are not, since something in them is no word of hers.
"""

import re
import unicodedata
from collections.abc import Collection, Iterator
from typing import Final

from lalepass_service.core.unseen import without_unseen

_SHORTEST: Final = 3
"""Shorter words say nothing: with "a" and "n" as words, "banana" would lack only its b."""

_MAX_DIGITS: Final = 8
"""Digits that are ornament: as many as a date has. With more of them, the digits are the secret."""

_MAX_TEXT: Final = 256
"""Of one name, for the price of looking through it. No name that is stored is longer."""

_SIGNS: Final = ("P", "Z", "C", "Sm", "Sc", "Sk")
"""The categories that are dropped. Emoji (So) are not: they can be a good part of a password."""

_BREAKS: Final = re.compile(r"[\W_]+")


def words_in(text: str) -> Iterator[str]:
    """Yield a name as a whole, its parts, and each of them without the digits at its ends."""
    folded = _folded(text[:_MAX_TEXT])
    for part in {folded, *_BREAKS.split(folded)}:
        for word in {_squeezed(part), _squeezed(part).strip("0123456789")}:
            if len(word) >= _SHORTEST:
                yield word


def is_made_of(text: str, words: Collection[str]) -> bool:
    """Say whether the text is nothing but words and a few digits."""
    squeezed = _squeezed(_folded(text))
    # At each position: the fewest digits with which one gets there by words and digits alone.
    fewest: list[int | None] = [0] + [None] * len(squeezed)
    for start in range(len(squeezed)):
        spent = fewest[start]
        if spent is None:
            continue
        if squeezed[start].isdecimal():
            _keep_fewest(fewest, start + 1, spent + 1)
        for word in words:
            if squeezed.startswith(word, start):
                _keep_fewest(fewest, start + len(word), spent)
    digits = fewest[-1]
    # If digits were all there is, no word was in it.
    return digits is not None and digits <= _MAX_DIGITS and digits < len(squeezed)


def _keep_fewest(fewest: list[int | None], position: int, digits: int) -> None:
    known = fewest[position]
    fewest[position] = digits if known is None else min(known, digits)


def _folded(text: str) -> str:
    once = unicodedata.normalize("NFKC", text).casefold()
    return unicodedata.normalize("NFKC", once)


def _squeezed(folded: str) -> str:
    return "".join(
        each for each in without_unseen(folded) if not unicodedata.category(each).startswith(_SIGNS)
    )
