"""What FastAPI can't find out by itself about the API's description."""

import json
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.responses import Response

from lalepass_service.http.bodies import JSON
from lalepass_service.http.problems import KINDS
from lalepass_wire import PROBLEM_MEDIA_TYPE, CheckRequest, ErrorCode, Problem, paths
from lalepass_wire.feed import Acknowledgement, Reports

_REF: Final = "#/components/schemas/{model}"


def problems(*codes: ErrorCode) -> dict[int | str, dict[str, Any]]:
    """Describe the problem answers of a route. Codes that share a status share an entry."""
    described: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        kind = KINDS[code]
        entry = described.setdefault(kind.status, {"description": "", "content": _content()})
        line = f"`{code}`: {kind.title}."
        entry["description"] = f"{entry['description']} {line}".strip()
        if kind.status in {429, 503}:
            entry["headers"] = {
                "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}
            }
    return described


def body(model: type[BaseModel]) -> dict[str, Any]:
    """Describe a body that a route reads by itself."""
    schema = {"$ref": _REF.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def router(describe: Callable[[], dict[str, Any]]) -> APIRouter:
    """Return the route at which the API describes itself.

    FastAPI's own puts the answer together for each who asks: four milliseconds in which nobody
    else is answered, and no token is needed to ask.
    """
    routes = APIRouter()

    @cache
    def described() -> bytes:
        return json.dumps(describe(), separators=(",", ":")).encode()

    @routes.get(paths.OPENAPI, include_in_schema=False)
    async def show() -> Response:
        return Response(described(), media_type=JSON.decode())

    return routes


def document(app: FastAPI) -> dict[str, Any]:
    """Return the description of the whole API. The same code gives the same document."""
    described = FastAPI.openapi(app)
    _, extra = models_json_schema(
        [
            *((model, "validation") for model in (CheckRequest, Acknowledgement, Reports)),
            (Problem, "serialization"),
        ],
        ref_template=_REF,
    )
    described["components"].setdefault("schemas", {}).update(extra["$defs"])
    return described


def _content() -> dict[str, Any]:
    return {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": _REF.format(model=Problem.__name__)}}}
