"""Work against time: whoever waits is let go in time, whatever becomes of the work."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from synapse.logging.context import PreserveLoggingContext
from twisted.internet import defer
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

T = TypeVar("T")

_OVER: Final = "not done within %.3g s"


def race(
    work: Callable[[], Awaitable[T]],
    seconds: float,
    *,
    run: Callable[[Callable[[], Awaitable[None]]], "defer.Deferred[Any]"],
    clock: IReactorTime,
) -> "defer.Deferred[T]":
    """Fire with what the work returns, or fail with what it raises, or with TimeoutError in time.

    When its time is over, or whoever waits is cancelled, the work is cancelled, and not waited for.
    That ends what waits for a Deferred. It does not end a transaction, nor a thread: Synapse's
    `runInteraction` takes a cancellation to heart only when the database has answered
    (`storage/database.py`, by `delay_cancellation`). Who has to know has the work tell.

    Args:
        work: begun at once.
        seconds: how long it may take.
        run: starts it in a logging context of its own, since it may outlast whoever waits.
        clock: Twisted's reactor.
    """
    given_up = False

    def give_up(_: object = None) -> None:
        nonlocal given_up
        given_up = True
        if timer.active():
            timer.cancel()
        with PreserveLoggingContext():
            begun.cancel()

    waited: defer.Deferred[T] = defer.Deferred(give_up)

    def fire(result: Any) -> None:  # noqa: ANN401 - a T or a Failure
        if given_up:
            return  # nobody waits for it any more
        timer.cancel()
        with PreserveLoggingContext():  # whoever waits goes on in the context that is theirs
            waited.callback(result)

    async def do() -> None:
        try:
            result: Any = await work()
        except Exception:  # noqa: BLE001 - it is raised where it is waited for
            result = Failure()
        fire(result)

    def too_late() -> None:
        give_up()
        with PreserveLoggingContext():
            waited.errback(defer.TimeoutError(_OVER % seconds))

    timer = clock.callLater(seconds, too_late)
    try:
        begun = run(do)
    except BaseException:  # such as a homeserver that is being shut down
        timer.cancel()
        raise
    return waited
