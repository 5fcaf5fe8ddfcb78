"""A statement of SQLAlchemy's, made ready once to be run on a plain connection.

The text and the types come from the same statement that everything else uses, so the hot path can't
read another column, or read it differently. What is saved is SQLAlchemy's work for each execution.
"""

import sqlite3
from collections import namedtuple
from typing import Any

from sqlalchemy import Select
from sqlalchemy.dialects.sqlite import pysqlite

_DIALECT = pysqlite.dialect()


class Compiled:
    """A `select` with named parameters and at most one row."""

    def __init__(self, statement: Select[Any]) -> None:
        compiled = statement.compile(dialect=_DIALECT)
        self._sql = str(compiled)
        # The driver's parameters have places and no names; one name may have several places.
        self._places = tuple(compiled.positiontup or ())
        self._constants = {k: v for k, v in compiled.params.items() if v is not None}
        columns = list(statement.selected_columns)
        self._processors = [column.type.result_processor(_DIALECT, None) for column in columns]
        # A name tuple looks like SQLAlchemy's own row to whoever reads it.
        # mypy and ruff want the fields written out; here they are the statement's.
        row: Any = namedtuple("row", [str(column.key) for column in columns])  # type: ignore[misc]  # noqa: PYI024 - as above
        self._make = row._make

    def one_or_none(self, connection: sqlite3.Connection, **values: object) -> Any:  # noqa: ANN401 - a row, as SQLAlchemy's
        """Run it with these parameters and return the row, if there is one."""
        values |= self._constants
        places = [values[name] for name in self._places]
        found = connection.execute(self._sql, places).fetchone()
        if found is None:
            return None
        cells = [
            processor(cell) if processor and cell is not None else cell
            for processor, cell in zip(self._processors, found, strict=True)
        ]
        return self._make(cells)
