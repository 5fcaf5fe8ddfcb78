"""The octets of a password, in the normal form that its record was made with."""

import unicodedata
from typing import Final

from lalepass_service.core.model import NormalForm, Password

MAX_OCTETS: Final = 4096
"""More than any rule allows. Where each round takes time with the length, `kinds` allows less."""


def octets_of(password: Password, form: NormalForm) -> bytes | None:
    """Return what is hashed; None if this can't be anybody's password."""
    text = password.reveal()
    if form is not NormalForm.NONE:
        text = unicodedata.normalize("NFC" if form is NormalForm.NFC else "NFKC", text)
    try:
        octets = text.encode()
    except UnicodeEncodeError:
        # Lone surrogates. The error holds the text, so it must not leave this function.
        return None
    return octets if len(octets) <= MAX_OCTETS else None


def shortened(octets: bytes, longest: int | None) -> bytes:
    """Return as many of them as may be hashed, without half a character at the end."""
    if longest is None or len(octets) <= longest:
        return octets
    return octets[:longest].decode(errors="ignore").encode()
