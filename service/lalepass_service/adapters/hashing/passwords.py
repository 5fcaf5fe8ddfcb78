"""The hasher that the rules use: ours, and for what others have made, theirs."""

from collections.abc import Mapping
from functools import partial
from typing import Final

from lalepass_service.adapters.hashing.admission import HasherLoad
from lalepass_service.adapters.hashing.argon2 import Argon2Hasher
from lalepass_service.adapters.hashing.decoys import Decoys
from lalepass_service.adapters.hashing.formats import Known, identify
from lalepass_service.adapters.hashing.legacy import LegacyProcesses
from lalepass_service.adapters.hashing.octets import octets_of, shortened
from lalepass_service.core.errors import UnreadableRecord
from lalepass_service.core.model import NormalForm, Password, PasswordRecord

_GRACE_SECONDS: Final = 1.0
"""At the end, for foreign records that are being verified: enough for most. The dearest would hold
the end up for as long as `LegacyProcesses` lets them, and containers are killed after ten."""


class PasswordHasher:
    """Implements `core.ports.Hasher` for all formats.

    argon2id, whoever made it, is verified on a thread of ours; all else in processes
    that can be killed. Both take a slot, so what a machine does at once is bounded once.
    """

    def __init__(
        self, *, own: Argon2Hasher, legacy: LegacyProcesses, decoy_key: bytes, pepper: bytes = b""
    ) -> None:
        """Put the parts together.

        Args:
            own: makes the new records, and lends its slots.
            legacy: verifies all others.
            decoy_key: spreads the names without a record over the decoys. The same in all
                processes and after a restart, or a name that changes its time is one that has
                no record.
            pepper: Synapse's, for records that Synapse made.
        """
        self._own = own
        self._legacy = legacy
        self._decoys = Decoys(own_scheme=own.scheme, key=decoy_key)
        self._pepper = pepper

    async def hash(self, password: Password) -> PasswordRecord:
        """Make a record of a new password, with a fresh salt.

        Raises:
            Overloaded: more hashes wait than can be done in time, or there is no memory for it.
            PasswordRejected: the password has no UTF-8 form.
        """
        return await self._own.hash(password)

    async def verify(
        self, password: Password, record: PasswordRecord | None, *, account: str
    ) -> bool:
        """Say whether the record was made of this password; without a record, hash a decoy.

        Raises:
            Overloaded: more hashes wait than can be done in time, there is no memory for it, or
                somebody has killed the process that verifies.
            UnreadableRecord: the record is broken, or would cost more than is allowed.
        """
        # Chosen for everybody, and then treated like any record: what is done for a name that
        # nobody has is done for one that somebody has, down to the last digest.
        decoy = self._decoys.choose(account) or self._own.decoy
        hashed = decoy if record is None else record
        known = identify(hashed.phc)
        if known.format.name == "argon2id":
            matches = await self._own.compare(password, hashed.form, known)
        else:
            matches = await self._verify_foreign(password, hashed.form, known)
        return matches and record is not None

    def outdated(self, record: PasswordRecord) -> bool:
        """Say whether the record is not as this hasher would make it now.

        Stronger parameters count, too: they are what the settings were, and records of one cost
        take one time.
        """
        if record.form is NormalForm.NFC and record.phc.startswith(self._own.head):
            return False
        try:
            known = identify(record.phc)
        except UnreadableRecord:
            return False
        ours = known.scheme == self._own.scheme and known.text == record.phc
        return not ours or record.form is not NormalForm.NFC

    def set_mix(self, counts: Mapping[str, int]) -> None:
        """Say how many records there are of each scheme, so that decoys are spread like them."""
        self._decoys.set_mix(counts)

    @property
    def binding(self) -> str:
        """The name of what makes and verifies our own records."""
        return self._own.binding

    def load(self) -> HasherLoad:
        """Return how busy the hasher is."""
        return self._own.load()

    @property
    def lost(self) -> Mapping[str, int]:
        """How many processes for foreign records did not live to answer, and why."""
        return self._legacy.lost

    def admit(self, *, coming: int) -> None:
        """Say whether one more could come in, while so many are coming who may.

        Raises:
            Overloaded: more hashes wait than can be done in time.
        """
        self._own.slots.admit(coming=coming)

    def has_room(self) -> bool:
        """Say whether a hash could begin at once."""
        return self._own.has_room()

    def close(self) -> None:
        """Finish what runs, refuse what waits, and stop threads and processes. Blocks meanwhile.

        What is foreign and takes long is no answer then, like all that could not be found out.
        """
        self._own.close(seconds=_GRACE_SECONDS)
        # Threads that wait for one of these come to an end by it.
        self._legacy.close()
        self._own.close()

    async def _verify_foreign(self, password: Password, form: NormalForm, known: Known) -> bool:
        """Verify in a process of its own, and take nothing with a NUL in it for right.

        Nobody can type one, and most foreign hashes take it for less than a character: HMAC pads
        with it, so that PBKDF2 and scrypt ignore it at the end, and others stop there. What is
        longer than may be hashed is wrong, too: see `kinds.Format.longest`.
        """
        octets = octets_of(password, form)
        hashed = shortened((octets or b"").replace(b"\0", b""), known.format.longest)
        possible = octets == hashed
        # What can't be a password must not be told from a wrong one by its time.
        peppered = hashed + (self._pepper if known.synapse else b"")
        work = partial(self._legacy.verify, known.text, peppered)
        matches = await self._own.run(work, known)
        return matches and possible
