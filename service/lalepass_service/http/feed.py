"""What keeps homeservers in step: `GET /v1/changes` and `/v1/locked`, orders, and reports."""

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, Final, Protocol, TypeVar

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from lalepass_service.core.changes import Change
from lalepass_service.core.feed import Asked, Feed, Locked, Told
from lalepass_service.core.model import Caller
from lalepass_service.core.sign_ins import Report, Reporting
from lalepass_service.http import openapi
from lalepass_service.http.bodies import read_model, without_nul
from lalepass_service.http.callers import Authenticate
from lalepass_service.http.errors import CallerGone
from lalepass_service.http.queries import described, read_query
from lalepass_wire import ErrorCode, feed, limits, paths
from lalepass_wire.models import Localpart

T = TypeVar("T")

_PROBLEMS: Final = (
    ErrorCode.MALFORMED_REQUEST,
    ErrorCode.CALLER_UNKNOWN,
    ErrorCode.SCOPE_MISSING,
    ErrorCode.THROTTLED,
    ErrorCode.INTERNAL,
    ErrorCode.UNAVAILABLE,
    ErrorCode.OVERLOADED,
)
_PROBLEMS_OF_BODIES: Final = (
    *_PROBLEMS,
    ErrorCode.REQUEST_TIMEOUT,
    ErrorCode.BODY_TOO_LARGE,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE,
)


class _Question(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class _ChangesQuestion(_Question):
    after: feed.Cursor
    wait: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description=f"Seconds to wait for a change; at most {limits.MAX_FEED_WAIT_SECONDS} count.",
    )
    limit: int = Field(limits.MAX_CHANGES, ge=1, le=limits.MAX_CHANGES)
    orders: bool = Field(default=False, description="Whether this caller carries out orders.")


class _LockedQuestion(_Question):
    after: Localpart | None = None
    limit: int = Field(limits.MAX_LOCKED_PAGE, ge=1, le=limits.MAX_LOCKED_PAGE)


class Followers(Protocol):
    """What answers homeservers that follow the accounts."""

    @property
    def feed(self) -> Feed:
        """What they are told."""
        ...

    @property
    def reporting(self) -> Reporting:
        """What takes their reports."""
        ...

    @property
    def waiting(self) -> int:
        """How many wait for a change."""
        ...


def router(*, followers: Followers, authenticate: Authenticate) -> APIRouter:
    """Return the routes, for callers that `authenticate` lets in."""
    routes = APIRouter(tags=["feed"])
    _add_questions(routes, followers, authenticate)
    _add_acknowledgement(routes, followers, authenticate)
    _add_reports(routes, followers, authenticate)
    return routes


def _add_questions(routes: APIRouter, followers: Followers, authenticate: Authenticate) -> None:
    @routes.get(
        paths.CHANGES,
        summary="What has changed since this cursor?",
        response_model=feed.Changes,
        responses=openapi.problems(*_PROBLEMS, ErrorCode.CURSOR_UNKNOWN),
        openapi_extra=described(_ChangesQuestion),
    )
    async def changes(
        request: Request, caller: Annotated[Caller, Depends(authenticate)]
    ) -> Response:
        question = read_query(request, _ChangesQuestion)
        asked = Asked(
            caller=caller.name,
            after=question.after,
            wait=min(question.wait, limits.MAX_FEED_WAIT_SECONDS),
            limit=question.limit,
            max_orders=limits.MAX_ORDERS if question.orders else 0,
        )
        return _json(_changes(await _while_there(request, followers.feed.changes(asked))))

    @routes.get(
        paths.LOCKED,
        summary="Which names may nobody use?",
        response_model=feed.LockedPage,
        responses=openapi.problems(*_PROBLEMS),
        openapi_extra=described(_LockedQuestion),
    )
    async def locked(
        request: Request, caller: Annotated[Caller, Depends(authenticate)]
    ) -> Response:
        question = read_query(request, _LockedQuestion)
        page = await followers.feed.locked(
            caller=caller.name, after=question.after, limit=question.limit
        )
        return _json(_page(page))


