import pytest
from starlette.exceptions import HTTPException

from lalepass_service.core import errors as core
from lalepass_service.http import errors
from lalepass_service.http.problems import KINDS, answer_to, code_of
from lalepass_wire import ErrorCode, Problem


def test_every_code_of_the_contract_has_its_answer() -> None:
    assert set(KINDS) == set(ErrorCode)


@pytest.mark.parametrize("kind", errors.RequestError.__subclasses__())
def test_every_error_of_a_request_is_in_the_table(kind: type[errors.RequestError]) -> None:
    error = kind("what is wrong") if kind is errors.MalformedRequest else kind()

    assert code_of(error) is not ErrorCode.INTERNAL


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (core.CallerUnknown(), ErrorCode.CALLER_UNKNOWN),
        (core.ScopeMissing("check"), ErrorCode.SCOPE_MISSING),
        (core.Overloaded(retry_after=1), ErrorCode.OVERLOADED),
        (core.StoreUnavailable(), ErrorCode.UNAVAILABLE),
        (core.NoAnswer(), ErrorCode.UNAVAILABLE),
        (core.UnreadableRecord("canary"), ErrorCode.UNAVAILABLE),
        (HTTPException(404), ErrorCode.NOT_FOUND),
        (HTTPException(405), ErrorCode.METHOD_NOT_ALLOWED),
        (KeyError("canary"), ErrorCode.INTERNAL),
    ],
)
def test_the_most_specific_entry_decides(error: Exception, code: ErrorCode) -> None:
    answer = answer_to(error)
    problem = Problem.model_validate_json(bytes(answer.body))

    assert problem.code == code
    assert answer.status_code == problem.status == KINDS[code].status
    assert b"canary" not in answer.body


@pytest.mark.parametrize("code", [ErrorCode.OVERLOADED, ErrorCode.UNAVAILABLE])
def test_who_is_to_come_back_is_told_when(code: ErrorCode) -> None:
    error = core.Overloaded(retry_after=0.1) if code is ErrorCode.OVERLOADED else core.NoAnswer()
    answer = answer_to(error)

    assert int(answer.headers["retry-after"]) >= 1
    assert Problem.model_validate_json(bytes(answer.body)).retry_after_seconds
