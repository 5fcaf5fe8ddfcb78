"""Forgetting what is of no use any more in keys that nobody touches and that have no end.

Those with guesses of everybody have none: see `ports.SoftLocks.sweep`.
"""

from collections import Counter
from datetime import UTC, datetime
from typing import Final

from lalepass_service.adapters.valkey import names, scripts
from lalepass_service.adapters.valkey.anew import account_keys
from lalepass_service.adapters.valkey.client import Client

_BEFORE_ALL: Final = datetime.min.replace(tzinfo=UTC)


async def sweep(client: Client, *, before: datetime, names_kept: int) -> int:
    """Forget sources with their lanes, unless used since, and names that are too many.

    Returns how many fields there were.

    Raises:
        Lost: it is not done, or not all of it.
        names.Unreadable: something is of no known form.
    """
    swept = 0
    names_from = await _names_from(client, before, names_kept)
    async for keys in account_keys(client):
        for key in keys:
            swept += await _sweep(client, key, before, names_from)
    return swept


async def _names_from(client: Client, before: datetime, names_kept: int) -> datetime:
    """Return since when names are kept that nobody was at since `before`.

    By the hour, so that no replica has to remember a million of them; some more are kept.
    """
    by_hour: Counter[datetime] = Counter()
    async for keys in account_keys(client):
        commands = [("HMGET", key, names.lane_field(b"")) for key in keys if _is_name(client, key)]
        for (value,) in await client.ask(*commands) if commands else ():
            if value is not None and (used_at := names.unpack(value)[1]) < before:
                by_hour[used_at.replace(minute=0, second=0, microsecond=0)] += 1
    kept, since = 0, before
    for hour, number in sorted(by_hour.items(), reverse=True):
        if kept >= names_kept:
            return since
        kept, since = kept + number, hour
    return _BEFORE_ALL


async def _sweep(client: Client, key: bytes, before: datetime, names_from: datetime) -> int:
    swept = 0
    (flat,) = await client.ask(("HGETALL", key))
    for name, value in zip(flat[::2], flat[1::2], strict=True):
        lane, since = names.lane_of(name), before
        if names.is_known_field(name):
            used_at = names.digits(value)
        elif lane:
            used_at = names.unpack(value)[1]
        elif lane is not None and _is_name(client, key):
            used_at, since = names.unpack(value)[1], names_from
        else:
            continue
        if used_at is not None and used_at < since:
            swept += await client.run(scripts.DROP, key.decode(), name, value)
    return swept


def _is_name(client: Client, key: bytes) -> bool:
    return names.is_key_of_name(key, prefix=client.prefix)
