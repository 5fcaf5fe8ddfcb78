"""The one funnel for everything that is asked of the service.

The only place that knows what an HTTP status means. Every way in which an exchange can fail is a
NoAnswer above.
"""

import math
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from pydantic import SecretStr, ValidationError
from twisted.internet import defer

from lalepass_provider.endpoints import Endpoints
from lalepass_provider.errors import (
    CallerRejected,
    ContractBroken,
    CursorUnknown,
    NoAnswer,
    NotServed,
    Overloaded,
    ScopeMissing,
    Throttled,
    Unreachable,
)
from lalepass_provider.files import Held
from lalepass_provider.transport import Answer, Request
from lalepass_wire import ErrorCode, Problem, limits

T = TypeVar("T")

Yieldable = Callable[["defer.Deferred[Any]"], Awaitable[Any]]
"""Makes a Deferred safe to await: Synapse's `make_deferred_yieldable`."""

_MAX_BACKGROUND_CALLS: Final = 8
_MAX_RETRY_AFTER: Final = 3600.0
_MAX_CODE: Final = 64
_BY_CODE: Final[Mapping[str, type[NoAnswer]]] = {
    ErrorCode.SCOPE_MISSING: ScopeMissing,
    ErrorCode.CURSOR_UNKNOWN: CursorUnknown,
}
_REQUEST_REFUSED: Final = frozenset(
    {
        ErrorCode.MALFORMED_REQUEST,
        ErrorCode.NOT_FOUND,
        ErrorCode.METHOD_NOT_ALLOWED,
        ErrorCode.BODY_TOO_LARGE,
        ErrorCode.UNSUPPORTED_MEDIA_TYPE,
    }
)
_PATIENCE: Final = 0.6
"""The share of a check's deadline after which a second endpoint is asked. The service gives up on a
check that found no free core after 3 of the usual 5 seconds, and says so."""

_OK: Final = 200
_NO_CONTENT: Final = 204
_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_TOO_MANY_REQUESTS: Final = 429
_SERVER_ERROR: Final = 500


class Calls:
    """Sends requests to a Lalepass service and returns the bodies of good answers."""

    def __init__(
        self,
        *,
        endpoints: Endpoints,
        token: Held[SecretStr],
        deadline: float,
        max_in_flight: int,
        yieldable: Yieldable = lambda deferred: deferred,
    ) -> None:
        """Make a funnel.

        Args:
            endpoints: where the service is.
            token: shown to the service with each request.
            deadline: seconds for a call that says nothing else.
            max_in_flight: one more check at the same time is refused at once as Overloaded.
            yieldable: what to wrap a Deferred with before it is awaited.
        """
        self._endpoints = endpoints
        self._token = token
        self._deadline = deadline
        self._people = _Lane("checks", max_in_flight)
        self._background = _Lane("calls in the background", _MAX_BACKGROUND_CALLS)
        self._yieldable = yieldable

    async def call(  # noqa: PLR0913 - one call is all of these
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        params: Mapping[str, str | int] | None = None,
        deadline: float | None = None,
        patience: float | None = None,
        max_answer_bytes: int = limits.MAX_ANSWER_BYTES,
        request_id: str | None = None,
        background: bool = False,
    ) -> bytes:
        """Return the body of the answer: JSON, or nothing if the service had nothing to say.

        The parameters are those of `ask`.

        Raises:
            NoAnswer: there is none, or none that can be used.
        """
        return await self.ask(
            method,
            path,
            bytes,
            body=body,
            params=params,
            deadline=deadline,
            patience=patience,
            max_answer_bytes=max_answer_bytes,
            request_id=request_id,
            background=background,
        )

    async def ask(  # noqa: PLR0913 - one call is all of these
        self,
        method: str,
        path: str,
        parse: Callable[[bytes], T],
        *,
        body: bytes | None = None,
        params: Mapping[str, str | int] | None = None,
        deadline: float | None = None,
        patience: float | None = None,
        max_answer_bytes: int = limits.MAX_ANSWER_BYTES,
        request_id: str | None = None,
        background: bool = False,
    ) -> T:
        """Return what `parse` makes of the body of the answer.

        Args:
            method: such as `POST`.
            path: one of `lalepass_wire.paths`.
            parse: raises NoAnswer if it can't be used. An endpoint that answers so is left alone.
            body: JSON.
            params: what stands behind the `?`.
            deadline: seconds for all of it, if not those of a check.
            patience: after so many seconds it is asked once more, elsewhere or over a new
                connection. With a deadline only, and for what only reads.
            max_answer_bytes: a longer answer is cut off.
            request_id: appears in the service's log as well.
            background: no person waits for it. Such calls and the checks have each a bound of
                their own on how many are under way, so that neither keeps the other out, and
                what becomes of them does not decide which endpoint the checks go to.

        Raises:
            NoAnswer: there is none, or none that can be used.
        """
        target = f"{path}?{urlencode(params)}" if params else path
        headers = _headers(body=body, request_id=request_id)

        def request() -> Request:
            token = self._token.current().get_secret_value()
            return Request(
                method=method,
                target=target,
                headers={"Authorization": f"Bearer {token}", **headers},
                body=body or b"",
                max_answer_bytes=max_answer_bytes,
            )

        with self._background if background else self._people:
            exchange = self._with_the_newest_token(
                request,
                lambda answer: parse(_good_body(answer)),
                deadline=deadline or self._deadline,
                # Whoever has a deadline of their own knows how long the service may take.
                patience=self._deadline * _PATIENCE if deadline is None else patience,
                background=background,
                insist=patience is not None,
            )
            result: T = await self._yieldable(defer.Deferred.fromCoroutine(exchange))
        return result

    async def aclose(self) -> None:
        """Close the connections that are not in use."""
        await self._endpoints.aclose()

    async def _with_the_newest_token(
        self,
        request: Callable[[], Request],
        read: Callable[[Answer], T],
        *,
        deadline: float,
        patience: float | None,
        background: bool,
        insist: bool,
    ) -> T:
        ask = partial(self._endpoints.ask, patience=patience, background=background, insist=insist)
        begun = time.monotonic()
        first = request()
        sent = self._token.version
        try:
            return await ask(first, read, deadline=deadline)
        except CallerRejected:
            # The service looks at the token before anything else, so nothing was done. The file
            # may be newer than our last look at it, or another call has just read it.
            self._token.look_again()
            left = deadline - (time.monotonic() - begun)
            if left <= 0 or self._token.version == sent:
                raise
            return await ask(request(), read, deadline=left)


