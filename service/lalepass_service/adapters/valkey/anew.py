"""All wrong passwords are counted anew: for a database that is older than what Valkey counts.

What is counted is of a password and knows when that was set. Once a database was restored from a
backup, or a standby was promoted that lacked the last moments, the passwords in it are older than
that, and what Valkey has is of passwords that nobody has any more.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Final

from lalepass_service.adapters.valkey.client import Client

_SCANNED: Final = 500
"""Keys that are looked at in one step, so that nobody waits long behind it."""


async def begin_anew(client: Client) -> int:
    """Delete what is counted of every account and every name, and return of how many.

    Others' keys stay, and so do the throttles, which are of seconds and of no account. Who is
    interrupted can begin again. At last the data get another name: replicas meet it within a
    second, and forget what they have seen, instead of putting it back.

    Raises:
        Lost: it is not done, or not all of it.
    """
    deleted = 0
    async for keys in account_keys(client):
        # One command for each: a proxy in front of a cluster knows where each of them is.
        deleted += sum(await client.ask(*(("DEL", key) for key in keys)))
    await client.name_anew()
    return deleted


async def account_keys(client: Client) -> AsyncIterator[Sequence[bytes]]:
    """Return the keys of all accounts and names, some at a time, and now and then one twice.

    Raises:
        Lost: there was no answer.
    """
    pattern = f"{_escaped(client.prefix)}:1:[un]:*"
    cursor = b"0"
    while True:
        scan = ("SCAN", cursor, "MATCH", pattern, "COUNT", _SCANNED)
        ((cursor, keys),) = await client.ask(scan)
        if keys:
            yield keys
        if cursor == b"0":
            return


def _escaped(text: str) -> str:
    return "".join(f"\\{each}" if each in "*?[]\\^-" else each for each in text)
