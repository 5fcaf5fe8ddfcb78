"""SQL functions that the two databases call by different names."""

from typing import Any

from sqlalchemy import Text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class listed_pairs(FunctionElement[str]):  # noqa: N801 - is used as a function
    """Gathers two columns into the text of one JSON array of pairs, in any order."""

    type = Text()
    inherit_cache = True


@compiles(listed_pairs, "sqlite")
def _in_sqlite(element: listed_pairs, compiler: SQLCompiler, **kwargs: Any) -> str:  # noqa: ANN401 - SQLAlchemy's signature
    return f"json_group_array(json_array({compiler.process(element.clauses, **kwargs)}))"


@compiles(listed_pairs, "postgresql")
def _in_postgresql(element: listed_pairs, compiler: SQLCompiler, **kwargs: Any) -> str:  # noqa: ANN401 - as above
    pairs = f"json_build_array({compiler.process(element.clauses, **kwargs)})"
    return f"coalesce(json_agg({pairs})::text, '[]')"
