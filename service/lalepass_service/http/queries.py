"""From the parameters in an address to a model, by the same rules as a body."""

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from lalepass_service.http.errors import MalformedRequest

_Model = TypeVar("_Model", bound=BaseModel)

_REASONS: Final[Mapping[str, str]] = {
    "missing": "is missing",
    "extra_forbidden": "is not in the contract",
}


def read_query(request: Request, model: type[_Model]) -> _Model:
    """Read the parameters.

    FastAPI would take the last of those that are given twice, and describe its own error for what
    is not well-formed.

    Raises:
        MalformedRequest: one is unknown, repeated, missing or not well-formed.
    """
    given = request.query_params
    if len(given.multi_items()) != len(given):
        raise MalformedRequest("a parameter is repeated")
    try:
        return model.model_validate_strings(dict(given))
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        raise MalformedRequest("; ".join(_sentence(each, model) for each in details)) from None


def described(model: type[BaseModel]) -> dict[str, Any]:
    """Describe the parameters of a route that reads them by itself."""
    schema = model.model_json_schema()
    required = schema.get("required", ())
    return {
        "parameters": [
            {
                "name": name,
                "in": "query",
                "required": name in required,
                **({"description": kind.pop("description")} if "description" in kind else {}),
                "schema": kind,
            }
            for name, kind in schema["properties"].items()
        ]
    }


def _sentence(error: Mapping[str, Any], model: type[BaseModel]) -> str:
    # Only a name of ours is repeated: whatever else is there was typed by somebody.
    name = str(error["loc"][0])
    which = name if name in model.model_fields else "a parameter"
    return f"{which} {_REASONS.get(error['type'], 'is not well-formed')}"
