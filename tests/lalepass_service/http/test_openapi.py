from typing import Any, Never

import httpx
import pytest

from lalepass_service.app import openapi_document
from lalepass_service.http import openapi
from lalepass_service.http.problems import KINDS
from lalepass_wire import PROBLEM_MEDIA_TYPE, paths

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi_document()


def test_the_check_needs_a_token(document: dict[str, Any]) -> None:
    assert document["paths"][paths.CHECK_CREDENTIALS]["post"]["security"] == [{"token": []}]
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"


def test_everything_but_an_answer_is_a_problem_document(document: dict[str, Any]) -> None:
    for methods in document["paths"].values():
        for operation in methods.values():
            for status, answer in operation["responses"].items():
                expected = "application/json" if status == "200" else PROBLEM_MEDIA_TYPE
                assert list(answer["content"]) == [expected]


def test_the_check_says_every_status_that_it_can_have(document: dict[str, Any]) -> None:
    described = set(document["paths"][paths.CHECK_CREDENTIALS]["post"]["responses"])
    of_other_paths = {"404", "405", "410"}

    assert described == {"200"} | {str(kind.status) for kind in KINDS.values()} - of_other_paths


def test_no_reference_leads_nowhere(document: dict[str, Any]) -> None:
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}

    assert set(_references(document)) <= known


async def test_who_asks_again_gets_what_was_put_together_before(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It needs no token, and takes long to put together."""
    first = await client.get(paths.OPENAPI)
    assert first.json() == openapi_document()
    assert first.headers["content-type"] == "application/json"

    def again(_: object) -> Never:
        raise AssertionError

    monkeypatch.setattr(openapi, "document", again)
    second = await client.get(paths.OPENAPI)
    assert (second.status_code, second.content) == (200, first.content)


def _references(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if "$ref" in node else []
        mapped = list(node["mapping"].values()) if "mapping" in node else []
        return own + mapped + [ref for value in node.values() for ref in _references(value)]
    if isinstance(node, list):
        return [ref for value in node for ref in _references(value)]
    return []
