"""The compact form of a blocklist: a file that is looked into where it lies.

    header    magic, version, algorithm, width, count, two digests
    index     for each of the 65536 first two bytes: how many entries there are up to their end
    records   the entries without their first two bytes, sorted

The index leads to a 65536th of the entries at once, and halving does the rest: 14 looks among a
thousand million. The file is mapped and not loaded, so its size costs no memory.
"""

import hashlib
import mmap
import os
import struct
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from lalepass_service.adapters.blocklist.digests import WIDTH, Algorithm, digest_of, holds
from lalepass_service.core.errors import BlocklistUnavailable

MAGIC: Final = b"LALEPWBL"
VERSION: Final = 1
PREFIXES: Final = 65536
RECORD: Final = WIDTH - 2
_FIELDS: Final = struct.Struct(">8sHBBIQ32s")
_HEADER_BYTES: Final = _FIELDS.size + 32
INDEX_BYTES: Final = PREFIXES * 8
RECORDS_AT: Final = _HEADER_BYTES + INDEX_BYTES

_READ_WHOLE: Final = 64 * 1024 * 1024
"""Up to this size all of a file is checked when it is opened, which takes a tenth of a second. Of
longer ones only the header, the index and the size: with them, no look-up can go astray, and what
is damaged behind them can hide an entry and nothing else. `lalepass blocklist verify` reads all."""

_BLOCK: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a file says of itself."""

    algorithm: Algorithm
    count: int
    records_digest: bytes

    def packed(self, index: bytes) -> bytes:
        """Return the header as bytes. Its digest is over the index as well."""
        fields = _FIELDS.pack(
            MAGIC, VERSION, self.algorithm, WIDTH, 0, self.count, self.records_digest
        )
        return fields + hashlib.sha256(fields + index).digest()


class MappedBlocklist:
    """A file of the compact form. Implements `core.ports.Blocklist`."""

    def __init__(self, path: Path, descriptor: int, mapped: mmap.mmap) -> None:
        self.path = path
        self._descriptor = descriptor
        self._mapped = mapped
        self._size = len(mapped)
        head = mapped[:RECORDS_AT] if self._size >= RECORDS_AT else mapped[: self._size]
        self.header, self._ends = self._parsed(head)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Map a file and check it.

        Raises:
            BlocklistUnavailable: it is missing, damaged or something else.
        """
        descriptor, mapped = _mapped(path)
        try:
            opened = cls(path, descriptor, mapped)
            if len(mapped) <= _READ_WHOLE:
                opened.verify()
        except BaseException:
            os.close(descriptor)
            raise
        return opened

    def contains(self, text: str) -> bool:
        """Say whether exactly this text, which is in NFC, is on the list.

        Raises:
            BlocklistUnavailable: the file has been cut or written over since it was opened.
        """
        digest = digest_of(text, self.header.algorithm)
        if digest is None:
            return False
        self._require_whole()
        prefix = digest[0] << 8 | digest[1]
        low = self._ends[prefix - 1] if prefix else 0
        return holds(self._mapped, digest[2:], start=RECORDS_AT, low=low, high=self._ends[prefix])

    def verify(self) -> None:
        """Read all of it.

        Raises:
            BlocklistUnavailable: it is damaged.
        """
        self._require_whole()
        digest = hashlib.sha256()
        for start in range(RECORDS_AT, self._size, _BLOCK):
            digest.update(self._mapped[start : start + _BLOCK])
        if digest.digest() != self.header.records_digest:
            raise self._damaged("its entries are not those that it was made with")

    def close(self) -> None:
        """Let go of the file."""
        self._mapped.close()
        os.close(self._descriptor)

    def _require_whole(self) -> None:
        # Reading what is no longer in a mapped file ends the process, with every login in it. So
        # somebody who copies a new list over this one, in place of moving it there, is noticed
        # first. A system call of a microsecond is all it costs.
        if os.fstat(self._descriptor).st_size != self._size:
            raise self._damaged("it has changed its size; move a new file there, and restart")

    def _parsed(self, head: bytes) -> tuple[Header, "array[int]"]:
        if not head.startswith(MAGIC):
            raise self._damaged("it is not of `lalepass blocklist build`")
        if len(head) < RECORDS_AT:
            raise self._damaged("it has been cut off")
        _, version, algorithm, width, _, count, records_digest = _FIELDS.unpack_from(head)
        if version != VERSION:
            raise self._damaged(f"it is of version {version}, and this program knows {VERSION}")
        index = head[_HEADER_BYTES:]
        digest = hashlib.sha256(head[: _FIELDS.size] + index).digest()
        if digest != head[_FIELDS.size : _HEADER_BYTES] or width != WIDTH:
            raise self._damaged("its header is not the one that it was made with")
        if self._size != RECORDS_AT + count * RECORD:
            raise self._damaged(f"it has {self._size} bytes, which do not hold {count} entries")
        header = Header(algorithm=Algorithm(algorithm), count=count, records_digest=records_digest)
        return header, ends_from(index)

    def _damaged(self, why: str) -> BlocklistUnavailable:
        return BlocklistUnavailable(f"{self.path}: {why}")


def _mapped(path: Path) -> tuple[int, mmap.mmap]:
    try:
        # Without waiting for a writer, should it be a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as exc:
        raise BlocklistUnavailable(f"{path}: {exc.strerror}") from exc
    try:
        return descriptor, mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as exc:
        os.close(descriptor)
        # An empty file can't be mapped, nor can a folder or a pipe.
        raise BlocklistUnavailable(f"{path}: it is no file with something in it") from exc


def ends_from(index: bytes) -> "array[int]":
    """Read an index as it is in a file: big-endian, on every machine."""
    ends = array("Q", index)
    if struct.pack("=H", 1) != struct.pack(">H", 1):
        ends.byteswap()
    return ends


def index_from(counts: "array[int]") -> bytes:
    """Return the index for the numbers of entries with each prefix."""
    ends = array("Q")
    total = 0
    for count in counts:
        total += count
        ends.append(total)
    if struct.pack("=H", 1) != struct.pack(">H", 1):
        ends.byteswap()
    return ends.tobytes()
