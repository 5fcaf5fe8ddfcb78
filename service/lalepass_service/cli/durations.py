"""Times as operators type them."""

import re
from datetime import timedelta
from typing import Final

from lalepass_service.cli.console import WrongUsage

_DURATION: Final = re.compile(r"([1-9][0-9]{0,4})([mhd])")
_UNITS: Final = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_LONGEST: Final = timedelta(days=90)
"""A temporary password that lives for a season is none."""


def read(typed: str) -> timedelta:
    """Return a time.

    Raises:
        WrongUsage: it is none, or too long.
    """
    parts = _DURATION.fullmatch(typed)
    time = int(parts[1]) * _UNITS[parts[2]] if parts else _LONGEST * 2
    if time > _LONGEST:
        raise WrongUsage(f"{typed} is no time: give minutes, hours or days up to 90d, such as 12h")
    return time
