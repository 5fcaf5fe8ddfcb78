"""A look at all hosts of an address by who has no loop that would go on with it: a command."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from lalepass_service.adapters.sql.postgres import PostgresServer
from lalepass_service.adapters.sql.watching import Watch


def look_first(server: PostgresServer) -> None:
    """Know which server is the primary before anything is done, unless that is known. Blocks.

    Takes as long as `Watch.begin`. Connections are held against it afterwards.
    """
    if not server.primaries.watched:
        # Whether this one has a loop or not.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(lambda: asyncio.run(_look(server))).result()


async def _look(server: PostgresServer) -> None:
    watch = Watch(server)
    try:
        await watch.begin()
    finally:
        await watch.close()
