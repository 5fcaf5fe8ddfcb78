"""What is hashed for names that have no record, so that they take the time of those that have.

With one decoy for all, a check that takes the time of bcrypt would say: this account exists, and
was brought along from elsewhere. So names without a record are spread over the schemes like the
records that are stored: each name, by a keyed digest, always over the same.

The price: which share has which scheme is there to be measured, and a name can change its scheme
when the shares have changed much, as a real one does when it is hashed anew. Our own scheme comes
first in the order, so that its growth, which is what logins do, moves names towards it. With no
foreign records at all, nothing of this is ever seen.
"""

import hashlib
import hmac
from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
from typing import Final

from lalepass_service.adapters.hashing.formats import FORMATS, foreign
from lalepass_service.core.errors import UnreadableRecord
from lalepass_service.core.model import OWN_SCHEME, NormalForm, PasswordRecord

_MOST_SCHEMES: Final = 64
"""Some makers chose their rounds at random. The commonest are enough."""


class Decoys:
    """Chooses a decoy for a name."""

    def __init__(self, *, own_scheme: str, key: bytes) -> None:
        self._own = {OWN_SCHEME, own_scheme}
        self._key = key
        self._records: tuple[PasswordRecord | None, ...] = (None,)
        self._bounds: tuple[int, ...] = (1,)

    def set_mix(self, counts: Mapping[str, int]) -> None:
        """Take over how many records there are of each scheme. Unknown ones are left out."""
        shares: dict[str, tuple[PasswordRecord | None, int]] = {}
        for scheme in sorted(counts, key=lambda each: -counts[each])[:_MOST_SCHEMES]:
            try:
                record = None if scheme in self._own else decoy(scheme)
            except UnreadableRecord:
                continue
            name = "" if record is None else scheme
            shares[name] = (record, counts[scheme] + shares.get(name, (None, 0))[1])
        # The empty name, ours, sorts first.
        chosen = [shares[name] for name in sorted(shares) if shares[name][1] > 0] or [(None, 1)]
        self._records = tuple(record for record, _ in chosen)
        self._bounds = tuple(accumulate(count for _, count in chosen))

    def choose(self, account: str) -> PasswordRecord | None:
        """Return the decoy for a name; None is our own."""
        if len(self._records) == 1:
            return self._records[0]
        digest = hmac.digest(self._key, account.encode(errors="surrogatepass"), hashlib.sha256)
        # A fraction of the whole, in integers: the same name falls on the same place of any mix.
        place = int.from_bytes(digest[:8]) * self._bounds[-1] >> 64
        return self._records[bisect_right(self._bounds, place)]


def decoy(scheme: str) -> PasswordRecord:
    """Return a record that takes the time of this scheme, and for which no password is right.

    Raises:
        UnreadableRecord: there is no such scheme.
    """
    name, *costs = scheme.split(",")
    plain = name.removeprefix("synapse-")
    kind = next((each for each in FORMATS if each.name == plain), None)
    if kind is None:
        raise UnreadableRecord("its scheme has no known name")
    try:
        text = kind.sample({key: int(value) for key, _, value in (c.partition("=") for c in costs)})
    except (ValueError, LookupError, OverflowError):
        raise UnreadableRecord("its scheme has other costs") from None
    return foreign(text, form=NormalForm.NFC, synapse=plain != name)
