"""The bindings that this machine can do, for tests that hold for all of them."""

import pytest

from lalepass_service.adapters.hashing import compiled
from lalepass_service.adapters.hashing.bindings import Binding, Compiled, Sodium
from tools import native

BINDINGS = (Sodium.name, *compiled.LEVELS)


def binding_of(name: str) -> Binding:
    """Return a binding by its name; the test is left out where there can't be such a one."""
    if name == Sodium.name:
        return Sodium()
    level = compiled.LEVELS[name]
    try:
        library = compiled.Library(str(native.library_for(level)), level=level)
    except native.NotBuilt as why:
        pytest.skip(f"no compiled Argon2: {why}")
    except compiled.Unsupported:
        pytest.skip(f"this processor has no {name}")
    library.keep(19456)
    return Compiled(name, library)