class _Lane:
    """Calls of one kind. One too many is refused at once."""

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._under_way = 0

    def __enter__(self) -> None:
        if self._under_way >= self._size:
            raise Overloaded(f"{self._under_way} {self._name} are under way already", retry_after=1)
        self._under_way += 1

    def __exit__(self, *_: object) -> None:
        self._under_way -= 1


def understood(parse: Callable[[bytes], T], body: bytes, *, as_what: str) -> T:
    """Return what `parse`, one of the contract's models, makes of the body of an answer.

    Raises:
        ContractBroken: nothing. `as_what` tells the operator what was expected.
    """
    try:
        return parse(body)
    except ValidationError as exc:
        # The error names fields and never their contents: the models hide their input.
        raise ContractBroken(f"not {as_what}: {_fields(exc)}") from None


def _headers(*, body: bytes | None, request_id: str | None) -> dict[str, str]:
    # A compressed answer is refused: see transport.py.
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    if request_id is not None:
        headers[limits.REQUEST_ID_HEADER] = request_id
    return headers


def _good_body(answer: Answer) -> bytes:
    if answer.status not in {_OK, _NO_CONTENT}:
        raise _no_answer(answer)
    kind = answer.header("Content-Type").partition(";")[0].strip()
    if answer.body and kind != "application/json":
        raise ContractBroken("what answers is no Lalepass service")
    return answer.body


def _no_answer(answer: Answer) -> NoAnswer:
    status = answer.status
    code = _code(answer)
    retry_after = _retry_after(answer)
    why = f"the service answered {status} {code}".rstrip()
    if status == _TOO_MANY_REQUESTS:
        return Throttled(why, retry_after=retry_after)
    if code in _BY_CODE:
        return _BY_CODE[code](why)
    if status in {_UNAUTHORIZED, _FORBIDDEN}:
        return CallerRejected(why)
    if code == ErrorCode.OVERLOADED:
        return Overloaded(why, retry_after=retry_after)
    if status >= _SERVER_ERROR:
        return Unreachable(why, retry_after=retry_after)
    return NotServed(why) if code in _REQUEST_REFUSED else ContractBroken(why)


def _code(answer: Answer) -> str:
    """Return the problem's code for the log, if it has one that is safe to write down."""
    try:
        code = Problem.model_validate_json(answer.body).code
    except ValidationError:
        return ""
    return code if code.isascii() and code.isidentifier() and len(code) <= _MAX_CODE else ""


def _retry_after(answer: Answer) -> float | None:
    """Read `Retry-After` in seconds; the form with a date is not in our contract."""
    try:
        seconds = float(answer.header("Retry-After"))
    except ValueError:
        return None
    return min(seconds, _MAX_RETRY_AFTER) if math.isfinite(seconds) and seconds >= 0 else None


def _fields(exc: ValidationError) -> str:
    kinds = {error["type"] for error in exc.errors(include_input=False, include_url=False)}
    return ", ".join(sorted(kinds))
