"""`lalepass user import`: accounts from elsewhere, one JSON object a line.

Each line is a transaction of its own, so that a long import can be broken off and run again: what
is there already, just so, is left out. The price is a write to the disk for each account, some
minutes for a hundred thousand.
"""

from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lalepass_service.cli import console
from lalepass_service.cli.hashes import accept
from lalepass_service.core.directory import Directory
from lalepass_service.core.editing import NewUser
from lalepass_service.core.errors import InvalidInput, LalepassError, NoAnswer
from lalepass_service.core.model import NormalForm, PasswordRecord, UserState

_MAX_LINE: Final = 64 * 1024
_MOST: Final = 100

_SENTENCES: Final = {
    "extra_forbidden": "there is no such field",
    "missing": "this field is needed",
    "model_type": 'should be an object, such as {"localpart": "alice"}',
    "list_type": 'should be a list, such as ["a@example.org"]',
    "too_long": f"should have {_MOST} entries at most",
    "string_type": "should be text",
    "bool_type": "should be true or false",
}
"""By pydantic's name of the error. The others name the words that can be there."""


class Result(StrEnum):
    """What became of a line."""

    ADDED = "added"
    THERE = "there already"
    REFUSED = "refused"


class _Line(BaseModel):
    # The hash must not be in the text of an error.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    localpart: str
    hash: str | None = None
    kind: Literal["synapse"] | None = None
    normal_form: NormalForm = NormalForm.NONE
    display_name: str | None = None
    emails: list[str] = Field(default_factory=list, max_length=_MOST)
    phones: list[str] = Field(default_factory=list, max_length=_MOST)
    admin: bool = False
    state: UserState = UserState.ACTIVE


async def import_file(directory: Directory, path: Path) -> Counter[Result]:
    """Bring in every account of the file, and say which lines are refused, and why.

    Raises:
        NoAnswer: the database did not answer; all lines before are done.
        OSError: the file can't be read.
    """
    results: Counter[Result] = Counter()
    for number, line in _lines(path):
        try:
            new, record = _parse(line)
            added = await directory.bring(new, record)
            results[Result.ADDED if added else Result.THERE] += 1
        except NoAnswer:
            console.explain(f"line {number} and those behind it are not done")
            raise
        except LalepassError as error:
            results[Result.REFUSED] += 1
            # It may name what is in the file.
            console.explain(console.one_line(f"line {number}: {error}"))
    return results


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank. Of one that is too long only the beginning is kept."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(_MAX_LINE + 1):
            number += 1
            rest = line
            while rest and not rest.endswith(b"\n"):
                rest = file.readline(_MAX_LINE)
            if line.strip():
                yield number, line


def _parse(line: bytes) -> tuple[NewUser, PasswordRecord | None]:
    if len(line) > _MAX_LINE:
        raise InvalidInput(f"the line is longer than {_MAX_LINE} bytes")
    try:
        # Without its end: who misses something at the end would miss it in the next line.
        given = _Line.model_validate_json(line.rstrip())
    except ValidationError as error:
        raise InvalidInput(_sentence(error)) from None
    record = None
    if given.hash is not None:
        record = accept(given.hash, form=given.normal_form, synapse=given.kind == "synapse")
    elif given.kind is not None:
        raise InvalidInput("kind: there is no hash that it could be of")
    return _new_user(given), record


def _sentence(error: ValidationError) -> str:
    """Return what is wrong first, without anything that stands in the line but a field's name."""
    first = error.errors(include_input=False, include_url=False)[0]
    if first["type"] == "json_invalid":
        # The line is the file's, which is told already.
        column = first["msg"].rpartition(" ")[2]
        return f"is no JSON (column {column})"
    said = _SENTENCES.get(first["type"], first["msg"].removeprefix("Input "))
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {said}" if where else said


def _new_user(given: _Line) -> NewUser:
    return NewUser(
        localpart=given.localpart,
        display_name=given.display_name,
        emails=given.emails,
        phones=given.phones,
        admin=given.admin,
        state=given.state,
    )
