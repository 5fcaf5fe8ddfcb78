"""A statement of SQLAlchemy's, made ready once to be run on a plain connection.

The text and the types come from the same statement that everything else uses, so the hot path can't
read another column, or read it differently. What is saved is SQLAlchemy's work for each execution.
"""

from collections import namedtuple
from typing import Any, Final

from sqlalchemy import Dialect, Select
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.dialects.sqlite import pysqlite

from lalepass_service.adapters.sql.session import Either, Session

_SQLITE: Final = pysqlite.dialect()
# SQLAlchemy leaves it untyped
_POSTGRESQL: Final[Dialect] = PGDialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]


class Compiled:
    """A `select` with named parameters and at most one row."""

    def __init__(self, statement: Select[Any]) -> None:
        # A name tuple looks like SQLAlchemy's own row to whoever reads it.
        # mypy and ruff want the fields written out; here they are the statement's.
        names = [str(column.key) for column in statement.selected_columns]
        row: Any = namedtuple("row", names)  # type: ignore[misc]  # noqa: PYI024 - as above
        self._make = row._make
        self._forms = {
            "sqlite": _Form(statement, _SQLITE),
            "postgresql": _Form(statement, _POSTGRESQL),
        }

    def one_or_none(self, session: Session, **values: object) -> Any:  # noqa: ANN401 - a row, as SQLAlchemy's
        """Run it with these parameters and return the row, if there is one."""
        form = self._forms[session.engine]
        values |= form.constants
        found = session.run(form.text, [values[name] for name in form.places]).fetchone()
        if found is None:
            return None
        cells = [
            processor(cell) if processor and cell is not None else cell
            for processor, cell in zip(form.processors, found, strict=True)
        ]
        return self._make(cells)


class _Form:
    """The statement as one of the databases has it."""

    def __init__(self, statement: Select[Any], dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        self.text = Either(sqlite=str(compiled), postgresql=str(compiled))
        # The driver's parameters have places and no names; one name may have several places.
        self.places = tuple(compiled.positiontup or ())
        self.constants = {k: v for k, v in compiled.params.items() if v is not None}
        columns = statement.selected_columns
        self.processors = [column.type.result_processor(dialect, None) for column in columns]
