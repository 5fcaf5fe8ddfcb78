"""The two ways to Argon2id: libsodium, which is everywhere, and a library that was compiled for us.

Both make and verify the same records. Neither holds the GIL while it hashes.
"""

import errno
import secrets
from typing import Final, Protocol

from nacl import bindings
from nacl._sodium import ffi  # type: ignore[import-not-found]  # a compiled module without types
from nacl.exceptions import CryptoError, InvalidkeyError

from lalepass_service.adapters.hashing import compiled
from lalepass_service.core.errors import Overloaded, UnreadableRecord

_NO_MEMORY_RETRY_SECONDS: Final = 5.0
_SALT_OCTETS: Final = 16


class Binding(Protocol):
    """Argon2id on the calling thread."""

    @property
    def name(self) -> str:
        """What operators know it by."""
        ...

    def make(self, octets: bytes, *, memory_kib: int, iterations: int) -> bytes:
        """Make a record with one lane and a fresh salt.

        Raises:
            Overloaded: there is no memory for it.
        """
        ...

    def verify(self, octets: bytes, *, phc: bytes) -> bool:
        """Say whether an argon2id record was made of these octets.

        Raises:
            Overloaded: there is no memory for it.
            UnreadableRecord: it can't be read.
        """
        ...


class Sodium:
    """libsodium, through PyNaCl: it chooses SSSE3, AVX2 or AVX-512 when it runs."""

    name = "libsodium"

    def make(self, octets: bytes, *, memory_kib: int, iterations: int) -> bytes:
        """Make a record with one lane and a fresh salt.

        Raises:
            Overloaded: there is no memory for it.
        """
        kind = bindings.crypto_pwhash_ALG_ARGON2ID13
        try:
            return bindings.crypto_pwhash_str_alg(octets, iterations, memory_kib * 1024, kind)
        except CryptoError as exc:
            # The parameters are valid, so all that can be missing is memory.
            raise _no_memory() from exc

    def verify(self, octets: bytes, *, phc: bytes) -> bool:
        """Say whether an argon2id record was made of these octets.

        libsodium has one return value for a wrong password, a record that it can't read and a lack
        of memory; PyNaCl calls all three "Wrong password". Only errno tells them apart: EINVAL for
        the first, which is set on purpose. Without a look at it, a machine out of memory would
        tell people that their password is wrong. cffi keeps errno for each thread.

        Raises:
            Overloaded: there is no memory for it.
            UnreadableRecord: it can't be read.
        """
        ffi.errno = 0
        try:
            return bindings.crypto_pwhash_str_verify(phc, octets)
        except InvalidkeyError as exc:
            if ffi.errno == errno.EINVAL:
                return False
            if ffi.errno == errno.ENOMEM:
                raise _no_memory() from exc
            raise UnreadableRecord("libsodium does not accept it") from exc
        except CryptoError as exc:
            raise UnreadableRecord("libsodium does not accept it") from exc


class Compiled:
    """The reference implementation, compiled for the processor that there is."""

    def __init__(self, name: str, library: compiled.Library) -> None:
        self.name = name
        self._library = library

    def make(self, octets: bytes, *, memory_kib: int, iterations: int) -> bytes:
        """Make a record with one lane and a fresh salt.

        Raises:
            Overloaded: there is no memory for it.
        """
        salt = secrets.token_bytes(_SALT_OCTETS)
        code, record = self._library.hash(
            octets, salt=salt, memory_kib=memory_kib, iterations=iterations
        )
        if code != compiled.OK:
            # As above.
            raise _no_memory()
        return record

    def verify(self, octets: bytes, *, phc: bytes) -> bool:
        """Say whether an argon2id record was made of these octets.

        Raises:
            Overloaded: there is no memory for it.
            UnreadableRecord: it can't be read.
        """
        code = self._library.verify(octets, phc=phc)
        if code == compiled.NO_MEMORY:
            raise _no_memory()
        if code not in {compiled.OK, compiled.MISMATCH}:
            raise UnreadableRecord("the reference implementation does not accept it")
        return code == compiled.OK


def _no_memory() -> Overloaded:
    return Overloaded(retry_after=_NO_MEMORY_RETRY_SECONDS)
