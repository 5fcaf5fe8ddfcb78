"""Argon2id on threads of its own, by whichever binding was chosen: see `choice`.

New records have one lane (p=1), which is what one core can do; those of others have any number.
"""

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Final

from lalepass_service.adapters.hashing.admission import HasherLoad
from lalepass_service.adapters.hashing.bindings import Binding, Sodium
from lalepass_service.adapters.hashing.formats import Known, identify
from lalepass_service.adapters.hashing.kinds import (
    MAX_ARGON2_ITERATIONS,
    MAX_ARGON2_MEMORY_KIB,
)
from lalepass_service.adapters.hashing.octets import octets_of
from lalepass_service.adapters.hashing.slots import Slots
from lalepass_service.core.errors import InvalidInput, PasswordRejected, UnreadableRecord
from lalepass_service.core.model import NormalForm, Password, PasswordRecord

MIN_MEMORY_KIB: Final = 19456
MIN_ITERATIONS: Final = 2
"""The OWASP floor, https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html."""

MAX_MEMORY_KIB: Final = MAX_ARGON2_MEMORY_KIB
MAX_ITERATIONS: Final = MAX_ARGON2_ITERATIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Argon2Parameters:
    """The cost of new records.

    Raises:
        InvalidInput: below the OWASP floor, or above what a check may cost.
    """

    memory_kib: int = MIN_MEMORY_KIB
    iterations: int = MIN_ITERATIONS

    def __post_init__(self) -> None:
        if not MIN_MEMORY_KIB <= self.memory_kib <= MAX_MEMORY_KIB:
            raise InvalidInput(
                f"a hash takes {MIN_MEMORY_KIB} to {MAX_MEMORY_KIB} KiB of memory, "
                f"not {self.memory_kib}"
            )
        if not MIN_ITERATIONS <= self.iterations <= MAX_ITERATIONS:
            raise InvalidInput(
                f"a hash takes {MIN_ITERATIONS} to {MAX_ITERATIONS} iterations, "
                f"not {self.iterations}"
            )


class Argon2Hasher:
    """Hashes and verifies. Implements `core.ports.Hasher`.

    The constructor hashes once itself: that makes the decoy, and the first estimate of how long a
    hash takes. It blocks for that time, so build it before the event loop has work to do.
    """

    def __init__(
        self,
        *,
        parameters: Argon2Parameters,
        threads: int,
        max_waiting: int,
        deadline: float,
        binding: Binding | None = None,
        extra_kib: int = MAX_MEMORY_KIB,
    ) -> None:
        """Make a hash, and the threads for others.

        Args:
            parameters: of new records.
            threads: how many hash at a time.
            max_waiting: how many may wait for one of those.
            deadline: how many seconds each may wait.
            binding: what hashes, if not libsodium.
            extra_kib: how much memory records of other parameters may take together, above what
                ours would take in their place. A record that takes more by itself is verified
                alone.
        """
        self._parameters = parameters
        self._binding = binding or Sodium()
        started = perf_counter()
        # On a thread that ends: one that goes on may keep the memory of its last hash.
        with ThreadPoolExecutor(1) as pool:
            phc = pool.submit(self._make, secrets.token_bytes(32)).result().decode("ascii")
        self.decoy = PasswordRecord(phc, scheme=self.scheme)
        """A record that no password is right for."""
        self.head = phc[: phc.index("p=1$") + len("p=1$")]
        """How the records begin that this hasher makes."""
        self._slots = Slots(
            count=threads,
            max_waiting=max_waiting,
            deadline=deadline,
            expected_duration=perf_counter() - started,
            extra_kib=extra_kib,
        )

    async def hash(self, password: Password) -> PasswordRecord:
        """Make a record of a new password, with a fresh salt.

        Raises:
            Overloaded: more hashes wait than can be done in time, or there is no memory for it.
            PasswordRejected: the password has no UTF-8 form.
        """
        octets = octets_of(password, NormalForm.NFC)
        if octets is None:
            raise PasswordRejected("a password can only contain characters that can be typed")
        phc = await self._slots.run(partial(self._make, octets))
        return PasswordRecord(phc.decode("ascii"), scheme=self.scheme)

    async def verify(
        self,
        password: Password,
        record: PasswordRecord | None,
        *,
        account: str,  # noqa: ARG002 - of the port; there is one decoy for all
    ) -> bool:
        """Say whether the record was made of this password; without a record, hash a decoy.

        Raises:
            Overloaded: more hashes wait than can be done in time, or there is no memory for it.
            UnreadableRecord: the record is broken, or would cost more than is allowed.
        """
        hashed = self.decoy if record is None else record
        matches = await self.compare(password, hashed.form, _affordable(hashed))
        return matches and record is not None

    async def compare(self, password: Password, form: NormalForm, known: Known) -> bool:
        """Say whether an argon2id record was made of this password.

        Raises:
            Overloaded: more hashes wait than can be done in time, or there is no memory for it.
            UnreadableRecord: the binding does not accept it.
        """
        phc, octets = known.text.encode("ascii"), octets_of(password, form)
        # What can't be anybody's password must not be told from a wrong one by its time.
        work = partial(self._binding.verify, octets or b"", phc=phc)
        matches = await self.run(work, known)
        return matches and octets is not None

    async def run(self, work: Callable[[], bool], known: Known) -> bool:
        """Verify a record on a thread, as what it costs allows.

        Raises:
            Overloaded: more hashes wait than can be done in time.
        """
        scheme = known.scheme
        if scheme == self.scheme:
            return await self._slots.run(work)
        extra_kib = max(0, known.memory_kib - self._parameters.memory_kib)
        return await self._slots.run(work, kind=scheme, extra_kib=extra_kib)

    def outdated(self, record: PasswordRecord) -> bool:
        """Say whether the record is not as this hasher would make it now."""
        ours = identify(record.phc).scheme == self.scheme
        return not ours or record.form is not NormalForm.NFC

    @property
    def scheme(self) -> str:
        """What new records are of."""
        return f"argon2id,m={self._parameters.memory_kib},t={self._parameters.iterations},p=1"

    @property
    def binding(self) -> str:
        """The name of what hashes."""
        return self._binding.name

    @property
    def slots(self) -> Slots:
        """The admission, for others who hash on the same cores."""
        return self._slots

    def load(self) -> HasherLoad:
        """Return how busy the hasher is."""
        return self._slots.load()

    def has_room(self) -> bool:
        """Say whether a hash could begin at once."""
        load = self.load()
        return load.busy < load.slots

    def close(self, *, seconds: float | None = None) -> None:
        """Finish what runs, refuse what waits, and stop the threads: see `Slots.close`."""
        self._slots.close(seconds=seconds)

    def _make(self, octets: bytes) -> bytes:
        costs = self._parameters
        return self._binding.make(octets, memory_kib=costs.memory_kib, iterations=costs.iterations)


def _affordable(record: PasswordRecord) -> Known:
    """Return the record once it is known to be argon2id as we write it, within the bounds.

    Raises:
        UnreadableRecord: it is not.
    """
    known = identify(record.phc)
    if known.format.name != "argon2id" or known.text != record.phc:
        raise UnreadableRecord("it is no argon2id record of version 19")
    return known
