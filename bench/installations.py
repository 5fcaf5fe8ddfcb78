"""What hashes here: libsodium, and what is compiled for this processor, each with its Python.

The service looks for the compiled one in its own environment. That of the measurements is used by
others, so there is one beside it, which shares all else.
"""

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from lalepass_service.adapters.hashing import choose
from lalepass_service.adapters.hashing.bindings import Binding, Sodium
from tools import native

_MEMORY_KIB = 19456


@dataclass(frozen=True)
class Installation:
    """A binding, and what a service is started with to use it."""

    binding: Binding
    python: str = sys.executable
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """That of the binding."""
        return self.binding.name


@contextmanager
def installations() -> Iterator[tuple[Installation, ...]]:
    """Return libsodium, and the fastest that can be had; says so if that is all there is."""
    plain = Installation(Sodium(), environment=_use(Sodium.name))
    with TemporaryDirectory() as folder:
        try:
            python, library = _beside(Path(folder))
        except native.NotBuilt as why:
            print(f"libsodium only: {why}")
            yield (plain,)
            return
        fastest = choose("auto", memory_kib=_MEMORY_KIB, library=library)
        if fastest.name == Sodium.name:
            print("libsodium only: the compiled one does not fit this processor")
            yield (plain,)
            return
        yield plain, Installation(fastest, str(python), _use(fastest.name))


def _use(name: str) -> dict[str, str]:
    return {"LALEPASS_HASHING__BINDING": name}


def _beside(folder: Path) -> tuple[Path, Path]:
    """Make an environment like this one, and put the library where the service looks for it.

    Raises:
        NotBuilt: there is no library, or this is no virtual environment.
    """
    here = Path(sys.prefix)
    if not (here / "pyvenv.cfg").exists():
        raise native.NotBuilt("this Python is in no virtual environment")
    built = native.library()
    shutil.copy(here / "pyvenv.cfg", folder)
    (folder / "bin").mkdir()
    python = folder / "bin" / "python"
    python.symlink_to(Path(sys.executable).resolve())
    packages = f"python{sys.version_info.major}.{sys.version_info.minor}"
    (folder / "lib" / "lalepass").mkdir(parents=True)
    (folder / "lib" / packages).symlink_to(here / "lib" / packages)
    library = folder / "lib" / "lalepass" / "libargon2.so"
    shutil.copy(built, library)
    return python, library
