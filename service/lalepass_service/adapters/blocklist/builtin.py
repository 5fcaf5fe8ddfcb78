"""The list that is there out of the box: the words that zxcvbn ships.

zxcvbn (MIT) estimates how a password is guessed; its package on PyPI has been kept since 2016. Of
it only the data are used, as they were installed: common passwords, English words, names, and words
of films. 41 600 of them have the eight characters that a password needs at least.
"""

import runpy
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from lalepass_service.adapters.blocklist.digests import WIDTH, Algorithm, digest_of, holds
from lalepass_service.core.errors import BlocklistUnavailable

_SHORTEST: Final = 8
"""No policy takes a shorter password, so shorter words can't be chosen anyway."""


class BuiltinBlocklist:
    """Words as sorted digests, half a megabyte. Implements `core.ports.Blocklist`.

    They are read at the first question: most commands have none.
    """

    def __init__(self) -> None:
        self._digests: bytes | None = None

    def contains(self, text: str) -> bool:
        """Say whether exactly this text, which is in NFC, is on the list.

        Raises:
            BlocklistUnavailable: the package is damaged.
        """
        key = digest_of(text, Algorithm.SHA256)
        digests = self._loaded()
        return key is not None and holds(digests, key, start=0, low=0, high=len(self))

    def __len__(self) -> int:
        return len(self._loaded()) // WIDTH

    def _loaded(self) -> bytes:
        if self._digests is None:
            digests = (digest_of(word, Algorithm.SHA256) for word in _words())
            self._digests = b"".join(sorted(digest for digest in digests if digest))
        return self._digests


def _words() -> set[str]:
    """Read the data file alone: the package would make dictionaries of it, and keep them."""
    spec = find_spec("zxcvbn")
    folders = (spec.submodule_search_locations if spec else None) or ()
    for folder in folders:
        data = Path(folder) / "frequency_lists.py"
        if data.exists():
            lists = runpy.run_path(str(data))["FREQUENCY_LISTS"]
            return {word for words in lists.values() for word in words if len(word) >= _SHORTEST}
    raise BlocklistUnavailable("the package zxcvbn, which brings the built-in list, is not whole")
