"""The whole API, as it describes itself, on a real service with a real database.

Schemathesis makes the requests out of the OpenAPI document of the code, so that a new route is
covered when it is there. They are the same in each run; with LALEPASS_EXAMPLES, which says how many
each route gets, they are others each time.
"""

import asyncio
import inspect
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from unittest.mock import MagicMock

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case, CheckFunction
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi import checks

from lalepass_service.adapters.memory import FixedClock
from lalepass_service.adapters.sql.callers import SqlCallers
from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.users import SqlUsers
from lalepass_service.app import openapi_document
from lalepass_service.core.callers import CallerRegistry
from lalepass_service.core.model import Scope
from lalepass_service.http import api
from lalepass_wire import PROBLEM_MEDIA_TYPE, ErrorCode, Problem, paths
from tests.commands import ServiceHere
from tests.lalepass_service.accounts import ACT, BY, NOW, a_user
from tests.plain import NO_AUTHORITIES
from tools.processes import free_port

_EXAMPLES: Final = os.environ.get("LALEPASS_EXAMPLES")

_OPEN: Final = {paths.HEALTH_LIVE, paths.HEALTH_READY}
"""What everybody may ask, without a token."""

_OF_EVERY_SCOPE: Final = {paths.CALLER}
"""What needs a token, and any will do."""

_UNDESCRIBED: Final = {paths.METRICS, paths.OPENAPI}
"""What is there and not in the document. No token is asked for, and none of it is about anybody."""

_CHECKS: Final[list[CheckFunction]] = [
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    # What the document allows is taken.
    checks.positive_data_acceptance,
]

_DOCUMENT: Final = openapi_document()
_SCHEMA: Final = schemathesis.openapi.from_dict(_DOCUMENT)
_SCHEMA.config.checks.positive_data_acceptance.expected_statuses += [
    "410",  # a cursor may be well-formed, and of another database
    "413",  # each part may be within its bounds, and the whole too long
]
_OPERATIONS: Final = [
    (method.upper(), path) for path, methods in _DOCUMENT["paths"].items() for method in methods
]
_GUARDED: Final = [(method, path) for method, path in _OPERATIONS if path not in _OPEN]


@dataclass(frozen=True)
class Running:
    """A service, and tokens for it."""

    address: str
    everything: str
    """A token with all scopes."""
    narrow: Mapping[Scope, str]
    """A token for each scope, with no other."""

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        return httpx.request(
            method, f"{self.address}{path}", timeout=60, verify=NO_AUTHORITIES, **options
        )


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    service = ServiceHere(
        directory=tmp_path_factory.mktemp("lalepass") / "made",
        port=free_port(),
        # All of them come from here.
        environment={"LALEPASS_THROTTLE__SOURCE_BURST": "1000000"},
    )
    service.init()
    everything, narrow = asyncio.run(_settle(service.directory / "lalepass.db"))
    with service.process() as process:
        process.wait_until_healthy()
        yield Running(address=service.address, everything=everything, narrow=narrow)


async def _settle(path: Path) -> tuple[str, dict[Scope, str]]:
    """Make an account and tokens."""
    database = Database.open(path)
    registry = CallerRegistry(callers=SqlCallers(database), clock=FixedClock(NOW))
    await SqlUsers(database).add(a_user("canary"), None, reuse_name=False, act=ACT)
    _, everything = await registry.create("everything", list(Scope), by=BY)
    narrow = {scope: (await registry.create(scope, [scope], by=BY))[1] for scope in Scope}
    await database.close()
    return everything, narrow


@pytest.mark.timeout(600)
@_SCHEMA.parametrize()
@settings(
    max_examples=int(_EXAMPLES or 40),
    derandomize=_EXAMPLES is None,
    deadline=None,
    # A description can be narrow, and a machine slow.
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
def test_every_request_gets_an_answer_of_the_contract(case: Case[Any], service: Running) -> None:
    headers = {"Authorization": f"Bearer {service.everything}"}
    _ask_for_no_long_wait(case)

    answer = case.call(service.address, headers=headers, timeout=60)

    assert answer.status_code != 500
    if answer.status_code >= 400:
        _assert_problem(answer.status_code, answer.headers["content-type"][0], answer.content)
    if answer.status_code != 405:
        # Of a method that the document does not have, it has no answers either.
        case.validate_response(answer, checks=_checks_for(case), headers=headers)


def _checks_for(case: Case[Any]) -> list[CheckFunction]:
    """What the document forbids of a body is refused. A query may have more in it than is read."""
    wrong_body = case.meta is not None and case.meta.is_negative_at(ParameterLocation.BODY)
    return [*_CHECKS, checks.negative_data_rejection] if wrong_body else _CHECKS


def _ask_for_no_long_wait(case: Case[Any]) -> None:
    """Whoever follows a feed may wait half a minute for news. There are none."""
    wait = case.query.get("wait")
    if isinstance(wait, int | float) and wait > 0:
        case.query["wait"] = 0


def _assert_problem(status: int, media_type: str, content: bytes) -> Problem:
    assert media_type == PROBLEM_MEDIA_TYPE
    problem = Problem.model_validate_json(content)
    assert problem.status == status
    assert problem.code in set(ErrorCode)
    return problem


def _refused(answer: httpx.Response, status: int, code: ErrorCode) -> bool:
    if answer.status_code != status:
        return False
    problem = _assert_problem(status, answer.headers["content-type"], answer.content)
    return problem.code == code


@pytest.mark.parametrize(("method", "path"), _GUARDED)
@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer nonsense", "Basic YTpi", "Bearer lalepass_a_b"]
)
def test_nothing_is_said_without_a_token(
    service: Running, method: str, path: str, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}

    assert _refused(service.ask(method, path, headers=headers), 401, ErrorCode.CALLER_UNKNOWN)


@pytest.mark.parametrize(("method", "path"), _GUARDED)
def test_a_token_opens_what_its_scope_is_for_and_nothing_else(
    service: Running, method: str, path: str
) -> None:
    def opens(token: str) -> bool:
        # Of an empty body, so that nothing is done where it does open.
        answer = service.ask(method, path, headers={"Authorization": f"Bearer {token}"})
        return not _refused(answer, 403, ErrorCode.SCOPE_MISSING)

    opened_by = {scope for scope, token in service.narrow.items() if opens(token)}

    assert opens(service.everything)
    if path in _OF_EVERY_SCOPE:
        assert opened_by == set(Scope)
    else:
        assert len(opened_by) == 1


@pytest.mark.parametrize(("method", "path"), _GUARDED)
def test_the_description_says_that_a_token_is_needed(method: str, path: str) -> None:
    assert _DOCUMENT["paths"][path][method.lower()]["security"] == [{"token": []}]


def test_no_route_hides_from_the_description() -> None:
    # Whatever the API is made of: nothing is asked anything.
    absent: dict[str, Any] = dict.fromkeys(inspect.signature(api.build).parameters, MagicMock())

    assert set(_paths(api.build(**absent).routes)) == _UNDESCRIBED | set(_DOCUMENT["paths"])


def _paths(routes: Iterable[Any]) -> Iterator[str]:
    for route in routes:
        # FastAPI keeps a router that was included as one route.
        included = getattr(route, "original_router", None)
        yield from [route.path] if included is None else _paths(included.routes)


@pytest.mark.parametrize("path", sorted(_OPEN | _UNDESCRIBED))
def test_what_is_open_tells_nothing_of_anybody(service: Running, path: str) -> None:
    answer = service.ask("GET", path)

    assert answer.status_code == 200
    for secret in ("canary", service.everything, *service.narrow.values()):
        assert secret not in answer.text
