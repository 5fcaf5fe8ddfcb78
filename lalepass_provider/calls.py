"""The one funnel for everything that is asked of the service.

With `transport.py` the only place that knows httpx. Every way in which an exchange can fail becomes
a NoAnswer here; above, nobody sees an HTTP status.
"""

import logging
import math
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import httpx
from pydantic import SecretStr, ValidationError

from lalepass_provider.errors import (
    CallerRejected,
    ContractBroken,
    CursorUnknown,
    NoAnswer,
    Overloaded,
    ScopeMissing,
    Throttled,
    Unreachable,
)
from lalepass_wire import ErrorCode, Problem, limits

# httpx writes a line for each request at INFO: noise in a homeserver's log.
logging.getLogger("httpx").setLevel(logging.WARNING)

T = TypeVar("T")

_MAX_BACKGROUND_CALLS: Final = 8
_MAX_RETRY_AFTER: Final = 3600.0
_MAX_CODE: Final = 64
_BY_CODE: Final[Mapping[str, type[NoAnswer]]] = {
    ErrorCode.SCOPE_MISSING: ScopeMissing,
    ErrorCode.CURSOR_UNKNOWN: CursorUnknown,
}
_GOOD: Final = frozenset({httpx.codes.OK, httpx.codes.NO_CONTENT})


class Calls:
    """Sends requests to a Lalepass service and returns the bodies of good answers."""

    def __init__(
        self,
        *,
        base_url: str,
        token: SecretStr,
        transport: httpx.AsyncBaseTransport,
        deadline: float,
        max_in_flight: int,
    ) -> None:
        """Make a funnel.

        Args:
            base_url: where the service is, such as `https://auth.example.org:8220`.
            token: shown to the service with each request.
            transport: keeps the deadline and the cap on answers: httpx's own timeouts are off.
            deadline: seconds for a call that says nothing else.
            max_in_flight: one more check at the same time is refused at once as Overloaded.
        """
        self._token = token
        self._deadline = deadline
        self._people = _Lane("checks", max_in_flight)
        self._background = _Lane("calls in the background", _MAX_BACKGROUND_CALLS)
        self._http = httpx.AsyncClient(
            base_url=base_url,
            transport=transport,
            timeout=None,  # noqa: S113 - the transport has one deadline over everything
            follow_redirects=False,
            trust_env=False,
            # A compressed answer is refused: see transport.py.
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        )

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        params: Mapping[str, str | int] | None = None,
        deadline: float | None = None,
        max_answer_bytes: int = limits.MAX_ANSWER_BYTES,
        request_id: str | None = None,
        background: bool = False,
    ) -> bytes:
        """Return the body of the answer: JSON, or nothing if the service had nothing to say.

        Args:
            method: such as `POST`.
            path: one of `lalepass_wire.paths`.
            body: JSON.
            params: what stands behind the `?`.
            deadline: seconds for all of it, if not those of a check.
            max_answer_bytes: a longer answer is cut off.
            request_id: appears in the service's log as well.
            background: no person waits for it. Such calls and the checks have each a bound of
                their own on how many are under way, so that neither keeps the other out.

        Raises:
            NoAnswer: there is none, or none that can be used.
        """
        headers = {"Authorization": f"Bearer {self._token.get_secret_value()}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if request_id is not None:
            headers[limits.REQUEST_ID_HEADER] = request_id
        request = self._http.build_request(
            method,
            path,
            content=body,
            params=params,
            headers=headers,
            extensions={
                "deadline": deadline or self._deadline,
                "max_answer_bytes": max_answer_bytes,
            },
        )
        with self._background if background else self._people:
            response = await self._send(request)
        if response.status_code not in _GOOD:
            raise _no_answer(response)
        if response.content and not _is_json(response):
            raise ContractBroken("what answers is no Lalepass service")
        return response.content

    async def aclose(self) -> None:
        """Close the connections that are not in use."""
        await self._http.aclose()

    async def _send(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self._http.send(request)
        except httpx.TimeoutException as exc:
            raise Unreachable(f"no answer in time: {exc}") from exc
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise Unreachable(f"{type(exc).__name__}: {exc}") from exc


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


def _is_json(response: httpx.Response) -> bool:
    kind: str = response.headers.get("Content-Type", "")
    return kind.partition(";")[0].strip() == "application/json"


def _no_answer(response: httpx.Response) -> NoAnswer:
    status = response.status_code
    code = _code(response)
    retry_after = _retry_after(response)
    why = f"the service answered {status} {code}".rstrip()
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return Throttled(why, retry_after=retry_after)
    if code in _BY_CODE:
        return _BY_CODE[code](why)
    if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        return CallerRejected(why)
    if code == ErrorCode.OVERLOADED:
        return Overloaded(why, retry_after=retry_after)
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return Unreachable(why, retry_after=retry_after)
    return ContractBroken(why)


def _code(response: httpx.Response) -> str:
    """Return the problem's code for the log, if it has one that is safe to write down."""
    try:
        code = Problem.model_validate_json(response.content).code
    except ValidationError:
        return ""
    return code if code.isascii() and code.isidentifier() and len(code) <= _MAX_CODE else ""


def _retry_after(response: httpx.Response) -> float | None:
    """Read `Retry-After` in seconds; the form with a date is not in our contract."""
    try:
        seconds = float(response.headers.get("Retry-After", ""))
    except ValueError:
        return None
    return min(seconds, _MAX_RETRY_AFTER) if math.isfinite(seconds) and seconds >= 0 else None


def _fields(exc: ValidationError) -> str:
    kinds = {error["type"] for error in exc.errors(include_input=False, include_url=False)}
    return ", ".join(sorted(kinds))
