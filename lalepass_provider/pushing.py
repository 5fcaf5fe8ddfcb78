"""Brings profiles in step that change while nobody logs in: follows the feed a second time.

With a place of its own in it: profiles take the time that Synapse takes for them, and a lock must
not wait for a thousand of them. Nothing has to be kept waiting here, since the feed itself is the
queue, and it holds each account once.
"""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from twisted.internet import defer

from lalepass_provider.background import Background, Backoff
from lalepass_provider.errors import ContractBroken, CursorUnknown, NoAnswer
from lalepass_provider.follower import PACE, Feed
from lalepass_provider.locks import Knowledge
from lalepass_wire.feed import Account, AccountState

logger = logging.getLogger(__name__)

_WAIT: Final = 10
"""Seconds that the service may keep a request: nothing hangs on who is called how by then."""

_BETWEEN: Final = 0.02
"""Seconds between two accounts: at most 50 a second, whatever was imported over there."""

_LONGEST: Final = 30.0
"""Seconds for one account, which takes some milliseconds. What hangs for longer in Synapse's
database is let be, and the next one is begun beside it."""

_MAX_HANGING: Final = 2
"""With so many no other is begun: each may hold a thread of Synapse's database."""


class ProfilePusher:
    """Calls `apply` for each account that has changed, unless it is disabled.

    For one process only.
    """

    def __init__(
        self,
        *,
        feed: Feed,
        knowledge: Knowledge,
        background: Background,
        apply: Callable[[Account], Awaitable[None]],
        changed: Callable[[], None],
    ) -> None:
        """Make one.

        Args:
            feed: the service.
            knowledge: its `profiles` is the place in the feed. Without one it begins where the
                other follower is.
            background: pauses.
            apply: brings one profile in step. It does not raise.
            changed: called when there is another place.
        """
        self._feed = feed
        self._knowledge = knowledge
        self._background = background
        self._apply = apply
        self._changed = changed
        self._backoff = Backoff(first=1.0, longest=15.0)
        self._under_way = 0

    async def step(self) -> None:
        """Ask once, and bring in step what has changed."""
        cursor = self._knowledge.profiles or self._knowledge.cursor
        if cursor is None:
            await self._background.pause(PACE)
            return
        try:
            await self._follow(cursor)
        except CursorUnknown:
            # What has changed in between is brought in step at the next login.
            self._knowledge.profiles = None
            await self._background.pause(self._backoff.failed())
        except NoAnswer as exc:  # told already by the one who follows for the locks
            await self._background.pause(self._backoff.failed(at_least=exc.retry_after))
        except Exception:
            logger.exception("A fault in bringing profiles in step")
            await self._background.pause(self._backoff.failed())
        else:
            self._backoff.reset()

    async def _follow(self, cursor: str) -> None:
        answer = await self._feed.changes(after=cursor, wait=_WAIT, orders=False)
        if answer.cursor == cursor and (answer.accounts or answer.more):
            raise ContractBroken("the change feed does not move on")
        for account in answer.accounts:
            # Of one who is deleted nothing is left, so that the addresses are free for others.
            if not account.locked or account.state is AccountState.DELETED:
                await self._bring_in_step(account)
                await self._background.pause(_BETWEEN)
        self._knowledge.profiles = answer.cursor
        if answer.accounts:
            self._changed()
        else:
            await self._background.pause(PACE)

    async def _bring_in_step(self, account: Account) -> None:
        while self._under_way >= _MAX_HANGING:
            await self._background.pause(PACE)
        try:
            await self._background.within(
                "profile", partial(self._until_done, account), seconds=_LONGEST
            )
        except defer.TimeoutError:
            logger.error(  # noqa: TRY400 - there is nothing to trace
                "The profile of %s hangs in the homeserver's database; it is brought in step at the"
                " next login or change",
                account.localpart,
            )

    async def _until_done(self, account: Account) -> None:
        self._under_way += 1
        try:
            await self._apply(account)
        finally:
            self._under_way -= 1
