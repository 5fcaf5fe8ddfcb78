"""How foreign records are verified: one function for each maker. Runs in the worker only.

Slow, memory-hungry and partly in pure Python; `formats` has bounded what each may cost. A function
that raises ValueError has found something in the record that its pattern could not see.
"""

import hashlib
import hmac
import os
import random
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType
from typing import Final

import argon2.exceptions
import argon2.low_level
import bcrypt
from passlib.hash import apr_md5_crypt, md5_crypt, phpass, sha256_crypt, sha512_crypt

from lalepass_service.adapters.hashing.formats import Known, identify
from lalepass_service.adapters.hashing.kinds import crypt_number
from lalepass_service.adapters.hashing.letters import padded, unpadded

_BCRYPT_BYTES: Final = 72
_SCRYPT_MEMORY: Final = 320 * 1024 * 1024
"""Above what `formats` lets through: OpenSSL counts a little more than the table itself."""


def matches(text: str, octets: bytes) -> bool:
    """Say whether the record was made of these octets.

    Raises:
        UnreadableRecord: the record is of no known format, or too expensive.
        ValueError: it can't be read in the end.
        MemoryError: there is not enough memory for it.
    """
    known = identify(text)
    return VERIFIERS[known.format.maker](known, octets)


def _argon2(known: Known, octets: bytes, *, kind: argon2.low_level.Type) -> bool:
    try:
        with _one_core(needed=known.costs["p"] > 1):
            return argon2.low_level.verify_secret(known.text.encode("ascii"), octets, kind)
    except argon2.exceptions.VerifyMismatchError:
        return False
    except argon2.exceptions.VerificationError as exc:
        # A thread that can't be started has found no room for its stack.
        if any(word in str(exc) for word in ("allocation", "Threading")):
            raise MemoryError from exc
        raise ValueError("argon2 does not accept it") from exc


@contextmanager
def _one_core(*, needed: bool) -> Iterator[None]:
    """Keep the threads that argon2 starts for its lanes on one core: the slot was for one."""
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    if not needed or not before:
        yield
        return
    os.sched_setaffinity(0, {random.choice(sorted(before))})  # noqa: S311 - any core is as good
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _bcrypt(known: Known, octets: bytes) -> bool:
    """Cut at 72 bytes, as all makers did but the newest, which refuse to hash more."""
    return bcrypt.checkpw(octets[:_BCRYPT_BYTES], known.text.encode("ascii"))


def _django_bcrypt_sha256(known: Known, octets: bytes) -> bool:
    """Hash the SHA-256 of the password, in hexadecimal."""
    digest = hashlib.sha256(octets).hexdigest().encode("ascii")
    return bcrypt.checkpw(digest, known.parts["inner"].encode("ascii"))


def _passlib_bcrypt_sha256_v1(known: Known, octets: bytes) -> bool:
    """Hash the SHA-256 of the password, in base64."""
    return _passlib_bcrypt(known, hashlib.sha256(octets).digest())


def _passlib_bcrypt_sha256_v2(known: Known, octets: bytes) -> bool:
    """Hash an HMAC of the password, with the salt's letters for the key, in base64."""
    salt = known.parts["salt"].encode("ascii")
    return _passlib_bcrypt(known, hmac.digest(salt, octets, hashlib.sha256))


def _passlib_bcrypt(known: Known, digest: bytes) -> bool:
    ident, salt, expected = (known.parts[name] for name in ("ident", "salt", "hash"))
    inner = f"${ident}${known.costs['cost']:02}${salt}{expected}"
    return bcrypt.checkpw(b64encode(digest), inner.encode("ascii"))


def _scrypt(octets: bytes, *, n: int, known: Known, salt: bytes, expected: bytes) -> bool:
    try:
        made = hashlib.scrypt(
            octets,
            salt=salt,
            n=n,
            r=known.costs["r"],
            p=known.costs["p"],
            maxmem=_SCRYPT_MEMORY,
            dklen=len(expected),
        )
    except ValueError as exc:
        # Up to Python 3.11 at least, all that OpenSSL has to say is a ValueError.
        if "malloc" in str(exc):
            raise MemoryError from exc
        raise
    return hmac.compare_digest(made, expected)


