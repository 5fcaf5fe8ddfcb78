"""What Valkey holds: one hash for each account, named by a keyed digest.

    {prefix}:1:u:{digest}   an account; `n` in the place of `u` is a name that nobody has
        p                   when its password was set, of which all the rest is; absent if unknown
        u                   when it was unlocked, before which no lane began; absent if unknown
        e                   the lane of everybody
        l{source}           the lane of a known source
        k{source}           when a source was last known by a right password

The digit is the version of this layout: a later one has other keys, so that older and newer
replicas never read one another's. Times are microseconds since 1970, in decimal digits where a
script compares them. One key for each account keeps all that a step changes in one slot of a
cluster, and what belongs together in a few hundred bytes.

No name, no address and no password can be read from it without the installation's digest key.
"""

import struct
from datetime import UTC, datetime, timedelta
from typing import Final

from lalepass_service.core.digests import Digests
from lalepass_service.core.errors import LalepassError, StoreUnavailable
from lalepass_service.core.softlock import GUESS_BYTES, NOBODY, Lane

PASSWORD_SET: Final = b"p"
UNLOCKED: Final = b"u"
_EVERYBODY: Final = b"e"
_LANE: Final = b"l"
_KNOWN: Final = b"k"

_HEAD: Final = struct.Struct(">BHQQ")
_VERSION: Final = 1
_MOST: Final = 0xFFFF
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Unreadable(StoreUnavailable):
    """A value is of no known form."""

    def __init__(self, why: str) -> None:
        LalepassError.__init__(self, f"what is in Valkey can't be read: {why}")


def is_name(account: str) -> bool:
    """Say whether this is a name that nobody has."""
    return account.endswith(NOBODY)


def key_of(account: str, *, prefix: str, digests: Digests) -> str:
    """Return the key of an account."""
    kind = "n" if is_name(account) else "u"
    return f"{prefix}:1:{kind}:{{{digests.name(account, kind='account')}}}"


def is_key_of_name(key: bytes, *, prefix: str) -> bool:
    """Say whether a key is that of a name that nobody has."""
    return key.startswith(f"{prefix}:1:n:".encode())


def lane_field(lane: bytes) -> bytes:
    """Return the field of a lane; an empty one is that of everybody."""
    return _LANE + lane if lane else _EVERYBODY


def known_field(source: bytes) -> bytes:
    """Return the field that says when a source was last known."""
    return _KNOWN + source


def is_known_field(name: bytes) -> bool:
    """Say whether a field is one of those."""
    return name.startswith(_KNOWN)


def lane_of(name: bytes) -> bytes | None:
    """Return which lane a field is of; None if of none."""
    if name == _EVERYBODY:
        return b""
    return name[1:] if name.startswith(_LANE) else None


def pack(lane: Lane, *, changed_at: datetime) -> bytes:
    """Write a lane down."""
    not_before = 0 if lane.not_before is None else micros(lane.not_before)
    head = _HEAD.pack(_VERSION, min(lane.failures, _MOST), not_before, micros(changed_at))
    return head + b"".join(lane.ring)


def unpack(value: bytes) -> tuple[Lane, datetime]:
    """Read a lane, and when it was last changed.

    Raises:
        Unreadable: this is no lane.
    """
    ring = value[_HEAD.size :]
    if len(value) < _HEAD.size or len(ring) % GUESS_BYTES or value[0] != _VERSION:
        raise Unreadable("a lane is of no known form")
    _, failures, not_before, changed_at = _HEAD.unpack_from(value)
    guesses = (ring[start : start + GUESS_BYTES] for start in range(0, len(ring), GUESS_BYTES))
    lane = Lane(
        failures=failures,
        not_before=moment(not_before) if not_before else None,
        ring=tuple(guesses),
    )
    return lane, moment(changed_at)


def micros(at: datetime) -> int:
    """Return a time as a number."""
    return max(0, (at - _EPOCH) // _MICROSECOND)


def moment(micros: int) -> datetime:
    """Return the time of a number.

    Raises:
        Unreadable: it is none.
    """
    try:
        return _EPOCH + micros * _MICROSECOND
    except OverflowError:
        raise Unreadable("a time is out of reach") from None


def digits(value: bytes | None) -> datetime | None:
    """Return the time that is written in digits, if one is.

    Raises:
        Unreadable: these are none.
    """
    if not value:
        return None
    if not value.isdigit() or len(value) > 18:  # noqa: PLR2004 - beyond all times
        raise Unreadable("a time is of no known form")
    return moment(int(value))
