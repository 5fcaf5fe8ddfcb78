"""Follows the service's change feed, one request after the other."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from lalepass_provider.background import Background, Backoff
from lalepass_provider.errors import ContractBroken, CursorUnknown, NoAnswer, ScopeMissing
from lalepass_provider.locks import Knowledge, LockedNames
from lalepass_wire.feed import Account, Changes, LockedPage, SignOut

logger = logging.getLogger(__name__)

WAIT: Final = 2
"""Seconds that the service may keep a request. A change ends it at once. A peer that has vanished
without a word is missed when they are over, and what is disabled meanwhile is not known before."""

_SLICE: Final = 500
"""Names between two turns of the reactor: about two milliseconds."""

PACE: Final = 1.0
"""Seconds for which an answer that says nothing new keeps us from asking again."""


class Feed(Protocol):
    """What is asked of the service."""

    async def changes(self, *, after: str, wait: int, orders: bool) -> Changes:
        """Return what has changed since a cursor, or raise NoAnswer."""
        ...

    async def locked(self, *, after: str | None) -> LockedPage:
        """Return a page of the locked accounts, or raise NoAnswer."""
        ...


class Orders(Protocol):
    """Carries out orders to sign out."""

    def take(self, orders: Sequence[SignOut]) -> bool:
        """Take them as just received. Returns whether there was a new one."""
        ...


class Follower:
    """Keeps a `Knowledge` true.

    Whatever goes wrong, what is known stays in force. Call `step` again and again: each is one
    request, with the pause behind it if one is needed.
    """

    def __init__(
        self,
        *,
        feed: Feed,
        knowledge: Knowledge,
        background: Background,
        changed: Callable[[], None],
        orders: Orders | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a follower.

        Args:
            feed: the service.
            knowledge: what there is to keep; it may come from a file.
            background: pauses.
            changed: called when the knowledge is another one.
            orders: gets the orders to sign out, in the process that carries them out.
            monotonic: seconds.
        """
        self._feed = feed
        self._knowledge = knowledge
        self._background = background
        self._changed = changed
        self._orders = orders
        self._monotonic = monotonic
        self._reading: _Reading | None = None
        self._backoff = Backoff(first=0.25, longest=5.0)
        self._good = monotonic()
        self._trouble: type[Exception] | None = None

    def age(self) -> float:
        """Return the seconds since the service has last answered."""
        return self._monotonic() - self._good

    async def step(self) -> None:
        """Ask once, and apply the answer."""
        try:
            if self._knowledge.cursor is None or self._reading is not None:
                await self._read_page()
            else:
                await self._follow(self._knowledge.cursor)
        except CursorUnknown as exc:
            logger.warning(
                "The change feed is not the one that was followed, so it is read anew (%s)."
                " The %d accounts known as locked stay so until then.",
                exc,
                len(self._knowledge.locked),
            )
            self._reading = _Reading()
            await self._background.pause(self._backoff.failed())
        except Exception as exc:  # noqa: BLE001 - a fault of ours must not end the following
            await self._failed(exc)
        else:
            self._succeeded()

    async def _read_page(self) -> None:
        reading = self._reading = self._reading or _Reading()
        page = await self._feed.locked(after=reading.after)
        reading.cursor = reading.cursor or page.cursor
        if self._knowledge.cursor is None:
            # Nothing was known, so each name counts as soon as it is there.
            self._knowledge.locked = reading.names
        for begin in range(0, len(page.localparts), _SLICE):
            for localpart in page.localparts[begin : begin + _SLICE]:
                reading.names.add(localpart)
            await self._background.pause(0)
        if page.more:
            if not page.localparts or page.localparts[-1] == reading.after:
                raise ContractBroken("a page of locked accounts leads nowhere")
            reading.after = page.localparts[-1]
            return
        self._knowledge.locked, self._knowledge.cursor = reading.names, reading.cursor
        self._reading = None
        self._changed()
        logger.info("%d accounts are locked; following what changes", len(self._knowledge.locked))

    async def _follow(self, cursor: str) -> None:
        asked = self._monotonic()
        answer = await self._feed.changes(after=cursor, wait=WAIT, orders=self._orders is not None)
        if answer.cursor == cursor and (answer.accounts or answer.more):
            raise ContractBroken("the change feed does not move on")
        differs = [self._apply(account) for account in answer.accounts]
        self._knowledge.cursor = answer.cursor
        if any(differs):
            self._changed()
        ordered = self._orders is not None and self._orders.take(answer.sign_outs)
        if not answer.accounts and not answer.more and not ordered:
            rest = PACE - (self._monotonic() - asked)
            if rest > 0:
                self._succeeded()
                await self._background.pause(rest)

    def _apply(self, account: Account) -> bool:
        """Note how an account is now. Returns whether it was locked or unlocked by that."""
        if account.locked:
            return self._knowledge.locked.add(account.localpart)
        return self._knowledge.locked.discard(account.localpart)

    def _succeeded(self) -> None:
        if self._trouble is not None:
            logger.info(
                "The change feed is followed again, after %.0f s; %d accounts are locked",
                self.age(),
                len(self._knowledge.locked),
            )
        self._good = self._monotonic()
        self._trouble = None
        self._backoff.reset()

    async def _failed(self, exc: Exception) -> None:
        if type(exc) is not self._trouble:  # one line for each new kind of trouble
            self._trouble = type(exc)
            self._tell(exc)
        retry_after = exc.retry_after if isinstance(exc, NoAnswer) else None
        await self._background.pause(self._backoff.failed(at_least=retry_after))

    def _tell(self, exc: Exception) -> None:
        if isinstance(exc, ScopeMissing):
            logger.error(
                "Lalepass does not let this homeserver follow its change feed: the token needs the"
                " scope `feed` beside `check`. Passwords are checked as before, but USERS WHO ARE"
                " DISABLED IN LALEPASS KEEP THEIR SESSIONS HERE until this is put right."
            )
        elif isinstance(exc, NoAnswer):
            logger.warning(
                "The change feed can't be followed: %s: %s. The %d accounts that were locked stay"
                " locked.",
                type(exc).__name__,
                exc,
                len(self._knowledge.locked),
            )
        else:
            logger.error("A fault in following the change feed", exc_info=exc)


class _Reading:
    """A new set in the making. The old one, if there is one, is in force until it is complete."""

    def __init__(self) -> None:
        self.names = LockedNames()
        self.cursor: str | None = None
        """That of the first page: what changes while the others are read comes again."""
        self.after: str | None = None
