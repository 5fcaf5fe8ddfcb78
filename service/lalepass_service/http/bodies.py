"""From the bytes of a body to a model of the contract."""

import json
from collections.abc import Mapping, Sequence
from typing import Final, Never, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import Request

from lalepass_service.http.errors import MalformedRequest, WrongMediaType
from lalepass_service.http.limits import read_body
from lalepass_wire import CheckRequest
from lalepass_wire.feed import Acknowledgement, Reports

JSON: Final = b"application/json"

_Model = TypeVar("_Model", bound=BaseModel)

_REASONS: Final[Mapping[str, str]] = {
    "missing": "is missing",
    "extra_forbidden": "has a field that is not in the contract",
    "string_too_long": "is too long",
    "string_too_short": "is too short",
    "too_long": "is too long",
    "too_short": "is too short",
    "union_tag_invalid": "is of no known kind",
    "union_tag_not_found": "has no kind",
    "string_type": "should be a string",
    "model_type": "should be an object",
    "model_attributes_type": "should be an object",
}


def _names(schema: object) -> set[str]:
    """Return every property name in a JSON schema, at any depth."""
    if isinstance(schema, Mapping):
        own = set(schema.get("properties", ()))
        return own.union(*map(_names, schema.values()))
    if isinstance(schema, Sequence) and not isinstance(schema, str):
        return set().union(*map(_names, schema))
    return set()


# Only these are ever repeated to a caller. Whatever else is in the location of an error was typed
# by somebody.
_KNOWN_NAMES: Final = frozenset().union(
    *(_names(model.model_json_schema()) for model in (CheckRequest, Acknowledgement, Reports))
)


def media_type_of(content_type: str) -> str:
    """Return the type in a `Content-Type`, without its parameters."""
    return content_type.partition(";")[0].strip().lower()


async def read_model(request: Request, model: type[_Model]) -> _Model:
    """Read a body.

    Raises:
        WrongMediaType: it is not declared as JSON.
        BodyTooLarge: it is longer than the contract allows.
        CallerGone: the caller hung up.
        MalformedRequest: it is no JSON, or not of the shape of the model.
    """
    if media_type_of(request.headers.get("content-type", "")) != JSON.decode():
        raise WrongMediaType
    return parse(await read_body(request.receive), model)


def without_nul(text: str | None) -> str | None:
    """Return text that is only noted down, with U+FFFD for each U+0000.

    PostgreSQL has no text with that. What people choose themselves, such as the id of a device,
    must not make a homeserver send the same batch for ever.
    """
    return text.replace("\0", "\ufffd") if text is not None else None


def parse(body: bytes, model: type[_Model]) -> _Model:
    """Parse a body.

    Raises:
        MalformedRequest: it is no JSON, or not of the shape of the model.
    """
    _insist_on_json(body)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        said = "; ".join(dict.fromkeys(map(_sentence, details)))
        raise MalformedRequest(said) from None


def _insist_on_json(body: bytes) -> None:
    """Refuse what parsers are known to disagree about: repeated names, NaN, byte order marks.

    A proxy in front may look at one `password` and we at another. The price is that each body,
    16 KiB at most, is parsed twice; next to the hash that is nothing.
    """
    try:
        json.loads(body.decode("utf-8"), object_pairs_hook=_insist_on_names, parse_constant=_refuse)
    except (ValueError, RecursionError):
        # Not chained: the exception holds the whole body.
        raise MalformedRequest("the body is not JSON (RFC 8259) in UTF-8") from None


def _insist_on_names(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name is repeated")
    return members


def _refuse(_constant: str) -> Never:
    raise ValueError("JSON has no such number")


def _sentence(error: ErrorDetails) -> str:
    path = ".".join(part for part in map(str, error["loc"]) if part in _KNOWN_NAMES)
    return f"{path or 'the body'} {_REASONS.get(error['type'], 'is not well-formed')}"
