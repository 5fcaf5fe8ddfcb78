"""Asks the service: one typed method for each of its endpoints.

The one funnel for HTTP, and with `transport.py` the only place that knows httpx. Every way in
which an exchange can fail becomes a NoAnswer here; above, nobody sees an HTTP status.
"""

import logging
import math
from typing import Final

import httpx
from pydantic import SecretStr, ValidationError

from lalepass_provider.errors import (
    CallerRejected,
    ContractBroken,
    NoAnswer,
    Overloaded,
    Throttled,
    Unreachable,
)
from lalepass_wire import (
    Accepted,
    CheckRequest,
    ErrorCode,
    Identifier,
    Problem,
    Refused,
    UserIdentifier,
    limits,
    parse_answer,
    paths,
)

# httpx writes a line for each request at INFO: noise in a homeserver's log.
logging.getLogger("httpx").setLevel(logging.WARNING)

_MAX_RETRY_AFTER: Final = 3600.0
_MAX_CODE: Final = 64


class LalepassClient:
    """Talks to one Lalepass service."""

    def __init__(
        self,
        *,
        base_url: str,
        token: SecretStr,
        transport: httpx.AsyncBaseTransport,
        max_in_flight: int,
    ) -> None:
        """Make a client.

        Args:
            base_url: where the service is, such as `https://auth.example.org:8220`.
            token: shown to the service with each request.
            transport: keeps the deadline and the cap on answers: httpx's own timeouts are off.
            max_in_flight: one more call at the same time is refused at once as Overloaded.
        """
        self._token = token
        self._max_in_flight = max_in_flight
        self._in_flight = 0
        self._http = httpx.AsyncClient(
            base_url=base_url,
            transport=transport,
            timeout=None,  # noqa: S113 - the transport has one deadline over everything
            follow_redirects=False,
            trust_env=False,
            # A compressed answer is refused: see transport.py.
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        )

    async def check(self, request: CheckRequest, *, request_id: str | None) -> Accepted | Refused:
        """Ask whether a password is right.

        Raises:
            NoAnswer: it could not be found out.
        """
        response = await self._post(
            paths.CHECK_CREDENTIALS, request.model_dump_json().encode(), request_id=request_id
        )
        answer = _read_answer(response)
        if not _about(answer, request.identifier):
            raise ContractBroken("the service answered for another account")
        return answer

    async def aclose(self) -> None:
        """Close the connections that are not in use."""
        await self._http.aclose()

    async def _post(self, path: str, body: bytes, *, request_id: str | None) -> httpx.Response:
        if self._in_flight >= self._max_in_flight:
            raise Overloaded(f"{self._in_flight} checks are under way already", retry_after=1)
        headers = {
            "Authorization": f"Bearer {self._token.get_secret_value()}",
            "Content-Type": "application/json",
        }
        if request_id is not None:
            headers[limits.REQUEST_ID_HEADER] = request_id
        self._in_flight += 1
        try:
            return await self._http.post(path, content=body, headers=headers)
        except httpx.TimeoutException as exc:
            raise Unreachable(f"no answer in time: {exc}") from exc
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise Unreachable(f"{type(exc).__name__}: {exc}") from exc
        finally:
            self._in_flight -= 1


def _about(answer: Accepted | Refused, asked: Identifier) -> bool:
    """Synapse trusts the id that it is given blindly, so it must be the one that was asked for."""
    if isinstance(answer, Refused) or not isinstance(asked, UserIdentifier):
        return True
    return answer.user.localpart == asked.localpart


def _read_answer(response: httpx.Response) -> Accepted | Refused:
    if response.status_code != httpx.codes.OK:
        raise _no_answer(response)
    if response.headers.get("Content-Type", "").partition(";")[0].strip() != "application/json":
        raise ContractBroken("what answers is no Lalepass service")
    try:
        return parse_answer(response.content)
    except ValidationError as exc:
        # The error names fields and never their contents: the models hide their input.
        raise ContractBroken(f"not an answer to a check: {_fields(exc)}") from None


def _no_answer(response: httpx.Response) -> NoAnswer:
    status = response.status_code
    code = _code(response)
    retry_after = _retry_after(response)
    why = f"the service answered {status} {code}".rstrip()
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return Throttled(why, retry_after=retry_after)
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
