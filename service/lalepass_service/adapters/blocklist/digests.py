"""Passwords as truncated digests, and how to find one among many.

A blocklist never holds passwords, which would be a present for whoever steals the file, and every
entry is of one width, so that it is found by halving. Twelve bytes, 96 bits: among a thousand
million entries, a password that is not on the list is taken for one with a chance of 1 in 2 to the
66th. That can be called never, and if it happened, somebody would have to choose another password.
Whoever tried to make it happen, by search, would harm only themselves.
"""

import hashlib
from enum import IntEnum
from mmap import mmap
from typing import Final

WIDTH: Final = 12
"""Bytes of a digest that are kept."""


class Algorithm(IntEnum):
    """What the entries of a list are digests of. The numbers stand in files."""

    # of the password, NFC, in UTF-8
    SHA256 = 1
    # as Have I Been Pwned gives its lists away
    SHA1 = 2


def digest_of(text: str, algorithm: Algorithm) -> bytes | None:
    """Return what a list would hold of this password; None if it can be on no list."""
    try:
        octets = text.encode()
    except UnicodeEncodeError:
        # Lone surrogates. The error holds the text, so it must not leave this function.
        return None
    if algorithm is Algorithm.SHA1:
        # Not for security: it is the form in which the list comes.
        return hashlib.sha1(octets, usedforsecurity=False).digest()[:WIDTH]
    return hashlib.sha256(octets).digest()[:WIDTH]


def holds(buffer: bytes | mmap, key: bytes, *, start: int, low: int, high: int) -> bool:
    """Say whether `key` is among the sorted entries number `low` to `high` behind `start`.

    Each look is at one entry, so of a mapped file only the pages on the way are read.
    """
    width = len(key)
    while low < high:
        middle = (low + high) // 2
        position = start + middle * width
        entry = buffer[position : position + width]
        if entry == key:
            return True
        if entry < key:
            low = middle + 1
        else:
            high = middle
    return False
