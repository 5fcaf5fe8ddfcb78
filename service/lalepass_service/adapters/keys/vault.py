"""What the store of accounts wraps its records with, and how it follows the files."""

import logging
import secrets
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from lalepass_service.adapters.keys.files import BrokenKeys, KeyDirectory
from lalepass_service.adapters.keys.ring import KEY_BYTES, KeyRing, hkdf, key_of, refuse_wrapped
from lalepass_service.core.errors import NoAnswer, UnreadableRecord
from lalepass_service.core.model import UserId

_log: Final = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 1.0
"""How long a change of the files may go unnoticed while records are only read."""


class Vault(Protocol):
    """Wraps records before they are stored. May be used from several threads."""

    def seal(self, text: str, *, user_id: UserId) -> tuple[str, str | None]:
        """Return what to store, and the id of the key, None if it is not wrapped.

        To be called inside the transaction that stores it: so no key can be retired in between
        (see `sql.rewrap`).

        Raises:
            NoAnswer: nothing may be stored at the moment.
        """
        ...

    def open(self, stored: str, *, user_id: UserId) -> str:
        """Return the record. One that is not wrapped, from before there were keys, as it is.

        Raises:
            UnreadableRecord: its key is missing or does not open it, for this user at least.
        """
        ...

    def derive(self, purpose: str) -> bytes:
        """Return 32 secret bytes for keyed digests, other ones for each purpose."""
        ...


class NullVault:
    """Wraps nothing. Implements `Vault` where no folder for keys is set."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(KEY_BYTES)

    def seal(self, text: str, *, user_id: UserId) -> tuple[str, None]:  # noqa: ARG002 - of the protocol
        """Return the record as it is."""
        refuse_wrapped(text)
        return text, None

    def open(self, stored: str, *, user_id: UserId) -> str:  # noqa: ARG002 - of the protocol
        """Return the record as it is.

        Raises:
            UnreadableRecord: it is wrapped.
        """
        key_id = key_of(stored)
        if key_id is not None:
            raise UnreadableRecord(f"it needs the key {key_id}, and keys.directory is not set")
        return stored

    def derive(self, purpose: str) -> bytes:
        """Return a secret that ends with the process.

        Without a folder there is nowhere to keep one, and beside the digests, in the database, it
        would be no secret. The price: what is recognised by a digest is new after a restart.
        """
        return hkdf(self._secret, purpose)


class KeyVault:
    """Wraps with the keys in a folder, and follows its changes. Implements `Vault`.

    Looking at a few files blocks the event loop for some microseconds, as long as they are on a
    local disk, which `docs/keys.md` asks for.
    """

    def __init__(
        self, directory: KeyDirectory, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Read the keys.

        Raises:
            BrokenKeys: they are not as they have to be.
        """
        self._directory = directory
        self._monotonic = monotonic
        self._lock = threading.Lock()
        # The stamp comes first: what changes while the files are read is noticed the next time.
        self._stamp = directory.stamp()
        self._looked_at = monotonic()
        self._ring = directory.load()
        self._unwrapped = 0

    @property
    def ring(self) -> KeyRing:
        """The keys as they are now, or were when they could last be read."""
        return self._look()

    @property
    def unwrapped(self) -> int:
        """How many records were read that are not wrapped."""
        return self._unwrapped

    def seal(self, text: str, *, user_id: UserId) -> tuple[str, str]:
        """Wrap with the active key, after a look at the files.

        Raises:
            NoAnswer: its file is gone, so that the record could not be read after a restart.
        """
        ring = self._look()
        if not self._directory.has(ring.active):
            raise NoAnswer(
                f"the key {ring.active} has vanished from {self._directory.path}: "
                "no password can be stored"
            )
        return ring.seal(text, user_id=user_id), ring.active

    def open(self, stored: str, *, user_id: UserId) -> str:
        """Unwrap; for a key that is not known yet, look at the files at once.

        Raises:
            UnreadableRecord: the key is missing or does not open it, for this user at least.
        """
        key_id = key_of(stored)
        if key_id is None:
            self._unwrapped += 1
            return stored
        ring = self._look(at_most_every=_LOOK_SECONDS)
        if key_id not in ring.ids:
            ring = self._look()
        if key_id not in ring.ids:
            raise UnreadableRecord(f"the key {key_id} is missing in {self._directory.path}")
        return ring.open(stored, user_id=user_id)

    def derive(self, purpose: str) -> bytes:
        """Return a secret that is the same in every process that has this folder.

        It stays the same when keys are rotated, and changes only with the file `digest`.
        """
        return self._ring.derive(purpose)

    def _look(self, *, at_most_every: float = 0.0) -> KeyRing:
        """Read the files again if they have changed."""
        with self._lock:
            now = self._monotonic()
            if now - self._looked_at >= at_most_every:
                self._looked_at = now
                stamp = self._directory.stamp()
                if stamp != self._stamp:
                    self._stamp = stamp
                    self._read_again()
            return self._ring

    def _read_again(self) -> None:
        """Take over what is in the files now, or keep what was there before if they are broken.

        Says so once for each change: the stamp is remembered in either case.
        """
        try:
            self._ring = self._directory.load()
        except BrokenKeys as error:
            _log.error("the changed keys can't be used, the old ones stay in force: %s", error)
        else:
            _log.info("the keys were read again, active is %s", self._ring.active)