def _add_acknowledgement(
    routes: APIRouter, followers: Followers, authenticate: Authenticate
) -> None:
    # A dependency of the body's, and not beside it: a stranger's body must not even be read.
    async def acknowledgement(
        request: Request, caller: Annotated[Caller, Depends(authenticate)]
    ) -> tuple[Caller, feed.Acknowledgement]:
        return caller, await read_model(request, feed.Acknowledgement)

    @routes.post(
        paths.ACKNOWLEDGE_ORDERS,
        summary="These orders are carried out.",
        response_model=feed.Done,
        responses=openapi.problems(*_PROBLEMS_OF_BODIES),
        openapi_extra=openapi.body(feed.Acknowledgement),
    )
    async def acknowledge(
        given: Annotated[tuple[Caller, feed.Acknowledgement], Depends(acknowledgement)],
    ) -> feed.Done:
        caller, done = given
        # No order has such an id, and PostgreSQL no such text.
        possible = [order for order in done.orders if "\0" not in order]
        await followers.feed.acknowledge(possible, caller=caller.name)
        return feed.Done()


def _add_reports(routes: APIRouter, followers: Followers, authenticate: Authenticate) -> None:
    async def batch(
        request: Request, caller: Annotated[Caller, Depends(authenticate)]
    ) -> tuple[Caller, feed.Reports]:
        return caller, await read_model(request, feed.Reports)

    @routes.post(
        paths.REPORTS,
        summary="This happened on the homeserver.",
        response_model=feed.Done,
        responses=openapi.problems(*_PROBLEMS_OF_BODIES),
        openapi_extra=openapi.body(feed.Reports),
    )
    async def report(
        given: Annotated[tuple[Caller, feed.Reports], Depends(batch)],
    ) -> feed.Done:
        caller, told = given
        await followers.reporting.take([_report(each) for each in told.reports], caller=caller.name)
        return feed.Done()


async def _while_there(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Do something for as long as the caller waits for it, and no longer.

    A homeserver that restarts would leave its waiting requests behind, and take its places among
    those that wait once more.

    Raises:
        CallerGone: it hung up.
    """
    working, gone = asyncio.create_task(work), asyncio.create_task(_hung_up(request))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise CallerGone
        return working.result()
    finally:
        working.cancel()
        gone.cancel()
        await asyncio.wait((working, gone))


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _json(answer: BaseModel) -> Response:
    """Answer with a model, whose JSON pydantic writes by itself: a page has 10 000 names."""
    return Response(
        answer.model_dump_json(),
        media_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def _changes(told: Told) -> feed.Changes:
    return feed.Changes(
        cursor=told.cursor,
        accounts=tuple(map(_account, told.changes)),
        more=told.more,
        sign_outs=tuple(
            feed.SignOut(
                id=order.id, account_id=order.user_id, localpart=order.localpart, age_seconds=age
            )
            for order, age in told.orders
        ),
    )


def _account(change: Change) -> feed.Account:
    user = change.user
    if user is None:
        return feed.Account(
            id=change.user_id, localpart=change.localpart, state=feed.AccountState.DELETED
        )
    return feed.Account(
        id=user.id,
        localpart=user.localpart,
        state=feed.AccountState(user.state),
        display_name=user.display_name,
        emails=user.emails,
        phones=user.phones,
        admin=user.admin,
    )


def _page(locked: Locked) -> feed.LockedPage:
    # Not validated once more: each name was when its account was made.
    return feed.LockedPage.model_construct(
        cursor=locked.cursor, localparts=tuple(locked.localparts), more=locked.more
    )


def _report(report: feed.Report) -> Report:
    source = report.source
    return Report(
        id=report.id,
        signed_in=report.kind is feed.ReportKind.SIGNED_IN,
        localpart=report.localpart,
        device_id=without_nul(report.device_id),
        at=report.at,
        ip=source.ip if source else None,
        user_agent=without_nul(source.user_agent) if source else None,
    )
