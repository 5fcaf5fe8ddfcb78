"""Makes the compact form of lists that may be larger than the memory.

Digests are spread evenly, whatever the passwords are like. So they are dealt out to files by their
first byte; each file is then small enough to be sorted in memory, or is dealt out once more by the
next byte. One after the other they are the sorted whole, and nothing has to be merged.
"""

import hashlib
import os
import tempfile
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from lalepass_service.adapters.blocklist.digests import WIDTH, Algorithm
from lalepass_service.adapters.blocklist.file import (
    INDEX_BYTES,
    RECORDS_AT,
    Header,
    index_from,
)
from lalepass_service.adapters.owners import give_to_owner_of
from lalepass_service.core.errors import InvalidInput

CHUNK: Final = 1_000_000
"""Digests that are held in memory at a time; about 100 bytes each."""

_READ: Final = 65536 * WIDTH


@dataclass(frozen=True, slots=True)
class Built:
    """What came of it."""

    entries: int
    size: int


def build(
    batches: Iterable[list[bytes]], output: Path, *, algorithm: Algorithm, chunk: int = CHUNK
) -> Built:
    """Write the digests to a file of the compact form, sorted and each of them once.

    The file is there when it is finished, or not at all. What is put aside meanwhile lies beside
    it, where there has to be room for the file anyway: twelve bytes a line, and the result.

    It belongs to whom its folder belongs to.

    Raises:
        InvalidInput: there is nothing to put in: a list of nothing would look like one.
        OSError: there is no room, or no right to write.
    """
    output = output.absolute()
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as name:
        folder = Path(name)
        parts = _deal(batches, folder, byte=0, chunk=chunk)
        new = folder / "new"
        with new.open("xb") as file:
            built = _write(file, _in_order(parts, byte=0, chunk=chunk), algorithm)
            if not built.entries:
                raise InvalidInput("there is no password in the sources: nothing was made")
            file.flush()
            give_to_owner_of(output.parent, file.fileno())
            os.fsync(file.fileno())
        new.replace(output)
        _sync(output.parent)
    return built


def _sync(folder: Path) -> None:
    """Have a name that was given survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _deal(batches: Iterable[list[bytes]], folder: Path, *, byte: int, chunk: int) -> list[Path]:
    """Append each digest to the file of its byte; return the files, in order."""
    piles = [bytearray() for _ in range(256)]
    held = 0
    for batch in batches:
        for digest in batch:
            piles[digest[byte]] += digest
        held += len(batch)
        if held >= chunk:
            _put_aside(piles, folder)
            held = 0
    _put_aside(piles, folder)
    paths = (folder / f"{number:02x}" for number in range(256))
    return [path for path in paths if path.exists()]


def _put_aside(piles: list[bytearray], folder: Path) -> None:
    # Opened and closed each time: 256 open files are too many for some systems.
    for number, pile in enumerate(piles):
        if pile:
            with (folder / f"{number:02x}").open("ab") as file:
                file.write(pile)
            pile.clear()


def _in_order(parts: list[Path], *, byte: int, chunk: int) -> Iterator[list[bytes]]:
    """Yield all digests of the files, sorted and each of them once, and remove the files."""
    for part in parts:
        distinct = _distinct(part, chunk=chunk)
        # Behind the last byte there is nothing to tell digests apart by.
        if distinct is None and byte < WIDTH - 1:
            with _subfolder(part) as folder:
                smaller = _deal(_read(part), folder, byte=byte + 1, chunk=chunk)
                part.unlink()
                yield from _in_order(smaller, byte=byte + 1, chunk=chunk)
            continue
        part.unlink()
        yield sorted(distinct or ())


def _distinct(part: Path, *, chunk: int) -> set[bytes] | None:
    """Return the digests of a file; None if they are more than may be held in memory."""
    distinct: set[bytes] = set()
    for batch in _read(part):
        distinct.update(batch)
        if len(distinct) > chunk:
            return None
    return distinct


def _read(part: Path) -> Iterator[list[bytes]]:
    with part.open("rb") as file:
        while block := file.read(_READ):
            yield [block[start : start + WIDTH] for start in range(0, len(block), WIDTH)]


@contextmanager
def _subfolder(part: Path) -> Iterator[Path]:
    folder = part.with_name(f"{part.name}-parts")
    folder.mkdir()
    yield folder
    folder.rmdir()


def _write(file: BinaryIO, batches: Iterable[list[bytes]], algorithm: Algorithm) -> Built:
    counts = array("Q", bytes(INDEX_BYTES))
    digest = hashlib.sha256()
    file.seek(RECORDS_AT)
    for batch in batches:
        for prefix, number in Counter(entry[:2] for entry in batch).items():
            # Where there was little memory, one prefix comes in several batches.
            counts[int.from_bytes(prefix)] += number
        records = b"".join(entry[2:] for entry in batch)
        digest.update(records)
        file.write(records)
    size = file.tell()
    index = index_from(counts)
    header = Header(algorithm=algorithm, count=sum(counts), records_digest=digest.digest())
    file.seek(0)
    file.write(header.packed(index) + index)
    return Built(entries=header.count, size=size)
