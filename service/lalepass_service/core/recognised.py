"""Tokens that were good a moment ago, so that a look at the store is rare and nobody waits for it.

A homeserver sends hundreds of checks a second with one token: to read its row for each costs as
much as to read the account's. And when the store is busy, all who come while it is read would wait.
So it is read anew while the last look still counts, by nobody's request, and those who do have to
wait share one look.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from lalepass_service.core.model import Caller

Stored = tuple[Caller, bytes]
"""A token as the store has it, and the digest of its secret."""

_SECONDS: Final = 1.0
"""How long a look at the store counts, and so how much longer than it takes to revoke it a revoked
one is good, in other processes than the one that revoked it."""

_RENEWED_AFTER: Final = 0.5
"""From when on who asks has it looked up anew, behind their back."""

_MAX: Final = 1024
"""Only tokens that were good get in, so nobody can fill this who has none."""


@dataclass(eq=False, slots=True)
class Look:
    """A look at the store, and when it began: what is revoked during it counts as revoked after."""

    began: float
    found: "asyncio.Task[Stored | None]"


@dataclass(eq=False, slots=True)
class _Good:
    stored: Stored
    looked: float
    renewed: bool = False


class RecognisedTokens:
    """Remembers tokens by their ids. Whether a secret is the right one, others compare."""

    def __init__(
        self, *, find: Callable[[str], Awaitable[Stored | None]], seconds: Callable[[], float]
    ) -> None:
        self._find = find
        self._seconds = seconds
        self._good: dict[str, _Good] = {}
        self._looks: dict[str, Look] = {}

    def recall(self, token_id: str) -> Stored | None:
        """Return a token that was good within the last second."""
        good = self._good.get(token_id)
        if good is None:
            return None
        age = self._seconds() - good.looked
        if age >= _SECONDS:
            del self._good[token_id]
            return None
        if age >= _RENEWED_AFTER and not good.renewed:
            # Once: if the store does not answer, it does not have to refuse twice a second, too.
            good.renewed = True
            self._renew(token_id, good)
        return good.stored

    async def look_up(self, token_id: str) -> tuple[Stored | None, float]:
        """Return what the store has, and when it was asked. Those who ask together share one look.

        Raises:
            StoreUnavailable: it does not answer.
        """
        look = self._look(token_id)
        # Who gives up does not end it for the others.
        await asyncio.wait((look.found,))
        return look.found.result(), look.began

    def remember(self, token_id: str, stored: Stored, *, looked: float) -> None:
        """This one is good, as the store said when it was asked at `looked`."""
        if len(self._good) < _MAX or token_id in self._good:
            self._good[token_id] = _Good(stored, looked)

    def forget(self, token_id: str) -> None:
        """It was revoked just now."""
        self._good.pop(token_id, None)
        self._looks.pop(token_id, None)

    def _look(self, token_id: str) -> Look:
        look, now = self._looks.get(token_id), self._seconds()
        if look is not None and now - look.began < _SECONDS:
            return look
        look = Look(now, asyncio.ensure_future(self._ask(token_id)))
        self._looks[token_id] = look
        look.found.add_done_callback(lambda _: self._ended(token_id, look))
        return look

    async def _ask(self, token_id: str) -> Stored | None:
        return await self._find(token_id)

    def _ended(self, token_id: str, look: Look) -> None:
        if self._looks.get(token_id) is look:
            del self._looks[token_id]
        if not look.found.cancelled():
            # Also where nobody waits for it any more.
            look.found.exception()

    def _renew(self, token_id: str, good: _Good) -> None:
        look = self._look(token_id)
        look.found.add_done_callback(lambda found: self._renewed(token_id, good, look, found))

    def _renewed(
        self, token_id: str, good: _Good, look: Look, found: "asyncio.Task[Stored | None]"
    ) -> None:
        if self._good.get(token_id) is not good or found.cancelled() or found.exception():
            # Forgotten meanwhile, or looked up by somebody who had to wait; or there is no answer,
            # and the next one has to wait for theirs.
            return
        stored = found.result()
        if stored is None or stored[0].revoked_at is not None or stored[1] != good.stored[1]:
            del self._good[token_id]
        else:
            self._good[token_id] = _Good(stored, look.began)
