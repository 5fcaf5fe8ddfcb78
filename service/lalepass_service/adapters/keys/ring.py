"""The keys in memory, and what is done with them: wrap, unwrap, derive.

A wrapped record is one line of text that says by itself which key opens it:

    $lpw$v=1,k=<key id>$<base64 of nonce, ciphertext and tag>

The cipher is AES-256-GCM. Beside the text it authenticates the key's id and the user's stable id,
so a record that is copied to another account's row does not open there.
"""

import base64
import binascii
import re
import secrets
from collections.abc import Mapping
from typing import Final, NoReturn, final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from lalepass_service.core.errors import UnreadableRecord
from lalepass_service.core.model import UserId

KEY_BYTES: Final = 32
"""The length of a key, and of what is derived."""

PREFIX: Final = "$lpw$"
"""Begins every wrapped record, and no hash that anybody else makes."""

_HEAD: Final = PREFIX + "v=1,k="
_WRAPPED: Final = re.compile(r"\$lpw\$v=1,k=([a-z0-9]{4,16})\$([A-Za-z0-9+/]+)")
_KEY_ID: Final = re.compile(r"[a-z0-9]{4,16}")

_NONCE_BYTES: Final = 12
"""Random. Two equal ones under one key would betray both records; with 2^32 records a key, far
more than there are, the odds are 1 to 2^32. So nothing has to count, also not across processes."""

_RECORD_DOMAIN: Final = b"lalepass record v1"
_DERIVE_DOMAIN: Final = b"lalepass derive v1"
"""What one purpose has authenticated or derived is of no use for another."""


def is_key_id(text: str) -> bool:
    """Say whether a key may be called this."""
    return _KEY_ID.fullmatch(text) is not None


def head_of(key_id: str) -> str:
    """Return how every record begins that was wrapped with this key."""
    return f"{_HEAD}{key_id}$"


def key_of(stored: str) -> str | None:
    """Return the id of the key that a record was wrapped with; None if it is not wrapped.

    Raises:
        UnreadableRecord: it begins like a wrapped record and is none.
    """
    if not stored.startswith(PREFIX):
        return None
    parts = _WRAPPED.fullmatch(stored)
    if parts is None:
        raise UnreadableRecord("it is wrapped in a form that this version does not know")
    return parts[1]


@final
class KeyRing:
    """Some keys, one of which is active. Immutable, and safe to use from several threads."""

    __slots__ = ("_active", "_ciphers", "_digest")

    def __init__(self, *, keys: Mapping[str, bytes], active: str, digest: bytes) -> None:
        self._ciphers: Final = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._active: Final = active
        self._digest: Final = digest

    def __reduce__(self) -> NoReturn:
        raise TypeError("keys are not to be pickled")

    @property
    def active(self) -> str:
        """The id of the key that new records are wrapped with."""
        return self._active

    @property
    def ids(self) -> frozenset[str]:
        """The ids of all keys."""
        return frozenset(self._ciphers)

    def seal(self, text: str, *, user_id: UserId) -> str:
        """Wrap a record of this user with the active key.

        Raises:
            ValueError: it is wrapped already. The text is not repeated.
        """
        refuse_wrapped(text)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._ciphers[self._active].encrypt(
            nonce, text.encode(), _bound_to(self._active, user_id)
        )
        return head_of(self._active) + _encode(nonce + sealed)

    def open(self, stored: str, *, user_id: UserId) -> str:
        """Unwrap a record of this user.

        Raises:
            UnreadableRecord: there is no such key, or it does not open this record, or not for
                this user.
        """
        key_id = key_of(stored)
        cipher = self._ciphers.get(key_id or "")
        if key_id is None or cipher is None:
            raise UnreadableRecord(f"the key {key_id} is missing")
        raw = _decode(stored.removeprefix(head_of(key_id)))
        nonce, sealed = raw[:_NONCE_BYTES], raw[_NONCE_BYTES:]
        try:
            return cipher.decrypt(nonce, sealed, _bound_to(key_id, user_id)).decode()
        except (InvalidTag, ValueError):
            # Not chained: nothing about the content may be learnt from how it failed.
            raise UnreadableRecord(
                f"the key {key_id} does not open it: the key, the record or its owner is another"
            ) from None

    def derive(self, purpose: str) -> bytes:
        """Return a secret for keyed digests: another one for each purpose, always the same.

        It comes from the `digest` secret, which rotating keys leaves alone. Derived from the
        active key, everything that is recognised by a digest would be forgotten at each rotation.
        """
        return hkdf(self._digest, purpose)


def refuse_wrapped(text: str) -> None:
    """Refuse to wrap twice: nothing would unwrap twice.

    Raises:
        ValueError: it is wrapped already. The text is not repeated.
    """
    if text.startswith(PREFIX):
        raise ValueError("a record that is wrapped already can't be wrapped again")


def hkdf(secret: bytes, purpose: str) -> bytes:
    """Derive a secret for one purpose (RFC 5869)."""
    info = _DERIVE_DOMAIN + b"\0" + purpose.encode()
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(secret)


def _bound_to(key_id: str, user_id: UserId) -> bytes:
    # A key's id has no NUL, so no two pairs look the same.
    return b"\0".join((_RECORD_DOMAIN, key_id.encode(), user_id.encode()))


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    """Decode base64 without padding; what is not written as `_encode` does it becomes empty.

    The last character has bits that say nothing. A record must have one spelling only, since its
    text is compared when it is replaced.
    """
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        return b""
    return raw if _encode(raw) == text else b""
