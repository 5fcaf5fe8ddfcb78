"""Keyed digests: names for guesses and sources that say nothing without the key.

A wrong password is most often the right one with a slip of the finger, so it must not be stored in
a form that can be attacked. The key is not in the database (see `adapters/keys`): who has only that
can't try passwords against a digest.
"""

import hashlib
import hmac
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from lalepass_service.core.model import Credentials, Password
from lalepass_service.core.policy import normal_form
from lalepass_service.core.softlock import GUESS_BYTES

NOWHERE: Final = b""
"""The digest of a source that is not known."""

_IPV6_PREFIX: Final = 64

_IPV4_BITS: Final = 32
_OF_IPV4: Final = frozenset(
    int(IPv6Address(network)) >> _IPV4_BITS
    for network in (
        # mapped: a socket for both families (RFC 4291)
        "::ffff:0:0",
        # translated, by a machine between the two (RFC 2765)
        "::ffff:0:0:0",
        # NAT64's well-known prefix (RFC 6052)
        "64:ff9b::",
    )
)
"""The first 96 bits of the networks whose addresses are an IPv4 address each."""


class Digests:
    """Makes digests with one key."""

    def __init__(self, key: bytes) -> None:
        # Prepared: looking up the function and hashing the key each time takes twice as long
        # beside Argon2, which leaves nothing of it in the processor's caches.
        self._keyed = hmac.new(key, digestmod=hashlib.sha256)

    def guess(self, account: str, password: Password) -> bytes:
        """Return the name of this guess at this account; at another it has another name."""
        text = normal_form(password).reveal().encode("utf-8", "surrogatepass")
        return self._digest(b"guess", account.encode(), text)

    def attempt(self, account: str, password: Password, *, source: bytes) -> bytes:
        """Return the name of a check. Of the password to the letter: other hashes fold nothing."""
        text = password.reveal().encode("utf-8", "surrogatepass")
        return self._digest(b"attempt", account.encode(), text, source)

    def account(self, credentials: Credentials) -> bytes:
        """Return the name of an account as it is: of all that is known of it, with its record."""
        record = credentials.record
        # What is kept out of every print; the rest prints itself whole, and reads back as itself.
        hidden = (record.phc, record.stored, record.scheme) if record else ()
        text = repr((credentials, hidden))
        return self._digest(b"account", text.encode("utf-8", "surrogatepass"))

    def right(self, account: bytes, password: Password) -> bytes:
        """Return the name of a password that is right for an account as it is, to the letter."""
        text = password.reveal().encode("utf-8", "surrogatepass")
        return self._digest(b"right", account, text)

    def near(self, name: str) -> str:
        """Return where a name would be among the accounts, in hexadecimal digits."""
        return self._digest(b"near", name.encode()).hex()

    def name(self, text: str, *, kind: str) -> str:
        """Return what stands for a thing of this kind outside, in hexadecimal digits."""
        return self._digest(b"name", kind.encode(), text.encode()).hex()

    def source(self, account: str, prefix: str | None) -> bytes:
        """Return the name of this source for this account, or NOWHERE."""
        if prefix is None:
            return NOWHERE
        return self._digest(b"source", account.encode(), prefix.encode())

    def _digest(self, *parts: bytes) -> bytes:
        # Lengths in front, so that no two lists of parts are the same bytes.
        framed = b"".join(len(part).to_bytes(4) + part for part in parts)
        keyed = self._keyed.copy()
        keyed.update(framed)
        return keyed.digest()[:GUESS_BYTES]


def source_prefix(ip: str | None) -> str | None:
    """Return what counts as one source: an IPv4 address, or an IPv6 network of one customer (/64).

    A single customer has 2^64 IPv6 addresses and could use a new one for each guess. An IPv4
    address inside IPv6 is the IPv4 address, where it has a fixed place. In 64:ff9b:1::/48, which is
    for local use (RFC 8215), and in a network's own prefix for NAT64 it has none: all behind
    such a one are a source.
    """
    if ip is None:
        return None
    address = ip_address(ip)
    if not isinstance(address, IPv6Address):
        return str(address)
    number = int(address)
    if number >> _IPV4_BITS in _OF_IPV4:
        return str(IPv4Address(number & (1 << _IPV4_BITS) - 1))
    network = number >> (128 - _IPV6_PREFIX) << (128 - _IPV6_PREFIX)
    return f"{IPv6Address(network)}/{_IPV6_PREFIX}"
