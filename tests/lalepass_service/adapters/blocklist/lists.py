"""Lists to be read."""

import hashlib
import io
from collections.abc import Iterable
from pathlib import Path

from lalepass_service.adapters.blocklist.build import CHUNK, build
from lalepass_service.adapters.blocklist.sources import FORMATS, Tally


def made(
    raw: bytes, path: Path, *, form: str = "plain", chunk: int = CHUNK, tally: Tally | None = None
) -> Path:
    """Build a list of what is in a source."""
    algorithm, reader = FORMATS[form]
    batches = reader(io.BytesIO(raw), "source", tally or Tally())
    build(batches, path, algorithm=algorithm, chunk=chunk)
    return path


def a_list(path: Path, words: Iterable[str], *, sha1: bool = False) -> Path:
    if not sha1:
        return made("\n".join(words).encode(), path)
    digests = (hashlib.sha1(word.encode(), usedforsecurity=False).hexdigest() for word in words)
    return made("\n".join(f"{digest}:7" for digest in digests).encode(), path, form="sha1-hibp")
