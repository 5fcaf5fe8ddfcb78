"""Build the compiled Argon2 as the image does, for tests and measurements: once for each source.

It needs a C compiler, and the network for the source of argon2-cffi-bindings.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).resolve().parent.parent
_SOURCES: Final = _ROOT / "service" / "native"
_BUILT: Final = _ROOT / ".run" / "native"
_TIMEOUT: Final = 300.0


class NotBuilt(Exception):
    """There is no library. The text says why."""


def library() -> Path:
    """Return the library, built if it has to be.

    Raises:
        NotBuilt: something that it takes is missing here.
    """
    digest = hashlib.sha256()
    sources = sorted(each for each in _SOURCES.iterdir() if each.is_file())
    for source in (*sources, _ROOT / "requirements" / "service.txt"):
        digest.update(source.read_bytes())
    folder = _BUILT / digest.hexdigest()[:16]
    if not (folder / "libargon2.so").exists():
        _build(folder)
    return folder / "libargon2.so"


def library_for(level: int) -> Path:
    """Return a library for one level: a process that has several needs each to be a file."""
    common = library()
    own = common.with_name(f"libargon2-{level}.so")
    if not own.exists():
        fresh = own.with_suffix(f".{os.getpid()}")
        shutil.copy(common, fresh)
        fresh.rename(own)
    return own


def _build(folder: Path) -> None:
    if shutil.which("cc") is None:
        raise NotBuilt("there is no C compiler here")
    _BUILT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_BUILT) as name:
        work = Path(name)
        _run(_SOURCES / "sdist.sh", sys.executable, work)
        (sdist,) = work.glob("*.tar.gz")
        _run(_SOURCES / "build.sh", sdist, work / "built")
        if not (work / "built" / "libargon2.so").exists():
            raise NotBuilt("there is nothing to build for this processor")
        folder.mkdir(exist_ok=True)
        (work / "built" / "libargon2.so").rename(folder / "libargon2.so")


def _run(*command: str | Path) -> None:
    try:
        done = subprocess.run(
            list(map(str, command)),
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        raise NotBuilt(f"{command[0]} did not end within {_TIMEOUT:.0f} s") from None
    if done.returncode != 0:
        raise NotBuilt(f"{command[0]}: {(done.stderr.strip() or 'failed').splitlines()[-1]}")
