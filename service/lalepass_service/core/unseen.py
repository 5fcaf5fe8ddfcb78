"""Characters that nobody can see, or that are none.

Only what no later version of Unicode takes back decides, since the tables are those of the Python
that runs: which code points are not assigned yet is no fault of a password, and the newest emoji
are among them in an older table.
"""

import unicodedata
from typing import Final

_BLANK_LETTERS: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Fillers of Hangul and the empty pattern of Braille, which are letters and signs by category."""

_SELECTORS: Final = frozenset(
    "\u034f\u17b4\u17b5\u180b\u180c\u180d\u180f"
    + "".join(map(chr, range(0xFE00, 0xFE10)))
    + "".join(map(chr, range(0xE0100, 0xE01F0)))
)
"""Marks that are to be ignored where nothing is known of them: those that choose how the character
in front of them is drawn, and joiners."""

_NONCHARACTERS_FROM: Final = 0xFDD0
_NONCHARACTERS_TO: Final = 0xFDEF


def is_no_text(character: str) -> bool:
    """Say whether it is a control character, half of one, or a noncharacter."""
    code = ord(character)
    if code & 0xFFFE == 0xFFFE or _NONCHARACTERS_FROM <= code <= _NONCHARACTERS_TO:  # noqa: PLR2004 - the last two of each plane
        return True
    return unicodedata.category(character) in {"Cc", "Cs"}


def is_seen(character: str) -> bool:
    """Say whether it can be seen by itself: a mark can't, nor a blank or what directs others."""
    if character in _BLANK_LETTERS:
        return False
    category = unicodedata.category(character)
    return category[0] not in "MZ" and category not in {"Cc", "Cf", "Cs"}


def without_unseen(text: str) -> str:
    """Return the text without what leaves it looking as it was. Blanks and accents stay."""
    return "".join(
        each
        for each in text
        if each not in _BLANK_LETTERS
        and each not in _SELECTORS
        and unicodedata.category(each) != "Cf"
    )
