"""The names of the locked accounts, in little memory and quickly found."""

import secrets
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from hashlib import blake2b
from typing import Final

KEY_BYTES: Final = 16
DIGEST_BYTES: Final = 8
_SHARD_BITS: Final = 12
_SHIFT: Final = 8 * DIGEST_BYTES - _SHARD_BITS


class LockedNames:
    """A set of localparts.

    It keeps 64 bits of a keyed digest for each: a million names are 10 MB instead of the 100 MB of
    a set of strings, and the garbage collector has nothing to walk through. Among a million of
    them, another name is taken for one of them with a probability of 5e-14. The key is secret and
    random, so nobody can look for a name that collides.

    The digests lie sorted in 4096 short arrays. To add or remove one moves a few kilobytes at
    most; nothing ever has to be sorted or copied as a whole, so the reactor is never held up.
    """

    __slots__ = ("_key", "_shards", "_size")

    def __init__(self, key: bytes | None = None) -> None:
        self._key = secrets.token_bytes(KEY_BYTES) if key is None else key
        self._shards = [array("Q") for _ in range(1 << _SHARD_BITS)]
        self._size = 0

    @classmethod
    def restore(cls, *, key: bytes, digests: bytes) -> "LockedNames":
        """Make one of what `key` and `digests` gave.

        Raises:
            ValueError: it can't have come from there.
        """
        values = array("Q")
        values.frombytes(digests)
        restored = cls(key)
        begin = 0
        for number, shard in enumerate(restored._shards):
            end = bisect_left(values, (number + 1) << _SHIFT, begin)
            shard.extend(values[begin:end])
            begin = end
        restored._size = len(values)
        return restored

    @property
    def key(self) -> bytes:
        """What the digests are made with."""
        return self._key

    def digests(self) -> bytes:
        """Return them all, in ascending order, in this machine's order of bytes."""
        return b"".join(shard.tobytes() for shard in self._shards)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[str]:
        raise TypeError("only digests are kept, no names")

    def __contains__(self, localpart: str) -> bool:
        digest = self._digest(localpart)
        shard = self._shards[digest >> _SHIFT]
        place = bisect_left(shard, digest)
        return place < len(shard) and shard[place] == digest

    def add(self, localpart: str) -> bool:
        """Add a name. Returns whether it was not there before."""
        digest = self._digest(localpart)
        shard = self._shards[digest >> _SHIFT]
        place = bisect_left(shard, digest)
        if place < len(shard) and shard[place] == digest:
            return False
        shard.insert(place, digest)
        self._size += 1
        return True

    def discard(self, localpart: str) -> bool:
        """Remove a name. Returns whether it was there."""
        digest = self._digest(localpart)
        shard = self._shards[digest >> _SHIFT]
        place = bisect_left(shard, digest)
        if place == len(shard) or shard[place] != digest:
            return False
        del shard[place]
        self._size -= 1
        return True

    def _digest(self, localpart: str) -> int:
        digest = blake2b(localpart.encode(), digest_size=DIGEST_BYTES, key=self._key)
        return int.from_bytes(digest.digest(), "big")


class Knowledge:
    """Which accounts are locked, and up to where in the service's feed that is known."""

    def __init__(self) -> None:
        self.locked = LockedNames()
        self.cursor: str | None = None
        """None until they have been read once."""
        self.profiles: str | None = None
        """Up to where profiles were brought in step, in the process that does so."""
