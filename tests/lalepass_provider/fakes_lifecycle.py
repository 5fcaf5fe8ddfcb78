"""The service as the follower sees it, and a homeserver's background with a clock to turn."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from synapse.util.async_helpers import delay_cancellation
from twisted.internet import defer, task

from lalepass_provider.background import Work
from lalepass_provider.errors import CursorUnknown, NoAnswer
from lalepass_provider.racing import race
from lalepass_wire.feed import (
    Account,
    AccountState,
    Acknowledgement,
    Changes,
    LockedPage,
    Reports,
    SignOut,
)

T = TypeVar("T")

_TURN = 0.001


class FakeService:
    """Keeps accounts, orders and reports as the real service does, and never waits."""

    def __init__(self, *, page: int = 10_000) -> None:
        self.database = "db1"
        self.feed: dict[str, tuple[int, Account]] = {}
        self.orders: dict[str, SignOut] = {}
        self.acknowledged: list[tuple[str, ...]] = []
        self.reports: list[Any] = []
        self.batches: list[bytes] = []
        self.asked: list[tuple[str, Any]] = []
        self.trouble: Exception | None = None
        self._head = 0
        self._page = page

    def set(self, localpart: str, state: AccountState = AccountState.ACTIVE, **facts: Any) -> None:
        """Change an account: it is in the feed once, at the place of its newest change."""
        self._head += 1
        account = Account(id=f"id-{localpart}", localpart=localpart, state=state, **facts)
        self.feed.pop(localpart, None)
        self.feed[localpart] = (self._head, account)

    def disable(self, localpart: str) -> None:
        self.set(localpart, AccountState.DISABLED)

    def order(self, order_id: str, localpart: str, *, age: float = 0.0) -> None:
        self.orders[order_id] = SignOut(
            id=order_id, account_id=f"id-{localpart}", localpart=localpart, age_seconds=age
        )

    def restore(self) -> None:
        """Become another database, so that old cursors mean nothing."""
        self.database = "db2"

    @property
    def cursor(self) -> str:
        return f"{self.database}-{self._head}"

    async def changes(self, *, after: str, wait: int, orders: bool) -> Changes:
        assert 0 <= wait <= 30
        self._ask("changes", after)
        database, _, place = after.partition("-")
        if database != self.database:
            raise CursorUnknown("the service answered 410 cursor_unknown")
        newer = [account for head, account in self.feed.values() if head > int(place)]
        return Changes(
            cursor=self.cursor,
            accounts=tuple(newer),
            sign_outs=tuple(self.orders.values()) if orders else (),
        )

    async def locked(self, *, after: str | None) -> LockedPage:
        self._ask("locked", after)
        names = sorted(
            name for name, (_, a) in self.feed.items() if a.locked and name > (after or "")
        )
        return LockedPage(
            cursor=self.cursor,
            localparts=tuple(names[: self._page]),
            more=len(names) > self._page,
        )

    async def acknowledge(self, acknowledgement: Acknowledgement) -> None:
        self._ask("acknowledge", acknowledgement.orders)
        self.acknowledged.append(acknowledgement.orders)
        for order in acknowledgement.orders:
            self.orders.pop(order, None)

    async def report(self, reports: bytes) -> None:
        self._ask("report", len(reports))
        self.batches.append(reports)
        self.reports += Reports.model_validate_json(reports).reports

    def _ask(self, what: str, detail: Any) -> None:
        self.asked.append((what, detail))
        if self.trouble is not None:
            raise self.trouble


class FakeBackground:
    """Starts work at once; a pause lasts until the test turns the clock."""

    def __init__(self) -> None:
        self.clock = task.Clock()
        self.repeated: dict[str, Work] = {}
        self.ends: list[Work] = []
        self.failures: list[Any] = []
        self.pauses: list[float] = []

    def start(self, name: str, work: Work) -> None:
        assert name
        defer.ensureDeferred(_coroutine(work())).addErrback(self.failures.append)

    def repeat(self, name: str, work: Work) -> None:
        self.repeated[name] = work

    def pause(self, seconds: float) -> Awaitable[None]:
        if seconds:
            self.pauses.append(seconds)
        return task.deferLater(self.clock, seconds or _TURN, lambda: None)

    async def within(self, name: str, work: Callable[[], Awaitable[T]], *, seconds: float) -> T:
        assert name
        return await race(
            work, seconds, run=lambda do: defer.ensureDeferred(_coroutine(do())), clock=self.clock
        )

    async def in_thread(self, work: Callable[[], T]) -> T:
        return work()

    def at_end(self, name: str, work: Work, *, seconds: float) -> None:
        assert name
        assert seconds < 5
        self.ends.append(work)

    def turn(self, seconds: float = _TURN) -> None:
        self.clock.advance(seconds)

    def do(self, work: Awaitable[T]) -> T:
        """Turn the clock until this is done."""
        done = defer.ensureDeferred(_coroutine(work))
        result: list[Any] = []
        done.addBoth(result.append)
        for _ in range(1000):
            if result:
                break
            waiting = self.clock.getDelayedCalls()
            assert waiting, "it waits for something else than the clock"
            first: float = min(call.getTime() for call in waiting)
            self.clock.advance(max(0.0, first - self.clock.seconds()))
        assert result, "it does not end"
        if hasattr(result[0], "raiseException"):
            result[0].raiseException()
        answer: T = result[0]
        return answer


async def _coroutine(work: Awaitable[T]) -> T:
    return await work


class HungDatabase:
    """Holds transactions up as a database that hangs: to cancel one does not end it.

    Synapse raises the cancellation when the database has answered (`storage/database.py`,
    runInteraction); `test_a_transaction_is_not_ended_by_a_cancellation` holds it.
    """

    def __init__(self) -> None:
        self._threads: list[defer.Deferred[None]] = []

    def __len__(self) -> int:
        return len(self._threads)

    async def transaction(self) -> None:
        thread: defer.Deferred[None] = defer.Deferred()
        self._threads.append(thread)
        await delay_cancellation(thread)

    def let_go(self) -> None:
        """Answer all that wait."""
        threads, self._threads = self._threads, []
        for thread in threads:
            thread.callback(None)


AWAY = NoAnswer("the service is away")
