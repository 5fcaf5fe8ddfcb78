"""The database on a server, for everything but the hot path."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from sqlalchemy import AsyncAdaptedQueuePool, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from lalepass_service.adapters.sql.connecting import connect_async
from lalepass_service.adapters.sql.engine import Database
from lalepass_service.adapters.sql.postgres import (
    ISOLATION,
    LOCK,
    LOCK_SHARED,
    PostgresServer,
    moved,
)
from lalepass_service.adapters.sql.standing import Rank

_RECYCLE_SECONDS: Final = 900


def open_server(server: PostgresServer) -> Database:
    """Open a database on a server. Nothing is read before the first use.

    No call takes more than three times as long as `server.timeout` says, and a second.
    """
    engine = create_async_engine(
        "postgresql+psycopg://",
        async_creator=partial(connect_async, server),
        poolclass=AsyncAdaptedQueuePool,
        pool_size=server.connections,
        max_overflow=0,
        pool_timeout=server.timeout,
        # A connection that the server has closed meanwhile is replaced before it is used.
        pool_pre_ping=True,
        pool_recycle=_RECYCLE_SECONDS,
        hide_parameters=True,
        isolation_level=ISOLATION,
    )
    event.listen(engine.sync_engine, "handle_error", _leave_who_moved)
    event.listen(engine.sync_engine, "checkout", partial(_leave_who_is_old, server))
    return Database(engine, seconds=3 * server.timeout, transaction=partial(_in_turn, server))


@asynccontextmanager
async def _in_turn(
    server: PostgresServer, connection: AsyncConnection, *, beside: bool
) -> AsyncIterator[None]:
    """Write to the server that is believed, from the beginning to the end.

    Raises:
        WrongPrimary: it is not, any more. What was to be written may be there, or not.
    """
    primaries = server.primaries
    primaries.may_write(changes=True)
    await connection.exec_driver_sql(LOCK_SHARED if beside else LOCK)
    rank = _rank((await connection.get_raw_connection()).driver_connection)
    yield
    primaries.may_write(changes=True)
    primaries.require(rank)
    await connection.commit()
    # What an old one has acknowledged, the newer one does not have.
    primaries.require(rank)


def _leave_who_moved(context: ExceptionContext) -> None:
    """After a failover the old server may answer still, and refuse to write: look for the new one.

    SQLAlchemy then gives up all connections of the pool.
    """
    if isinstance(context.original_exception, Exception) and moved(context.original_exception):
        context.is_disconnect = True


def _leave_who_is_old(
    server: PostgresServer, connection: DBAPIConnection, _record: object, _proxy: object
) -> None:
    """Leave a connection to a primary since when there was a newer one; SQLAlchemy makes another.

    Raises:
        DisconnectionError: it is one.
    """
    primaries = server.primaries
    if not primaries.believes(_rank(getattr(connection, "driver_connection", None))):
        primaries.dropped += 1
        raise DisconnectionError("a newer primary was seen")


def _rank(connection: object) -> Rank | None:
    """Return that of the server, of a connection of the driver."""
    return getattr(connection, "rank", None)
