"""What the tests of the doctor share."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest


@pytest.fixture
def passable() -> Iterator[Path]:
    """A folder that everybody may enter.

    pytest's own is below one that only its owner may enter, and so it should stay: to open what is
    above would change the machine, and take the world's right to write from /tmp when root does it.
    """
    with TemporaryDirectory(prefix="lalepass-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
