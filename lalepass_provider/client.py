"""Asks the service: one typed method for each of its endpoints.

What is said here is what is asked and what counts as an answer; how it is asked, and what can go
wrong, is in `calls.py`.
"""

import time
from typing import Final

from lalepass_provider import metrics
from lalepass_provider.calls import Calls, understood
from lalepass_provider.errors import ContractBroken, NoAnswer, Throttled
from lalepass_provider.metrics import Metrics
from lalepass_wire import (
    Accepted,
    CallerFacts,
    CheckRequest,
    Identifier,
    RefusalReason,
    Refused,
    UserIdentifier,
    limits,
    parse_answer,
    parse_caller,
    paths,
)
from lalepass_wire.feed import Acknowledgement, Changes, Done, LockedPage

_FEED_DEADLINE: Final = 10.0
"""Seconds for an answer in the background, on top of those that the service was told to wait."""

_FEED_PATIENCE: Final = 2.0
"""Seconds on top of the wait after which the feed is asked once more, elsewhere or anew. A replica
that vanishes without a word, as by a cut cable, must not leave the homeserver deaf for long."""

_REFUSALS: Final = {
    RefusalReason.CREDENTIALS: metrics.REFUSED,
    RefusalReason.DISABLED: metrics.DISABLED,
    RefusalReason.PASSWORD_CHANGE_REQUIRED: metrics.MUST_CHANGE,
}


class LalepassClient:
    """Talks to a Lalepass service."""

    def __init__(self, calls: Calls, *, metrics: Metrics) -> None:
        self._calls = calls
        self._metrics = metrics

    async def check(self, request: CheckRequest, *, request_id: str | None) -> Accepted | Refused:
        """Ask whether a password is right.

        Raises:
            NoAnswer: it could not be found out.
        """
        begun = time.perf_counter()
        outcome, kind = metrics.NO_ANSWER, "Fault"
        self._metrics.check_begins()
        try:
            answer = await self._ask(request, request_id)
            outcome, kind = _outcome(answer), ""
        except Throttled:
            outcome, kind = metrics.THROTTLED, ""
            raise
        except NoAnswer as exc:
            kind = type(exc).__name__
            raise
        finally:
            self._metrics.check_ends(outcome, kind=kind, seconds=time.perf_counter() - begun)
        return answer

    async def _ask(self, request: CheckRequest, request_id: str | None) -> Accepted | Refused:
        def read(body: bytes) -> Accepted | Refused:
            answer = understood(parse_answer, body, as_what="an answer to a check")
            if not _about(answer, request.identifier):
                raise ContractBroken("the service answered for another account")
            return answer

        return await self._calls.ask(
            "POST",
            paths.CHECK_CREDENTIALS,
            read,
            body=request.model_dump_json().encode(),
            request_id=request_id,
        )

    async def caller(self) -> CallerFacts:
        """Ask whom the service takes us for. It changes nothing.

        Raises:
            NoAnswer: it could not be found out.
        """
        body = await self._calls.call("GET", paths.CALLER, background=True)
        return understood(parse_caller, body, as_what="an answer about a caller")

    async def changes(self, *, after: str, wait: int, orders: bool) -> Changes:
        """Ask what has changed since a cursor, and wait some seconds if nothing has.

        Args:
            after: the cursor.
            wait: at most `limits.MAX_FEED_WAIT_SECONDS`.
            orders: also the orders that this token has not acknowledged.

        Raises:
            NoAnswer: CursorUnknown if the cursor is not of this feed.
        """
        body = await self._calls.call(
            "GET",
            paths.CHANGES,
            params={
                "after": after,
                "wait": wait,
                "limit": limits.MAX_CHANGES,
                "orders": "true" if orders else "false",
            },
            deadline=wait + _FEED_PATIENCE + wait + _FEED_DEADLINE,
            patience=wait + _FEED_PATIENCE,
            max_answer_bytes=limits.MAX_FEED_ANSWER_BYTES,
            background=True,
        )
        return understood(Changes.model_validate_json, body, as_what="a part of the feed")

    async def locked(self, *, after: str | None) -> LockedPage:
        """Ask for the accounts that are not active, behind this localpart.

        Raises:
            NoAnswer: there is none.
        """
        body = await self._calls.call(
            "GET",
            paths.LOCKED,
            params={"limit": limits.MAX_LOCKED_PAGE} | ({} if after is None else {"after": after}),
            deadline=_FEED_DEADLINE,
            max_answer_bytes=limits.MAX_FEED_ANSWER_BYTES,
            background=True,
        )
        return understood(LockedPage.model_validate_json, body, as_what="a page of names")

    async def acknowledge(self, acknowledgement: Acknowledgement) -> None:
        """Tell that orders are carried out. They are not repeated after this.

        Raises:
            NoAnswer: the service may not have noted it.
        """
        await self._tell(paths.ACKNOWLEDGE_ORDERS, acknowledgement.model_dump_json().encode())

    async def report(self, reports: bytes) -> None:
        """Tell what has happened: the JSON of a `Reports`, which whoever cuts it to size has.

        Raises:
            NoAnswer: the service may not have noted it.
        """
        await self._tell(paths.REPORTS, reports)

    async def _tell(self, path: str, body: bytes) -> None:
        answer = await self._calls.call("POST", path, body=body, background=True)
        understood(Done.model_validate_json, answer, as_what="an acknowledgement")

    async def aclose(self) -> None:
        """Close the connections that are not in use."""
        await self._calls.aclose()


def _about(answer: Accepted | Refused, asked: Identifier) -> bool:
    """Synapse trusts the id that it is given blindly, so it must be the one that was asked for."""
    if isinstance(answer, Refused) or not isinstance(asked, UserIdentifier):
        return True
    return answer.user.localpart == asked.localpart


def _outcome(answer: Accepted | Refused) -> str:
    if isinstance(answer, Accepted):
        return metrics.ACCEPTED
    return _REFUSALS[answer.reason]
