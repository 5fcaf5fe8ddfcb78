"""What is installed beside the module: which Synapse, and whether it lets the module be honest."""

import re
from collections.abc import Iterator
from importlib import metadata
from typing import Final

from lalepass_provider.check.finding import Finding, error, ok, warning

_OLDEST: Final = (1, 140)
"""The oldest Synapse that the tests run on."""


def module_version() -> str:
    """Return the version of the module."""
    try:
        return metadata.version("lalepass")
    except metadata.PackageNotFoundError:
        return "unknown"


def synapse_version() -> str | None:
    """Return the version of Synapse, if this Python has one."""
    try:
        return metadata.version("matrix-synapse")
    except metadata.PackageNotFoundError:
        return None


def look(version: str) -> Iterator[Finding]:
    """Look at this Synapse."""
    if _release(version) < _OLDEST:
        yield warning(
            "synapse-old",
            f"This is Synapse {version}, which Lalepass is not tested with.",
            fix=f"Upgrade to {'.'.join(map(str, _OLDEST))} or newer.",
        )
    else:
        yield ok("synapse", f"This is Synapse {version}.")
    yield _honesty()


def _release(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


def _honesty() -> Finding:
    try:
        # Imports much of Synapse, and Synapse leaves if something that it needs is missing.
        from lalepass_provider.selftest import honest_errors_pass  # noqa: PLC0415

        passes = honest_errors_pass()
    except (ImportError, SystemExit):
        return error(
            "synapse-broken",
            "Synapse can't be loaded by this Python: something that it needs is missing or of"
            " another version.",
            fix="See `python -m synapse.app.homeserver --help`, run by the same Python.",
        )
    if passes:
        return ok("honesty", "This Synapse passes on why a password was not checked.")
    return error(
        "dishonest",
        "This Synapse does not pass on why a password was not checked: an outage will look like a"
        " wrong password.",
        fix="Please report this to Lalepass, with the version of Synapse.",
    )
