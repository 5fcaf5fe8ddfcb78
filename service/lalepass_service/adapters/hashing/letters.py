"""The octets that the letters of a record stand for, and whether they stand for any.

A pattern can't count bits. What is found here its own library would find at each login, when
nobody can mend it any more: it is looked for where a record comes in.
"""

import binascii
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Final

_BCRYPT_HEAD: Final = len("$2b$05$")
_BCRYPT_SALT: Final = 22
_BCRYPT_LAST: Final = ".Oeu"
"""The last of 22 letters has four bits too many: 132 for 128. Libraries want them to be zero."""


def padded(text: str) -> bytes:
    """Read base64.

    Raises:
        ValueError: no octets have so many letters.
    """
    try:
        return b64decode(text, validate=True)
    except binascii.Error:
        # Not chained: the traceback need not hold a part of the record.
        raise ValueError("base64 of no length") from None


def unpadded(text: str) -> bytes:
    """Read base64 without the signs at its end that say nothing, and with dots if it has those.

    Raises:
        ValueError: no octets have so many letters.
    """
    return padded(text.replace(".", "+") + "=" * (-len(text) % 4))


def readable(maker: str, *, text: str, parts: Mapping[str, str]) -> bool:
    """Say whether a record's library could read salt and hash.

    Args:
        maker: as in `kinds.Format`.
        text: the record, of which the pattern of its format is true.
        parts: the named groups of the pattern.
    """
    try:
        return _readable(maker, text=text, parts=parts)
    except ValueError:
        return False


def _readable(maker: str, *, text: str, parts: Mapping[str, str]) -> bool:
    if "bcrypt" in maker:
        salt = parts.get("salt") or parts.get("inner", text)[_BCRYPT_HEAD:][:_BCRYPT_SALT]
        return salt[-1] in _BCRYPT_LAST
    if maker.startswith("argon2"):
        return all(map(_exact, text.split("$")[-2:]))
    if maker.startswith(("django-", "ldap-sha")):
        return bool(padded(parts["hash"]))
    if maker.startswith(("passlib-", "ldap-")):
        return all(unpadded(parts[name]) for name in ("salt", "hash"))
    # crypt(3) and its kin compare letters.
    return True


def _exact(text: str) -> bool:
    """Say whether no bit is over, as argon2 wants it."""
    return b64encode(unpadded(text)).rstrip(b"=") == text.encode("ascii")
