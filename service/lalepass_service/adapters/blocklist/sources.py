"""What is in an operator's list: lines of passwords, or of their digests.

Read as a stream of blocks: a list may be larger than the memory, and may have a line that is.
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from lalepass_service.adapters.blocklist.digests import WIDTH, Algorithm
from lalepass_service.core.errors import InvalidInput

_BLOCK: Final = 1024 * 1024
_MAX_LINE: Final = 4096
"""Bytes. The longest password, 256 code points, has 1024 in NFC, and not four times as many before
it is brought there."""

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_SHA1: Final = re.compile(rb"([0-9A-Fa-f]{40})(?::([0-9]{1,18}))?\s*")


@dataclass(slots=True)
class Tally:
    """What was read so far."""

    lines: int = 0
    not_text: int = 0
    """Lines that are not UTF-8, and left out: nobody knows which password they mean."""
    too_long: int = 0
    """Lines that can't be a password, and left out."""


Reader = Callable[[BinaryIO, str, Tally], Iterator[list[bytes]]]
"""Reads a stream that is called so, and returns batches of digests."""


def plain(stream: BinaryIO, name: str, tally: Tally) -> Iterator[list[bytes]]:
    """Read passwords, one a line. Blanks belong to them, line endings of any kind do not.

    Raises:
        InvalidInput: these are digests, so that a list of them would match nothing.
    """
    first = b""
    for batch in _batches(stream):
        if not first:
            first = next((line for line in batch if line.strip()), b"")
            if _SHA1.fullmatch(first):
                raise InvalidInput(f"{name} holds SHA-1 digests: use --format sha1-hibp")
        tally.lines += len(batch)
        yield [
            hashlib.sha256(octets).digest()[:WIDTH]
            for octets in (_password(line, tally) for line in batch)
            if octets
        ]


def sha1_hibp(stream: BinaryIO, name: str, tally: Tally) -> Iterator[list[bytes]]:
    """Read SHA-1 digests in hexadecimal, each with the number of times it was seen, or without.

    Raises:
        InvalidInput: a line is something else.
    """
    for batch in _batches(stream):
        digests = []
        for line in batch:
            tally.lines += 1
            parts = _SHA1.fullmatch(line)
            if parts is None and line.strip():
                raise InvalidInput(f"{name}, line {tally.lines}: this is no SHA-1 digest")
            # Seen zero times: padding, which says nothing.
            if parts and (parts[2] is None or int(parts[2])):
                digests.append(bytes.fromhex(parts[1].decode())[:WIDTH])
        yield digests


FORMATS: Final[dict[str, tuple[Algorithm, Reader]]] = {
    "plain": (Algorithm.SHA256, plain),
    "sha1-hibp": (Algorithm.SHA1, sha1_hibp),
}


def _password(octets: bytes, tally: Tally) -> bytes | None:
    """Return the password of a line as policy asks for it: NFC, in UTF-8."""
    if len(octets) > _MAX_LINE:
        tally.too_long += 1
        return None
    if octets.isascii():
        return octets
    try:
        return unicodedata.normalize("NFC", octets.decode()).encode()
    except UnicodeDecodeError:
        tally.not_text += 1
        return None


def _batches(stream: BinaryIO) -> Iterator[list[bytes]]:
    """Yield the lines of a stream, many at a time and never none.

    They end as on Unix, Windows or an old Macintosh; no new password has one of these signs in it.
    """
    rest = stream.read(len(_BYTE_ORDER_MARK)).removeprefix(_BYTE_ORDER_MARK)
    while block := stream.read(_BLOCK):
        text = rest + block
        lines = _lines(text)
        # Of a line without an end only so much is kept that it is seen to be too long.
        rest = lines.pop()[: _MAX_LINE + 2]
        if text.endswith(b"\r"):
            # The other half of its end may be in the next block.
            rest += b"\r"
        if lines:
            yield lines
    if rest:
        yield _lines(rest)


def _lines(text: bytes) -> list[bytes]:
    """Split a text; half an end at its end is left out."""
    return text.removesuffix(b"\r").replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
