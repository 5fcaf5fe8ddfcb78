"""How long certificates are good for."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from lalepass_service.topology.finding import Finding, warn

_SOON: Final = timedelta(days=14)
"""Ours are made anew when 30 days are left (deploy/lalepass/prepare.sh)."""


def soon_over(
    part: str, *, theirs: datetime | None, ours: datetime | None, now: datetime
) -> Iterator[Finding]:
    """Yield a warning for each certificate that ends soon. One that is over made no connection."""
    for whose, end in (("its certificate", theirs), ("the one shown to it", ours)):
        if end is not None and end - now < _SOON:
            days = max(0, (end - now).days)
            yield warn(
                part,
                "certificate",
                f"{whose} ends in {days} {'day' if days == 1 else 'days'}, on {end:%Y-%m-%d}",
                fix="renew it, and find out why nobody has",
            )
