"""Looks at all hosts of an address, to know which of them is the primary.

Each is asked on a connection of its own, whatever it is at the moment, and nobody waits for that.
What follows from the answers is in `standing`.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Final

from lalepass_service.adapters.sql.asking import Host
from lalepass_service.adapters.sql.postgres import PostgresServer, hosts_of
from lalepass_service.adapters.sql.standing import Answer, Seen, hear, judge
from lalepass_service.adapters.sql.telling import Teller

_log: Final = logging.getLogger(__name__)

_EVERY: Final = 1.0
"""Seconds from one look to the next."""
_SOON: Final = 0.2
"""The same, where writes are refused until that is over."""
_PATIENCE: Final = 1.0
"""Seconds after which a look goes without those who have not answered. Those are heard the next
time, if they answer still."""
_FIRST_LOOKS: Final = 5
"""At most, while it can't be told which server is the right one."""


class Watch:
    """Keeps `server.primaries` up to date. Belongs to one event loop."""

    def __init__(self, server: PostgresServer) -> None:
        names = hosts_of(server)
        self._server = server
        self._hosts = [Host(server, number) for number in range(len(names))]
        self._teller = Teller(names, most_left=server.connections)
        self._failed = False
        server.primaries.watched = True
        server.primaries.limit(server.connections)

    async def begin(self) -> None:
        """Look before anything else is done.

        Each host has as long as a connection may take: who is left out here could be the newest.
        """
        for _ in range(_FIRST_LOOKS):
            await self.look(patience=self._server.timeout + _PATIENCE)
            if not self._server.primaries.standing.doubted:
                return
            await asyncio.sleep(_SOON)

    async def run(self) -> None:
        """Look again and again, until this is cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            await self._look_whatever_comes()
            primaries = self._server.primaries
            standing = primaries.standing
            soon = standing.doubted or standing.split or primaries.full
            await asyncio.sleep(max(_SOON, began + (_SOON if soon else _EVERY) - clock()))

    async def look(self, *, patience: float = _PATIENCE) -> None:
        """Ask each of them, and draw the conclusion."""
        clock = asyncio.get_running_loop().time
        until = clock() + patience
        waiting = {each.begin(): each for each in self._hosts}
        while waiting and clock() < until:
            done, _ = await asyncio.wait(
                waiting, timeout=until - clock(), return_when=asyncio.FIRST_COMPLETED
            )
            for each in done:
                self._hear(waiting.pop(each))
        self.conclude([each.take() for each in self._hosts])

    def conclude(self, answers: Sequence[Answer]) -> None:
        """Draw the conclusion."""
        primaries = self._server.primaries
        primaries.standing = judge(primaries.standing, answers)
        primaries.looked = time.monotonic()
        self._teller.tell(primaries.standing)

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.gather(*(each.close() for each in self._hosts))

    def _hear(self, host: Host) -> None:
        answer = host.heard()
        if isinstance(answer, Seen):
            primaries = self._server.primaries
            primaries.standing = hear(primaries.standing, host.number, answer)

    async def _look_whatever_comes(self) -> None:
        try:
            await self.look()
        except Exception:  # noqa: BLE001 - a fault of ours is logged, and the watch goes on
            # What is known must not stay as it is for ever.
            if not self._failed:
                _log.exception("the database servers could not be looked at; it is tried again")
            self._failed = True
        else:
            self._failed = False
