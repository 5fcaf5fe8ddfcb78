"""How accounts are named, and one canonical spelling for each name.

Two spellings of one account must never be two accounts, nor two budgets of guesses.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from lalepass_service.core.errors import InvalidInput

# https://spec.matrix.org/v1.16/appendices/#user-identifiers
_LOCALPART: Final = re.compile(r"[a-z0-9._=\-/+]{1,252}")
# Only the shape. Whether mail arrives there is not for a regular expression to say.
_EMAIL: Final = re.compile(r"[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+")
_MAX_EMAIL: Final = 254
# E.164 without the plus
_PHONE: Final = re.compile(r"[1-9][0-9]{4,14}")
_PHONE_SEPARATORS: Final = str.maketrans("", "", " -./()")
_MAX_DISPLAY_NAME: Final = 256


@dataclass(frozen=True, slots=True)
class ByLocalpart:
    """The account of this localpart, in canonical spelling."""

    localpart: str


@dataclass(frozen=True, slots=True)
class ByEmail:
    """The account that has this e-mail address, in canonical spelling."""

    address: str


@dataclass(frozen=True, slots=True)
class ByPhone:
    """The account that has this phone number: E.164 digits without the plus."""

    number: str


Identifier = ByLocalpart | ByEmail | ByPhone


def canonical_localpart(text: str) -> str:
    """Check a localpart. Capitals are refused, not folded: an operator sees what is stored.

    Raises:
        InvalidInput: it is not a localpart that Matrix allows for new accounts.
    """
    if not _LOCALPART.fullmatch(text):
        raise InvalidInput("a user name is made of a-z, 0-9 and . _ = - / +, at most 252 of them")
    return text


def canonical_email(text: str) -> str:
    """Fold an e-mail address as Synapse does (`util/threepids.py`, MSC2265): case only.

    Dots and plus signs stay, since they make different addresses at most providers. The domain is
    not case-folded but lower-cased: straße.de and strasse.de belong to different people.

    Raises:
        InvalidInput: it has not the shape of an address.
    """
    local, _, domain = text.partition("@")
    folded = unicodedata.normalize("NFC", f"{local.casefold()}@{domain.lower()}")
    if len(folded) > _MAX_EMAIL or not _EMAIL.fullmatch(folded) or not _encodable(folded):
        raise InvalidInput("an e-mail address looks like name@example.org")
    return folded


def canonical_phone(text: str) -> str:
    """Bring a phone number in international form to E.164 digits without the plus.

    Raises:
        InvalidInput: it does not begin with `+` and a country code, or is too short or too long.
    """
    digits = text.translate(_PHONE_SEPARATORS).removeprefix("+")
    if not text.startswith("+") or not _PHONE.fullmatch(digits):
        raise InvalidInput("a phone number is given with its country code, like +49 170 1234567")
    return digits


def canonical_display_name(text: str) -> str:
    """Check a display name: NFC, no control characters, at most 256 code points.

    Raises:
        InvalidInput: it is none.
    """
    name = unicodedata.normalize("NFC", text).strip()
    printable = all(unicodedata.category(character) not in {"Cc", "Cs"} for character in name)
    if not name or len(name) > _MAX_DISPLAY_NAME or not printable:
        raise InvalidInput(
            "a display name has 1 to 256 characters, none of them a control character"
        )
    return name


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
