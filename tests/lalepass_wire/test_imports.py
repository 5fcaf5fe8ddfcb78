"""What the contract and the rules import: a list of all that is allowed, not of what is banned.

The contracts in pyproject.toml can only name what is forbidden, and whoever adds a dependency would
have to think of them.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SERVICE = Path(__file__).parents[2] / "service"


def imported(source: str) -> Iterator[str]:
    """Yield what a file imports, also inside of functions and for type checkers only."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def is_in(module: str, packages: set[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("lalepass_wire", {"lalepass_wire", "pydantic"}),
        ("lalepass_service/core", {"lalepass_service.core"}),
    ],
)
def test_it_needs_nothing_else(package: str, allowed: set[str]) -> None:
    files = sorted((SERVICE / package).rglob("*.py"))
    assert files
    strange = {
        f"{file.relative_to(SERVICE)} imports {module}"
        for file in files
        for module in imported(file.read_text(encoding="utf-8"))
        if not is_in(module, allowed | sys.stdlib_module_names)
    }
    assert strange == set()


def test_every_kind_of_import_is_seen() -> None:
    source = """
import os.path, yaml
from . import neighbour
def later():
    from attrs import define
if TYPE_CHECKING:
    from pydantic_core import ErrorDetails
"""
    assert sorted(imported(source)) == [".", "attrs", "os.path", "pydantic_core", "yaml"]
    assert not is_in("pydantic_core", {"pydantic"})
    assert is_in("os.path", {"os"})
