"""Which binding of Argon2id is used: the fastest that computes what it should on this machine."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from lalepass_service.adapters.hashing import compiled
from lalepass_service.adapters.hashing.bindings import Binding, Compiled, Sodium

_log: Final = structlog.stdlib.get_logger(__name__)

AUTO: Final = "auto"
LIBRARY: Final = Path(sys.prefix) / "lib" / "lalepass" / "libargon2.so"
"""Where `service/native/build.sh` puts it, as the image does."""

_SECONDS: Final = 30.0
"""For a look at the library. It takes a tenth of one, on a machine that is not lost."""


class NoSuchBinding(Exception):
    """What was asked for by name can't be used here. The text says why."""


def choose(
    wanted: str,
    *,
    memory_kib: int,
    library: Path | None = None,
    look: Callable[[Path, int], str] | None = None,
) -> Binding:
    """Return the binding of this name; for `auto` the fastest, which may be libsodium.

    Args:
        wanted: `auto`, `libsodium` or a name of `compiled.LEVELS`.
        memory_kib: what a hash usually takes, and a thread may keep for the next.
        library: where the compiled one is, if there is one; `LIBRARY` unless given.
        look: other than `fault_of` in tests.

    Raises:
        NoSuchBinding: it can't be used. Never for `auto`.
    """
    if wanted not in {AUTO, Sodium.name, *compiled.LEVELS}:
        raise NoSuchBinding(f"there is no {wanted}")
    library = library or LIBRARY
    if wanted == Sodium.name or (wanted == AUTO and not library.exists()):
        return Sodium()
    for name, level in compiled.LEVELS.items():
        if wanted not in {AUTO, name}:
            continue
        try:
            return _tried(name, level, library, memory_kib=memory_kib, look=look or fault_of)
        except compiled.Unsupported as fault:
            if wanted != AUTO:
                raise NoSuchBinding(f"{name}: {fault}") from None
        except OSError as fault:
            if wanted != AUTO:
                raise NoSuchBinding(f"{name}: {fault}") from None
            _log.warning("a compiled Argon2 is not used", binding=name, why=str(fault))
    return Sodium()


def _tried(
    name: str,
    level: int,
    library: Path,
    *,
    memory_kib: int,
    look: Callable[[Path, int], str],
) -> Binding:
    """Load the library after another process has.

    Raises:
        OSError: it is not there, or is not as it should be.
        Unsupported: the processor can't do this level.
    """
    if not library.exists():
        raise OSError(f"there is no {library}")
    if fault := look(library, level):
        raise OSError(fault)
    loaded = compiled.Library(str(library), level=level)
    loaded.keep(memory_kib)
    return Compiled(name, loaded)


def fault_of(library: Path, level: int) -> str:
    """Say what is wrong with a library, as another process finds it; nothing if it is good.

    Raises:
        Unsupported: this processor can't do this level, and it is nobody's fault.
    """
    command = [sys.executable, "-I", "-S", str(compiled.__file__), str(library), str(level)]
    try:
        done = subprocess.run(  # noqa: S603 - our own file
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            # a traceback of ctypes, or nothing
            stderr=subprocess.DEVNULL,
            # The service's may hold secrets.
            env={},
            cwd="/",
            check=False,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return "it did not come to an end"
    if done.returncode == compiled.UNSUPPORTED:
        raise compiled.Unsupported("this processor can't do it")
    if done.returncode == compiled.WRONG:
        return "it does not compute what it should"
    if done.returncode < 0:
        return f"it was ended by signal {-done.returncode}"
    return "" if done.returncode == compiled.OK else "it can't be loaded"