def _passlib_scrypt(known: Known, octets: bytes) -> bool:
    salt, expected = unpadded(known.parts["salt"]), unpadded(known.parts["hash"])
    n = 1 << known.costs["ln"]
    return _scrypt(octets, n=n, known=known, salt=salt, expected=expected)


def _django_scrypt(known: Known, octets: bytes) -> bool:
    salt, expected = known.parts["salt"].encode("ascii"), padded(known.parts["hash"])
    return _scrypt(octets, n=known.costs["n"], known=known, salt=salt, expected=expected)


def _crypt_scrypt(known: Known, octets: bytes) -> bool:
    """Hash with the salt's letters."""
    salt, expected = known.parts["salt"].encode("ascii"), _crypt_octets(known.parts["hash"])
    n = 1 << known.costs["ln"]
    return _scrypt(octets, n=n, known=known, salt=salt, expected=expected)


def _passlib_pbkdf2(known: Known, octets: bytes, *, digest: str) -> bool:
    salt = unpadded(known.parts["salt"])
    expected = unpadded(known.parts["hash"])
    made = hashlib.pbkdf2_hmac(digest, octets, salt, known.costs["rounds"])
    return hmac.compare_digest(made, expected)


def _django_pbkdf2(known: Known, octets: bytes, *, digest: str) -> bool:
    """Hash with the salt's letters, not with what they might encode."""
    salt, expected = known.parts["salt"].encode("ascii"), padded(known.parts["hash"])
    made = hashlib.pbkdf2_hmac(digest, octets, salt, known.costs["rounds"])
    return hmac.compare_digest(made, expected)


def _sha256_crypt(known: Known, octets: bytes) -> bool:
    return bool(sha256_crypt.verify(octets, known.text))


def _sha512_crypt(known: Known, octets: bytes) -> bool:
    return bool(sha512_crypt.verify(octets, known.text))


def _md5_crypt(known: Known, octets: bytes) -> bool:
    return bool(md5_crypt.verify(octets, known.text))


def _apr1(known: Known, octets: bytes) -> bool:
    return bool(apr_md5_crypt.verify(octets, known.text))


def _phpass(known: Known, octets: bytes) -> bool:
    return bool(phpass.verify(octets, known.text))


def _ldap(known: Known, octets: bytes, *, digest: str) -> bool:
    raw, size = padded(known.parts["hash"]), hashlib.new(digest).digest_size
    expected, salt = raw[:size], raw[size:]
    return hmac.compare_digest(hashlib.new(digest, octets + salt).digest(), expected)


def _crypt_octets(text: str) -> bytes:
    """Read bytes that were written down by crypt(3), and leave out the bits that are over."""
    whole, over = divmod(6 * len(text), 8)
    return crypt_number(text).to_bytes(whole + bool(over), "little")[:whole]


_Verifier = Callable[[Known, bytes], bool]
_PBKDF2: Final[Mapping[str, Callable[..., bool]]] = MappingProxyType(
    {"passlib": _passlib_pbkdf2, "django": _django_pbkdf2, "ldap": _passlib_pbkdf2}
)
VERIFIERS: Final[Mapping[str, _Verifier]] = MappingProxyType(
    {
        "argon2i": partial(_argon2, kind=argon2.low_level.Type.I),
        "argon2d": partial(_argon2, kind=argon2.low_level.Type.D),
        "bcrypt": _bcrypt,
        "django-bcrypt-sha256": _django_bcrypt_sha256,
        "passlib-bcrypt-sha256-v1": _passlib_bcrypt_sha256_v1,
        "passlib-bcrypt-sha256-v2": _passlib_bcrypt_sha256_v2,
        "passlib-scrypt": _passlib_scrypt,
        "django-scrypt": _django_scrypt,
        "crypt-scrypt": _crypt_scrypt,
        "sha256-crypt": _sha256_crypt,
        "sha512-crypt": _sha512_crypt,
        "md5-crypt": _md5_crypt,
        "apr1": _apr1,
        "phpass": _phpass,
        **{f"ldap-{name}": partial(_ldap, digest=name) for name in ("sha1", "sha256", "sha512")},
        **{
            f"{writer}-pbkdf2-{name}": partial(verify, digest=name)
            for writer, verify in _PBKDF2.items()
            for name in ("sha1", "sha256", "sha512")
        },
    }
)
"""By the maker. argon2id is not here: the service verifies it itself."""
