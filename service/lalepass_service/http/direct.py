"""The check, without the layers that other routes go through.

A framework's routing, dependencies, models of answers and a stack of middleware cost half a
millisecond of processor time, the twentieth part of a hash, and a check that is turned away should
cost next to nothing. So what the layers do for the other routes is done here by one function for
this one, with the same parts: `Exchange` for the limits, `problems` for the errors, `access` for
the line in the log. The price: who changes a layer has to look here, too; the tests of the layers
run on both.
"""

import asyncio
import re
import time
from typing import Final, NamedTuple

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from lalepass_service.core.callers import CallerRegistry
from lalepass_service.core.errors import CallerUnknown, Overloaded
from lalepass_service.core.guard import GuardedCheck
from lalepass_service.core.model import Caller
from lalepass_service.core.model import Scope as TokenScope
from lalepass_service.http.access import write_down
from lalepass_service.http.bodies import JSON, media_type_of, parse
from lalepass_service.http.callers import tell_that_known
from lalepass_service.http.check import answer, attempted
from lalepass_service.http.errors import WrongMediaType
from lalepass_service.http.limits import Exchange, late, read_body
from lalepass_service.http.metrics import Hasher, Metrics
from lalepass_service.http.problems import HANDLED, answer_to
from lalepass_service.http.request_id import given_id, new_id
from lalepass_service.http.unforeseen import report
from lalepass_wire import CheckRequest, paths
from lalepass_wire.limits import REQUEST_ID_HEADER

_ID_HEADER: Final = REQUEST_ID_HEADER.lower().encode()
_BEARER: Final = re.compile(r"bearer +(\S+) *", re.IGNORECASE)


class _Reply(NamedTuple):
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class DirectCheck:
    """ASGI: answers checks, and hands everything else on."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        check: GuardedCheck,
        registry: CallerRegistry,
        metrics: Metrics,
        seconds: float,
        hasher: Hasher,
    ) -> None:
        """Put it in front of an application.

        Args:
            app: what answers everything else.
            check: decides about passwords.
            registry: knows the callers.
            metrics: where requests and checks are counted.
            seconds: for one request, from its head to its answer.
            hasher: says whether there is room for a check.
        """
        self._app = app
        self._check = check
        self._registry = registry
        self._metrics = metrics
        self._seconds = seconds
        self._admit = hasher.admit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, if it is a check."""
        if scope.get("path") != paths.CHECK_CREDENTIALS or scope.get("method") != "POST":
            await self._app(scope, receive, send)
            return
        request = _Request(scope, receive, send)
        began = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=request.id):
            try:
                await self._serve(request)
            finally:
                write_down(
                    self._metrics,
                    method="POST",
                    route=paths.CHECK_CREDENTIALS,
                    status=request.status,
                    seconds=time.perf_counter() - began,
                    caller=request.caller,
                )

    async def _serve(self, request: "_Request") -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await request.send(await self._reply(request))
        except TimeoutError:
            # Half an answer can't be taken back: then the server hangs up.
            if not request.exchange.answered:
                await request.send(_problem(late(request.exchange)))

    async def _reply(self, request: "_Request") -> _Reply:
        try:
            return await self._decide(request)
        except HANDLED as error:
            return _problem(error)
        except TimeoutError:
            raise
        except Exception as error:  # noqa: BLE001 - what `Unforeseen` does for the other routes
            report(error)
            return _problem(error)

    async def _decide(self, request: "_Request") -> _Reply:
        """Authenticate the caller, then read the body, then decide.

        In this order: a stranger's body is not even read, and neither is one that there is no room
        for.
        """
        caller = await self._caller(request)
        request.caller = caller.name
        tell_that_known(request.scope)
        try:
            self._admit(coming=self._check.entering)
        except Overloaded as error:
            self._metrics.turned_away(error)
            raise
        attempt = attempted(await request.asked(), caller, request_id=request.id)
        with self._metrics.check() as counted:
            outcome = await self._check.check(attempt)
            counted.ended(outcome)
        body = answer(outcome).model_dump_json().encode()
        return _Reply(200, [(b"content-type", JSON), _length(body)], body)

    async def _caller(self, request: "_Request") -> Caller:
        bearer = _BEARER.fullmatch(request.header(b"authorization"))
        if bearer is None:
            raise CallerUnknown
        return await self._registry.authenticate(bearer[1], TokenScope.CHECK)


class _Request:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        # Reversed, so that the first of two counts, as it does for the other routes.
        self._headers = dict(reversed(headers))
        self.exchange = Exchange(self._headers, receive=receive, send=send)
        self.id = given_id(headers) or new_id()
        self.caller: str | None = None
        self.status: int | None = None

    def header(self, name: bytes) -> str:
        return self._headers.get(name, b"").decode("latin-1")

    async def asked(self) -> CheckRequest:
        """Read the body: see `bodies.read_model`."""
        if media_type_of(self.header(b"content-type")) != JSON.decode():
            raise WrongMediaType
        return parse(await read_body(self.exchange.receive), CheckRequest)

    async def send(self, reply: _Reply) -> None:
        self.status = reply.status
        headers = [*reply.headers, (_ID_HEADER, self.id.encode())]
        await self.exchange.answer(self.scope, reply.status, headers, reply.body)


def _problem(error: BaseException) -> _Reply:
    response = answer_to(error)
    return _Reply(response.status_code, response.raw_headers, bytes(response.body))


def _length(body: bytes) -> tuple[bytes, bytes]:
    return b"content-length", str(len(body)).encode()
