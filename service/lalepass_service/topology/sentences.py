"""Says in one sentence what is wrong with the file, with the path of the option."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from lalepass_service.topology.parts import KINDS


@dataclass(frozen=True, kw_only=True)
class Tables:
    """What the file is made of."""

    file: type[BaseModel]
    lists: Mapping[str, type[BaseModel]]
    """What each of its lists of tables has."""
    most: Mapping[str, int]
    """How many entries each may have."""


def sentence(error: ErrorDetails, table: Mapping[str, Any], tables: Tables) -> str:
    """Return the path of an option of the file, and what it should be."""
    steps = list(_steps(error))
    where = ".".join(map(str, steps)).replace(".[", "[")
    kind = error["type"]
    if kind.startswith("union_tag"):
        return f"{where}.kind: should be one of {', '.join(KINDS)}"
    if kind == "missing":
        return f"{where}: is missing"
    if kind == "extra_forbidden":
        return f"{where}: there is no such option"
    if kind == "too_long" and where in tables.most:
        return f"{where}: has more than {tables.most[where]} entries"
    if "[key]" in steps:
        return "parts: the name of a part is made of letters, digits and . _ -, at most 64"
    return f"{where}: should be {_description(steps, table, tables)}"


def _steps(error: ErrorDetails) -> Iterator[str]:
    """Yield the path as the file has it: pydantic names the kind of a part in it, too."""
    steps = error["loc"]
    for place, step in enumerate(steps):
        if isinstance(step, int):
            yield f"[{step}]"
        elif not (steps[0] == "parts" and place == 2 and step in KINDS):  # noqa: PLR2004 - the third
            yield step


def _description(steps: list[str], table: Mapping[str, Any], tables: Tables) -> str:
    """Return what the option is, in the words of its model."""
    names = [step for step in steps if not step.startswith("[")]
    model: type[BaseModel] = tables.file
    if names[0] == "parts" and len(names) > 2:  # noqa: PLR2004 - below a part
        model = KINDS[table["parts"][names[1]]["kind"]]
    elif len(names) > 1 and names[0] != "parts":
        model = tables.lists[names[0]]
    for name, field in model.model_fields.items():
        if names[-1] in {name, field.alias}:
            return str(field.description)
    return "a table"
