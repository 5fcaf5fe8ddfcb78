"""Which release this is."""

from importlib import metadata


def installed_version() -> str:
    """Return the version of the installed distribution, or `unknown` for a bare source tree."""
    try:
        return metadata.version("lalepass")
    except metadata.PackageNotFoundError:
        return "unknown"
